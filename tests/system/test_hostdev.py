# SPDX-License-Identifier: LGPL-2.1-or-later
"""PCI devices of the machine in a guest: two network cards behind an emulated Intel IOMMU.

    SERAI_HOST=xen pytest tests/system/test_hostdev.py      # our driver on Debian's Xen, which uses the IOMMU
    SERAI_HOST=serai pytest tests/system/test_hostdev.py    # our hypervisor has none: how it is refused

The tests run in the order they stand here, on one guest, whose memory reaches above where devices are.
"""

import pathlib
import re
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import linux                                                            # noqa: E402
import tiny                                                             # noqa: E402
from test_driver_pv import (                                            # noqa: E402
    GUEST, IMAGES, KIND, Console, booted, domain_id, held_after_first, leftovers)

pytestmark = pytest.mark.by_name
needs_iommu = pytest.mark.skipif(KIND != 'xen', reason='Serai\'s hypervisor uses no IOMMU yet')
CARDS = ('0000:00:10.0', '0000:00:11.0')
QEMU = ['-device', 'intel-iommu,intremap=on']
for number in range(len(CARDS)):
    QEMU += ['-netdev', f'user,id=card{number},net=10.0.{50 + number}.0/24', '-device',
             f'e1000e,netdev=card{number},bus=pcie.0,addr={0x10 + number:#x},romfile=,'
             f'mac=52:54:00:00:00:0{number}']


def hostdev(number, managed='yes'):
    slot = 0x10 + number
    return (f"<hostdev mode='subsystem' type='pci' managed='{managed}'><source><address domain='0x0000' "
            f"bus='0x00' slot='{slot:#x}' function='0x0'/></source></hostdev>")


def driver_of(host, number):
    """Who in dom0 has the card."""
    return host.run(f'basename $(readlink /sys/bus/pci/devices/{CARDS[number]}/driver)').strip()


def works_in_dom0(host, number):
    """Dom0 has the card: with its interrupts, and with its DMA."""
    assert driver_of(host, number) == 'e1000e'
    name = host.run(f'ls /sys/bus/pci/devices/{CARDS[number]}/net').strip()
    host.run(f'ip addr add 10.0.{50 + number}.15/24 dev {name} && ip link set {name} up')
    host.run(f'for i in 1 2 3 4 5 6 7 8 9 10; do busybox ping -c 1 -W 3 10.0.{50 + number}.2 && break; done '
             f'| grep " 0% packet" && grep -q "msi.*{name}" /proc/interrupts')
    host.run(f'ip link set {name} down && ip addr flush dev {name}')


def refused(host, *arguments):
    status, output = host.virsh(list(arguments), check=False)
    assert status != 0, output
    return output


@pytest.fixture(scope='module')
def host():
    with booted('hostdev', machine='q35', memory=3072, qemu_args=QEMU) as machine:
        machine.run('modprobe xen-pciback && modprobe e1000e')
        yield machine


@pytest.fixture(scope='module')
def files(host, tmp_path_factory):
    """XML of the guest with the first card, of guests beside it, and of each card alone."""
    work = tmp_path_factory.mktemp('hostdev')
    initrd = work / 'initrd'
    initrd.write_bytes(tiny.guest_initramfs(linux.Kernel(),
                                            modules=[*tiny.GUEST_MODULES, 'xen-pcifront', 'e1000e']))
    host.put(initrd, f'{IMAGES}/hostdev-initrd')
    text = re.sub(r'<disk .*?</disk>', '', GUEST, flags=re.S)
    for old, new in (('guest-initrd', 'hostdev-initrd'), ("'MiB'>128", "'MiB'>1280"), ('<vcpu>2', '<vcpu>1')):
        text = text.replace(old, new)
    for number in range(len(CARDS)):
        (work / f'card{number}.xml').write_text(hostdev(number))
    (work / 'first.xml').write_text(text.replace('>pv<', '>first<').replace('1280', '128'))
    text = re.sub(r'<interface .*?</interface>', '', text, flags=re.S)
    (work / 'unmanaged.xml').write_text(text.replace('>pv<', '>unmanaged<').replace('1280', '128').replace(
        '</devices>', hostdev(1, managed='no') + '</devices>'))
    text = text.replace('</devices>', hostdev(0) + '</devices>')
    (work / 'pv.xml').write_text(text)
    (work / 'other.xml').write_text(text.replace('>pv<', '>other<').replace('1280', '128'))
    return work


@pytest.fixture
def console(host):
    terminal = Console(host, 'pv')
    yield terminal
    terminal.close()


