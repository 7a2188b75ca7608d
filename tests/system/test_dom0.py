# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian with its whole user space as dom0, on a covering subset of the machines that QEMU can pretend.

Every value of each column stands in some row: firmware, machine, number of CPUs, disk, network card.
Nothing is taken away from Debian (Host(full=True)): its own initramfs, udev, logind, getty.  One boot serves
all tests of a row, in the order they stand here; the last one ends the machine.
"""

import contextlib
import functools
import hashlib
import http.server
import threading

import pytest

import host as hosts
from cache import run

pytestmark = pytest.mark.dom0
#    firmware machine CPUs disk      network card       how the machine is switched off
ROWS = [('bios', 'pc', 1, 'virtio', 'virtio-net-pci', 'power button'),
        ('bios', 'q35', 2, 'ahci', 'e1000e', 'poweroff'),
        ('uefi', 'q35', 4, 'nvme', 'rtl8139', 'power button'),
        ('uefi', 'pc', 2, 'virtio', 'e1000', 'poweroff'),
        ('bios', 'pc', 4, 'ahci', 'e1000', 'power button')]


# The row that every run goes through: what differs most from the host of all other system tests.
DAILY = ROWS[2]


@pytest.fixture(scope='module', params=[pytest.param(row, marks=[] if row is DAILY else pytest.mark.by_name,
                                                     id='-'.join(map(str, row[:5]))) for row in ROWS])
def row(request):
    return request.param


@pytest.fixture(scope='module')
def dom0(row, kind, stock, host_image_directory):
    firmware, machine, cpus, disk, nic, _ = row
    log = hosts.TOP / f'build/system-logs/dom0-{kind}-{firmware}-{machine}-{cpus}-{disk}-{nic}.log'
    with hosts.Host(kind, cpus=cpus, machine=machine, firmware=firmware, disk=disk, nic=nic, stock=stock,
                    full=True, reboots=True, image=host_image_directory, log=log) as h:
        yield h.boot(1800)


def test_somebody_logs_in_on_the_console(dom0, row):
    dom0.log_in()
    assert dom0.type('nproc').strip() == str(row[2])
    # Nothing in the test bed's way: it is Debian's own unit that shows the prompt.
    assert 'active' in dom0.type('systemctl is-active serial-getty@hvc0')


def test_debian_is_whole_and_nothing_failed(dom0):
    status, state = dom0.run('systemctl is-system-running --wait', timeout=1800, check=False)
    failed = dom0.run('systemctl --failed --plain --no-legend')
    assert (state.strip(), failed.strip()) == ('running', ''), dom0.run('journalctl -b -p warning | tail')


def test_the_disk_and_the_card_are_those_of_the_row(dom0, row):
    drivers = {'virtio': 'virtio_blk', 'ahci': 'ahci', 'nvme': 'nvme', 'virtio-net-pci': 'virtio_net',
               'rtl8139': '8139cp'}
    device, part = {'virtio': ('vda', '3'), 'ahci': ('sda', '3'), 'nvme': ('nvme0n1', 'p3')}[row[3]]
    assert dom0.run('findmnt -n -o SOURCE,FSTYPE /').split() == [f'/dev/{device}{part}', 'ext4']
    # The controller's name is in the path of the block device.
    path = dom0.run(f'p=$(readlink -f /sys/block/{device}); while [ $p != / ]; do '
                    'basename $(readlink -f $p/driver) 2>/dev/null; p=$(dirname $p); done').split()
    assert drivers[row[3]] in path
    card = dom0.run('basename $(readlink -f /sys/class/net/eth0/device/driver)').strip()
    assert card == drivers.get(row[4], row[4])


def test_files_written_are_files_read(dom0):
    dom0.run('dd if=/dev/urandom of=/root/data bs=1M count=24 2>/dev/null && '
             'sha256sum /root/data > /root/sum && sync && echo 3 > /proc/sys/vm/drop_caches && '
             'sha256sum -c --quiet /root/sum')


def test_apt_installs_a_package_over_the_network(dom0, tmp_path):
    with repository(tmp_path) as port:
        dom0.run('cd /etc/apt; rm -rf sources.list sources.list.d/*; '
                 f'echo "deb [trusted=yes] http://10.0.2.2:{port} ./" > sources.list; '
                 'apt-get update && apt-get install -y serai-test-package', timeout=900)
    assert dom0.run('serai-test-command').strip() == 'installed'
    assert dom0.run('sha256sum < /usr/share/serai-test-data').split()[0] == hashlib.sha256(DATA).hexdigest()


def test_reboot_comes_back(dom0, row):
    before = dom0.run('cat /proc/sys/kernel/random/boot_id')
    dom0.reboot(1800)
    assert dom0.run('cat /proc/sys/kernel/random/boot_id') != before
    assert dom0.run('nproc').strip() == str(row[2])
    dom0.run('sha256sum -c --quiet /root/sum && serai-test-command')


def test_the_machine_is_switched_off(dom0, row):
    if row[5] == 'power button':
        # logind listens to the button once udev has shown it.
        dom0.run('systemctl is-active systemd-logind')
        dom0.power_button()
        dom0.wait(900)
    else:
        dom0.shutdown(900)
    assert not dom0.alive()
    assert 'reboot: Power down' in dom0.tail()


# Some megabytes that no line of text resembles, so that the network carries real packets.
DATA = b''.join(hashlib.sha256(str(n).encode()).digest() for n in range(1 << 16))


@contextlib.contextmanager
def repository(directory):
    """An apt repository with one package, served on loopback; yields its port."""
    tree, served = directory / 'tree', directory / 'served'
    for path, text, mode in (('DEBIAN/control', CONTROL.encode(), 0o644),
                             ('usr/share/serai-test-data', DATA, 0o644),
                             ('usr/bin/serai-test-command', b'#!/bin/sh\necho installed\n', 0o755)):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(text)
        (tree / path).chmod(mode)
    served.mkdir()
    package = served / 'serai-test-package.deb'
    run(['dpkg-deb', '--build', '--root-owner-group', '-Zgzip', tree, package])
    data = package.read_bytes()
    (served / 'Packages').write_text(f'{CONTROL}Filename: ./{package.name}\nSize: {len(data)}\n'
                                     f'SHA256: {hashlib.sha256(data).hexdigest()}\n')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=served))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


CONTROL = '''\
Package: serai-test-package
Version: 1.0
Architecture: all
Maintainer: The test <test@localhost>
Description: a package that a test installs
'''
