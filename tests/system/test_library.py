# SPDX-License-Identifier: LGPL-2.1-or-later
"""libserai on a host without libvirt in between: what a domain costs dom0, a NIC that changes, a save.

    SERAI_HOST=serai pytest tests/system/test_library.py      # or xen: our library on Debian's Xen

The program that uses the library ends after each step; its domains stay.
"""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from test_driver_pv import GUEST, IMAGES, Console, booted, created, renamed                      # noqa: E402

pytestmark = pytest.mark.by_name
PROGRAM = pathlib.Path(__file__).resolve().parent / 'programs/library.py'
COUNT = 6
# udev's workers come with each device and stay a while.
LOOK = ('udevadm settle; sleep 10; sync; echo 3 > /proc/sys/vm/drop_caches; sleep 1; '
        'grep MemFree /proc/meminfo; '
        'for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline 2>/dev/null | sed "s/$/\\n/"; done | '
        'grep -v -e "^$" -e udevd -e "^(" -e "^sshd" -e "^bash -c" -e "^sh -c" '
        '-e "^tr " -e "^sed " -e "^grep "')


@pytest.fixture(scope='module')
def host():
    with booted('library', cpus=1) as machine:
        machine.put(PROGRAM, '/root/library.py')
        # What is paid once: the unpacked kernel, modules, directories in the store.
        library(machine, 'create 1')
        library(machine, 'destroy 1')
        yield machine


def library(host, arguments):
    return host.run(f'python3 /root/library.py {arguments}', timeout=900)


def look(host):
    """Free memory of dom0 in KiB, and its programs."""
    free, *programs = host.run(LOOK, timeout=600).splitlines()
    return int(re.search(r'(\d+) kB', free).group(1)), sorted(p.strip() for p in programs)


def test_a_domain_costs_little_memory_and_no_process(host):
    before, programs = look(host)
    assert len(library(host, f'create {COUNT}').split()) == 2 * COUNT
    after, more = look(host)
    each = (before - after) / COUNT
    print(f'{each:.0f} KiB of dom0 for each domain')
    assert more == programs
    assert each < 300


def test_a_link_goes_down_and_up(host):
    domid = library(host, 'id f0').strip()
    vif = f'vif{domid}.0'

    def is_up():
        return int(host.run(f'cat /sys/class/net/{vif}/flags'), 16) & 1

    assert host.run('ls /sys/class/net/br0/brif').split().count(vif) == 1 and is_up()
    library(host, 'nic f0 link_down=1')
    assert not is_up()
    library(host, 'nic f0 link_down=0')
    assert is_up()


def test_a_disk_in_use_is_refused(host):
    code, text = host.run('python3 /root/library.py share 50 0', check=False, timeout=900)
    assert code != 0 and f'{IMAGES}/f0.img' in text and 'is in use' in text


def test_destroyed_domains_leave_nothing(host):
    library(host, f'destroy {COUNT}')
    assert 'vif' not in host.run('ls /sys/class/net')
    assert host.run(f'losetup -n -O BACK-FILE -a | grep {IMAGES}/f || true').strip() == ''


@pytest.fixture
def guest(host, tmp_path):
    xml = tmp_path / 'limited.xml'
    xml.write_text(renamed(GUEST, 'limited', '81'))
    created(host, xml, 'limited')
    terminal = Console(host, 'limited')
    yield terminal
    terminal.close()
    host.virsh('destroy limited')


def longest_ping(guest, address):
    """Milliseconds that the quickest of three pings of 40 KB took."""
    said = guest.run(f'ping -s 40000 -c 3 -W 30 {address}', 300)
    return float(re.search(r'min/avg/max = ([\d.]+)/', said).group(1))


def test_a_rate_is_kept(host, guest):
    """At 100 KiB a second 40 KB take 0.4 s, but for what one burst holds."""
    host.run('ip addr add 10.9.81.1/24 dev br0')
    guest.run('ip addr add 10.9.81.2/24 dev eth0; ip link set eth0 up')
    guest.run('for i in 1 2 3 4 5; do ping -c 1 -W 5 10.9.81.1 >/dev/null && exit 0; done; exit 1', 120)
    free = longest_ping(guest, '10.9.81.1')
    library(host, 'nic limited rate_kib=100')
    limited = longest_ping(guest, '10.9.81.1')
    print(f'{free:.0f} ms without a limit, {limited:.0f} ms with 100 KiB a second')
    assert limited > max(300, 2 * free)
    library(host, 'nic limited rate_kib=0')
    assert longest_ping(guest, '10.9.81.1') < limited / 2


def test_a_guest_goes_on_after_it_was_saved(host, guest):
    guest.run('echo here > /tmp/marker')
    library(host, 'save limited /root/limited.save')
    assert int(host.run('stat -c %s /root/limited.save; rm /root/limited.save')) > 1 << 20
    guest.run('[ "$(cat /tmp/marker)" = here ] && dd if=/dev/xvda of=/dev/null bs=64k count=4')
