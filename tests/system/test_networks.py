# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests in libvirt's own networks: NAT, routed and isolated, with addresses by DHCP; and network filters.

    SERAI_HOST=serai pytest tests/system/test_networks.py      # or xen: our driver on Debian's Xen

The networks are those of examples/.  What is outside is QEMU's gateway, which answers ping and knows no way
back to the networks of the guests: what it answers came through NAT.  The tests run in the order they stand
here, on one guest.
"""

import pathlib
import re
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from test_driver_pv import GUEST, Console, booted, created, renamed                              # noqa: E402

pytestmark = pytest.mark.by_name
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / 'examples'
OUTSIDE, DOM0 = '10.0.2.2', '10.0.2.15'
ISOLATED = '''
<network>
  <name>isolated</name>
  <bridge name='virbr12'/>
  <ip address='192.168.152.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.152.10' end='192.168.152.20'/></dhcp>
  </ip>
</network>
'''
# What udhcpc calls with what it was told.
SCRIPT = ('printf "#!/bin/sh\\n[ \\$1 = bound ] && ip addr add \\$ip/\\$mask dev \\$interface && '
          'ip route replace default via \\$router\\nexit 0\\n" > /tmp/lease; chmod +x /tmp/lease')


@pytest.fixture(scope='module')
def host():
    with booted('networks', cpus=1) as machine:
        yield machine


@pytest.fixture
def console(host):
    terminal = Console(host, 'netted')
    yield terminal
    terminal.close()


def interface(number, source, kind='network', more=''):
    return (f"<interface type='{kind}'><mac address='00:16:3e:00:00:7{number}'/><source {kind}='{source}'/>"
            f'{more}</interface>')


def attached(host, console, tmp_path, number, *words):
    xml = tmp_path / 'interface.xml'
    xml.write_text(interface(number, *words))
    host.virsh(['attach-device', 'netted', str(xml), '--live'], timeout=300)
    console.wait_for(f'[ -e /sys/class/net/eth{number} ]')


def leased(host, console, network, number):
    """The address that DHCP gives the guest in NETWORK, as the guest and virsh tell it."""
    device, mac = f'eth{number}', f'00:16:3e:00:00:7{number}'
    console.run(f'{SCRIPT}; ip link set {device} up; udhcpc -i {device} -n -q -t 10 -T 3 -s /tmp/lease', 300)
    said = console.run(f'ip addr show dev {device}')
    address = re.search(r'inet (\d+\.\d+\.\d+\.\d+)/24', said).group(1)
    # dnsmasq tells libvirt after it has told the guest.
    limit = time.monotonic() + 30
    while not re.search(rf'{mac} .* {address}/24', host.virsh(f'net-dhcp-leases {network}')):
        assert time.monotonic() < limit, 'libvirt does not know of the lease'
    assert re.search(rf'{mac} .* {address}/24', host.virsh('domifaddr netted --source lease'))
    return address


def answers(console, address):
    return 'answered' in console.run(f'ping -c 1 -W 2 {address} >/dev/null || '
                                     f'ping -c 3 -W 3 {address} >/dev/null && echo answe"red"; true', 300)


def test_a_guest_starts_in_a_nat_network(host, tmp_path):
    host.virsh(['net-define', str(EXAMPLES / 'nat-network.xml')])
    host.virsh('net-start nat')
    xml = tmp_path / 'netted.xml'
    text = re.sub(r'<interface .*?</interface>', interface(0, 'nat'), GUEST, flags=re.S)
    xml.write_text(renamed(text, 'netted', '70'))
    created(host, xml, 'netted')
    assert re.search(r'network +nat', host.virsh('domiflist netted'))


def test_it_reaches_the_outside_through_nat(host, console):
    assert leased(host, console, 'nat', 0).startswith('192.168.150.')
    assert answers(console, '192.168.150.1')
    assert answers(console, OUTSIDE)


def test_a_routed_network_has_no_nat(host, console, tmp_path):
    host.virsh(['net-define', str(EXAMPLES / 'routed-network.xml')])
    host.virsh('net-start routed')
    attached(host, console, tmp_path, 1, 'routed')
    console.run('ip link set eth0 down')
    assert leased(host, console, 'routed', 1).startswith('192.168.151.')
    assert answers(console, DOM0)
    assert not answers(console, OUTSIDE)        # which has no route back
    seen = host.run('iptables-save')
    assert re.search(r'-A \S+ -d 192\.168\.151\.0/24 .*-o virbr11 .*-j ACCEPT', seen), seen


def test_an_isolated_network_ends_at_dom0(host, console, tmp_path):
    network = tmp_path / 'network.xml'
    network.write_text(ISOLATED)
    host.virsh(['net-create', str(network)])
    attached(host, console, tmp_path, 2, 'isolated')
    console.run('ip link set eth1 down')
    assert leased(host, console, 'isolated', 2).startswith('192.168.152.')
    assert answers(console, '192.168.152.1')
    assert not answers(console, OUTSIDE)


def test_a_filter_lets_only_the_guests_own_address_out(host, console, tmp_path):
    attached(host, console, tmp_path, 3, 'br0', 'bridge',
             "<filterref filter='clean-traffic'><parameter name='IP' value='10.0.2.73'/></filterref>")
    console.run('ip link set eth2 down; ip addr add 10.0.2.74/24 dev eth3; ip link set eth3 up')
    assert not answers(console, OUTSIDE)
    console.run('ip addr flush dev eth3; ip addr add 10.0.2.73/24 dev eth3')
    assert answers(console, OUTSIDE)


def test_nothing_is_left_of_it(host):
    vif = f'vif{host.virsh("domid netted").strip()}'
    assert f'{vif}.3' in host.run('ebtables -t nat -L')
    host.virsh('destroy netted')
    assert vif not in host.run('ip link; ebtables -t nat -L')
    for name in ('nat', 'routed', 'isolated'):
        host.virsh(f'net-destroy {name}')
    assert not re.search(r'192\.168\.15[012]', host.run('iptables-save; ip addr'))
