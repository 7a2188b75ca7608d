# SPDX-License-Identifier: LGPL-2.1-or-later
"""Network interfaces on an Open vSwitch: VLAN tags of the interface itself and of a network's portgroup, a
tag that changes under a running guest, and ports that go when their guest goes.

    SERAI_HOST=serai pytest tests/system/test_ovs.py      # or xen: our driver on Debian's Xen

The switch has a port of dom0's in each of two VLANs, by whose addresses a guest finds out where it is.
The tests run in the order they stand here, on one guest.
"""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from test_driver_pv import GUEST, Console, booted, created, renamed                              # noqa: E402

pytestmark = pytest.mark.by_name
MACS = ('00:16:3e:00:00:61', '00:16:3e:00:00:62')
INTERFACE = '''
    <interface type='bridge'>
      <mac address='{mac}'/>
      <source bridge='switch'/>
      <virtualport type='openvswitch'>
        <parameters interfaceid='09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f'/>
      </virtualport>
      <vlan>{tags}</vlan>
    </interface>
'''
NETWORK = '''
<network>
  <name>switched</name>
  <forward mode='bridge'/>
  <bridge name='switch'/>
  <virtualport type='openvswitch'/>
  <portgroup name='twenty'><vlan><tag id='20'/></vlan></portgroup>
</network>
'''
ATTACHED = f'''
<interface type='network'>
  <mac address='{MACS[1]}'/>
  <source network='switched' portgroup='twenty'/>
</interface>
'''


@pytest.fixture(scope='module')
def host():
    with booted('ovs', cpus=1) as machine:
        machine.run('systemctl start ovs-vswitchd.service', timeout=600)
        machine.run('ovs-vsctl add-br switch && '
                    'for tag in 10 20; do ovs-vsctl add-port switch vlan$tag tag=$tag -- '
                    'set Interface vlan$tag type=internal && '
                    'ip addr add 10.9.$tag.1/24 dev vlan$tag && ip link set vlan$tag up; done', timeout=300)
        yield machine


@pytest.fixture
def console(host):
    terminal = Console(host, 'switched')
    yield terminal
    terminal.close()


def interface(tags):
    return INTERFACE.format(mac=MACS[0], tags=tags)


def ports(host):
    """The guests' ports, each with its columns."""
    columns = [('Port', 'tag'), ('Port', 'trunks'), ('Port', 'vlan_mode'), ('Interface', 'external_ids')]
    return {name: {c: host.run(f'ovs-vsctl get {table} {name} {c}').strip() for table, c in columns}
            for name in host.run('ovs-vsctl list-ports switch').split() if name.startswith('vif')}


def test_a_guest_starts_on_the_switch(host, tmp_path):
    xml = tmp_path / 'switched.xml'
    text = re.sub(r'<interface .*?</interface>', interface("<tag id='10'/>").strip(), GUEST, flags=re.S)
    xml.write_text(renamed(text, 'switched', '61'))
    created(host, xml, 'switched')
    found = ports(host)
    assert list(found) == [f'vif{host.virsh("domid switched").strip()}.0']
    port = next(iter(found.values()))
    assert (port['tag'], port['trunks'], port['vlan_mode']) == ('10', '[]', '[]'), port
    assert 'iface-id="09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f"' in port['external_ids']
    assert f'attached-mac="{MACS[0]}"' in port['external_ids']


def hears(console, device, tag):
    """Whether the guest hears dom0's port in VLAN TAG over its DEVICE."""
    console.run(f'ip addr flush dev {device}; ip addr add 10.9.{tag}.2/24 dev {device}; '
                f'ip link set {device} up')
    return 'heard' in console.run(f'ping -c 1 -W 2 10.9.{tag}.1 >/dev/null || '
                                  f'ping -c 3 -W 5 10.9.{tag}.1 >/dev/null && echo he"ar"d; true')


def test_it_hears_its_own_vlan_only(host, console):
    assert hears(console, 'eth0', 10)
    assert not hears(console, 'eth0', 20)


def test_the_tag_changes_under_the_running_guest(host, console, tmp_path):
    xml = tmp_path / 'interface.xml'
    xml.write_text(interface("<tag id='20'/>"))
    host.virsh(['update-device', 'switched', str(xml), '--live'])
    assert hears(console, 'eth0', 20)
    assert not hears(console, 'eth0', 10)
    assert "<tag id='20'/>" in host.virsh('dumpxml switched')


def test_a_trunk_has_its_tags_and_a_native_vlan(host, tmp_path):
    xml = tmp_path / 'trunk.xml'
    xml.write_text(INTERFACE.format(mac=MACS[0], tags='').replace(
        '<vlan></vlan>', "<vlan trunk='yes'><tag id='10' nativeMode='untagged'/><tag id='20'/></vlan>"))
    host.virsh(['update-device', 'switched', str(xml), '--live'])
    port = next(iter(ports(host).values()))
    assert (port['tag'], port['trunks'], port['vlan_mode']) == ('10', '[10, 20]', 'native-untagged'), port


def test_a_portgroup_of_a_network_gives_the_tag(host, console, tmp_path):
    network, xml = tmp_path / 'network.xml', tmp_path / 'attached.xml'
    network.write_text(NETWORK)
    xml.write_text(ATTACHED)
    host.virsh(['net-create', str(network)])
    host.virsh(['attach-device', 'switched', str(xml), '--live'], timeout=300)
    console.wait_for(f'[ "$(cat /sys/class/net/eth1/address)" = {MACS[1]} ]')
    assert sorted(p['tag'] for p in ports(host).values()) == ['10', '20']
    console.run('ip link set eth0 down')
    assert hears(console, 'eth1', 20)
    assert not hears(console, 'eth1', 10)


def test_a_detached_interface_leaves_the_switch(host, tmp_path):
    xml = tmp_path / 'attached.xml'
    xml.write_text(ATTACHED)
    host.virsh(['detach-device', 'switched', str(xml), '--live'], timeout=300)
    assert len(ports(host)) == 1


def test_a_destroyed_guest_leaves_the_switch(host):
    host.virsh('destroy switched')
    assert ports(host) == {}
    host.virsh('net-destroy switched')