def reaches_network(console, number):
    """The card moves packets by DMA and tells of them by interrupts: in the guest, not in dom0."""
    # A card that came a moment ago has its bus and its driver looked for by the guest's kernel first.
    found = f'grep -l 52:54:00:00:00:0{number} /sys/class/net/*/address'
    console.wait_for(found)
    name = re.findall(r'^/sys/class/net/(\w+)/address', console.run(found), re.M)[-1]
    console.run(f'ip addr add 10.0.{50 + number}.15/24 dev {name}; ip link set {name} up')
    console.run(f'for i in 1 2 3 4 5 6 7 8 9 10; do ping -c 1 -W 3 10.0.{50 + number}.2 && break; done '
                '| grep " 0% packet"')


@pytest.mark.skipif(KIND == 'xen', reason='Xen has an IOMMU')
def test_refused_without_iommu(host, files):
    host.virsh(['define', str(files / 'pv.xml')])
    assert 'the hypervisor uses no IOMMU' in refused(host, 'start', 'pv')
    assert driver_of(host, 0) == 'e1000e'
    assert "<hostdev supported='no'" in host.virsh('domcapabilities')
    host.virsh('undefine pv')


@needs_iommu
def test_start(host, files):
    assert "<hostdev supported='yes'" in host.virsh('domcapabilities')
    host.before = held_after_first(host, files / 'first.xml', 'first')
    for number in range(len(CARDS)):
        works_in_dom0(host, number)
    host.virsh(['define', str(files / 'pv.xml')])
    host.virsh('start pv')
    assert driver_of(host, 0) == 'pciback'
    assert driver_of(host, 1) == 'e1000e'


@needs_iommu
def test_network(console):
    console.expect('guest shell:', 300)
    assert int(re.search(r'\d{6,}', console.run('grep MemTotal /proc/meminfo')).group()) > 1100 << 10
    reaches_network(console, 0)


@needs_iommu
def test_one_owner(host, files):
    host.virsh(['define', str(files / 'other.xml')])
    assert 'in use by driver xenlight, domain pv' in refused(host, 'start', 'other')
    assert 'in use' in refused(host, 'nodedev-reattach', 'pci_0000_00_10_0')
    host.run('systemctl restart libvirtd')
    host.disconnect()
    assert 'in use by driver xenlight, domain pv' in refused(host, 'start', 'other')
    host.virsh('undefine other')
    assert driver_of(host, 0) == 'pciback'


@needs_iommu
def test_attach_and_detach(host, files, console):
    card = str(files / 'card1.xml')
    host.virsh(['attach-device', 'pv', card, '--live', '--config'])
    assert driver_of(host, 1) == 'pciback'
    reaches_network(console, 1)
    for which in ('', '--inactive'):
        assert host.virsh(f'dumpxml pv {which}').count('<hostdev') == 2
    assert 'already' in refused(host, 'attach-device', 'pv', card, '--live')
    # The one that stays goes on meanwhile.
    host.virsh(['detach-device', 'pv', card, '--live', '--config'])
    works_in_dom0(host, 1)
    assert host.virsh('dumpxml pv').count('<hostdev') == 1
    assert '52:54:00:00:00:01' not in console.run('cat /sys/class/net/*/address')
    console.run('ping -c 1 -W 9 10.0.50.2')
    # The last one takes the bus along, and comes back with another.
    host.virsh(['detach-device', 'pv', str(files / 'card0.xml'), '--live'])
    assert driver_of(host, 0) == 'e1000e'
    host.virsh(['attach-device', 'pv', str(files / 'card0.xml'), '--live'])
    reaches_network(console, 0)


@needs_iommu
def test_save_is_refused(host):
    assert "It has PCI device '0000:00:10.0' of the machine" in refused(host, 'managedsave', 'pv')
    assert host.virsh('domstate pv').strip() == 'running'


@needs_iommu
def test_reboot(host):
    before = domain_id(host)
    host.virsh('reboot pv')
    limit = time.monotonic() + 240
    while domain_id(host) in (before, '-'):
        assert time.monotonic() < limit, 'the guest does not reboot'
        time.sleep(1)
    console = Console(host, 'pv')
    try:
        console.expect('guest shell:', 300)
        assert driver_of(host, 0) == 'pciback'
        reaches_network(console, 0)
    finally:
        console.close()


@needs_iommu
def test_unmanaged(host, files):
    host.virsh('nodedev-detach pci_0000_00_11_0')
    host.virsh(['create', str(files / 'unmanaged.xml'), '--paused'])
    assert 'in use' in refused(host, 'nodedev-reattach', 'pci_0000_00_11_0')
    host.virsh('destroy unmanaged')
    assert driver_of(host, 1) == 'pciback'
    host.virsh('nodedev-reattach pci_0000_00_11_0')
    works_in_dom0(host, 1)


@needs_iommu
def test_end(host):
    host.virsh('destroy pv')
    host.virsh('undefine pv')
    for number in range(len(CARDS)):
        works_in_dom0(host, number)
    assert leftovers(host) == host.before
