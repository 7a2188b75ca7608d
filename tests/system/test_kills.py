# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirtd is killed again and again while it does things to a guest; nothing is lost and nothing leaks.

    SERAI_HOST=serai pytest tests/system/test_kills.py --kills 100 [--seed N]

The work is done inside the host by programs/kill-libvirtd.py, which also says what must hold after each kill.
"""

import pathlib
import random
import re
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from test_driver_pv import GUEST, IMAGES, booted, leftovers, renamed    # noqa: E402

pytestmark = pytest.mark.by_name
PROGRAM = pathlib.Path(__file__).resolve().parent / 'programs/kill-libvirtd.py'
SAVE = f'{IMAGES}/kills.save'
# What a killed daemon might leave besides: definitions, images half written, files of guests.
FILES = (f'ls /etc/libvirt/libxl /var/lib/libvirt/libxl/save /var/lib/libvirt/libxl/dump {IMAGES} '
         '/run/libvirt/libxl /run/serai 2>/dev/null; true')
# The hypervisor's free memory, which virsh shows as that of the one cell.
FREE = 'virsh freecell --all | sed -n "s/^Total: *\\([0-9]*\\) KiB/\\1/p"'
# Frames that dom0 holds for grants are given back some time after.
SLACK_KIB = 256


@pytest.fixture(scope='module')
def host():
    with booted('kills', memory=3072) as machine:
        yield machine


def holds(host):
    """What dom0 holds, and the hypervisor's free memory in KiB, once backends have gone."""
    host.run('for i in $(seq 600); do [ -z "$(ls /sys/bus/xen-backend/devices; losetup -a)" ] && exit 0; '
             'sleep 0.5; done; ls /sys/bus/xen-backend/devices; losetup -a; exit 1', timeout=900)
    found = leftovers(host) | set(host.run(FILES).split())
    return found, int(host.run(FREE, timeout=600))


def test_libvirtd_is_killed_and_nothing_leaks(request, host, tmp_path):
    seed = request.config.getoption('--seed')
    seed = random.randrange(10000) if seed is None else seed
    kills = request.config.getoption('--kills')
    # With its UUID given, defining it again is a redefinition, which must succeed.
    guest = renamed(GUEST, 'kills', '71').replace('<vcpu>2<', '<vcpu>1<').replace(
        '<memory', '<uuid>5e4a1000-0000-4000-8000-000000000071</uuid>\n  <memory', 1)
    host.run('cat > /root/kills.xml', input=guest)
    host.run(f'truncate -s 4M {IMAGES}/kills-extra.img')
    host.put(PROGRAM, '/root/kill-libvirtd.py')
    # The first guest on a host makes directories that stay, and fills caches.
    host.run('virsh create /root/kills.xml && virsh destroy kills', timeout=900)
    host.run('systemctl restart libvirtd', timeout=900)
    before, free = holds(host)

    host.run(f'systemd-run --quiet --unit=kills --property=StandardOutput=file:/root/kills.out '
             f'--property=StandardError=file:/root/kills.out python3 /root/kill-libvirtd.py {kills} {seed} '
             f'/root/kills.xml {IMAGES}/kills-extra.img {SAVE}', timeout=600)
    shown, limit = 0, time.monotonic() + 600 + kills * 300
    while True:
        said = host.run('cat /root/kills.out', timeout=900)
        print(said[shown:], end='', flush=True)
        shown = len(said)
        if host.run('systemctl is-active --quiet kills', check=False, timeout=900)[0]:
            break
        assert time.monotonic() < limit, f'seed {seed}: not done in time\n{said[-3000:]}'
        host.pump(5)
    said = host.run('cat /root/kills.out', timeout=900)
    journal = host.run('journalctl -u libvirtd -n 40 --no-pager -o cat', timeout=900)
    assert re.search('^done', said, re.M), f'seed {seed}:\n{said[-3000:]}\n{journal}'

    after, free_after = holds(host)
    assert after - before == set(), f'seed {seed}'
    assert free - free_after <= SLACK_KIB, f'seed {seed}: {free} KiB were free, now {free_after} KiB'
    assert 'kills' not in host.virsh('list --all --name').split()
    assert re.search(r'free +: *\d+', host.virsh('nodememstats'))


if __name__ == '__main__':
    sys.exit(subprocess.call([sys.executable, '-m', 'pytest', '-v', '-s', __file__, *sys.argv[1:]]))
