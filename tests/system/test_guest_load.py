# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a busy guest holds stays its own: blocks, registers, memory; and so does its panic."""

import re
import time

import linux
import pytest
import tiny
from cache import run

pytestmark = [pytest.mark.tiny, pytest.mark.by_name]
PROGRAMS = ('disk-verify', 'ymm-check')
CONFIG = '''\
name = "{name}"
type = "pv"
kernel = "/boot/guest-kernel"
ramdisk = "/boot/load-initrd"
extra = "console=hvc0 quiet guest.load={load}"
memory = {memory}
maxmem = {memory}
vcpus = {vcpus}
on_crash = "destroy"
{more}
'''
# What a guest does is in its command line.
GUEST = '''
case $(cat /proc/cmdline) in
*guest.load=disk*) disk-verify /dev/xvda 16 & ;;
*guest.load=ymm*) ymm-check 1 & ymm-check 2 & ;;
*guest.load=memory*)
    # Fills what is free, again and again, so that pages given back are used at once.
    while :; do
        dd if=/dev/urandom of=/tmp/data bs=1M count=16 2>/dev/null; sum=$(sha256sum < /tmp/data)
        cp /tmp/data /tmp/copy
        [ "$(sha256sum < /tmp/copy)" = "$sum" ] && echo "memory: $((n += 1))" || echo "memory: WRONG"
        rm /tmp/copy
    done & ;;
esac
'''


@pytest.fixture(scope='module')
def programs(tmp_path_factory):
    """The load programs, static, for any guest and for dom0."""
    out = tmp_path_factory.mktemp('programs')
    for name in PROGRAMS:
        run(['cc', '-O1', '-Wall', '-static', '-o', out / name, tiny.TOP / f'tests/system/programs/{name}.c'])
    return {f'bin/{name}': out / name for name in PROGRAMS}


@pytest.fixture(scope='module')
def initrd(programs):
    return tiny.guest_initramfs(linux.Kernel(), GUEST, programs)


def config(name, load, memory=96, vcpus=1, more=''):
    return CONFIG.format(name=name, load=load, memory=memory, vcpus=vcpus, more=more)


def console(t, name):
    """The last that a guest has said, in all its lives: a restore goes on in the same log."""
    log = f'/var/log/xen/console/guest-{name}.log'
    return t.run(f'if grep WRONG {log}; then exit 1; fi; tail -c 1000 {log}')


def progress(text, pattern):
    """The last number that each kind of line showed."""
    return {m.group(1): int(m.group(2)) for m in re.finditer(pattern, text, re.M)}


def advances(t, name, pattern, kinds, timeout=900):
    """Wait until each of the KINDS of lines has got further than it is now."""
    first = progress(console(t, name), pattern)
    limit = time.monotonic() + timeout
    while True:
        now = progress(console(t, name), pattern)
        if len(now) >= kinds and all(now[k] > first.get(k, 0) for k in now):
            return now
        assert time.monotonic() < limit, f'{name} got from {first} to {now}\n{t.run("xl list; xl dmesg")}'
        t.pump(1)


BLOCKS = r'^verify: (\d) (\d+)'


def test_a_busy_disk_survives_pause_and_save(tiny_kind, tiny_log, initrd):
    with tiny.Tiny(tiny_kind, log=tiny_log, memory=2048,
                   prepare='truncate -s 16M /disk.img; losetup /dev/loop0 /disk.img',
                   files={'boot/load-initrd': initrd,
                          'etc/d.cfg': config('d', 'disk', vcpus=2,
                                              more='disk = ["phy:/dev/loop0,xvda,w"]')}) as t:
        t.boot(600)
        t.run('xl create /etc/d.cfg', timeout=600)
        advances(t, 'd', BLOCKS, 2)
        for _ in range(3):
            t.run('xl pause d; sleep 1; xl unpause d')
            advances(t, 'd', BLOCKS, 2)
        for _ in range(2):
            t.run('xl save d /d.save', timeout=600)
            t.run('xl restore /d.save && rm /d.save', timeout=600)
            advances(t, 'd', BLOCKS, 2)
        t.run('xl destroy d')


def test_vector_registers_survive_other_guests(tiny_kind, tiny_log, initrd, programs):
    with tiny.Tiny(tiny_kind, log=tiny_log,
                   files={'boot/load-initrd': initrd, 'usr/bin/ymm-check': programs['bin/ymm-check'],
                          'etc/a.cfg': config('a', 'ymm'), 'etc/b.cfg': config('b', 'ymm')}) as t:
        t.boot(600)
        t.run('ymm-check 9 > /ymm.log &')
        for name in 'ab':
            t.run(f'xl create /etc/{name}.cfg', timeout=600)
        for _ in range(3):
            for name in 'ab':
                advances(t, name, r'^ymm: (\d) (\d+)', 2)
        said = t.run('cat /ymm.log')
        assert 'WRONG' not in said and progress(said, r'^ymm: (\d) (\d+)')['9'] > 0, said


def test_memory_given_back_and_taken_again_keeps_the_rest(tiny_kind, tiny_log, initrd):
    with tiny.Tiny(tiny_kind, log=tiny_log,
                   files={'boot/load-initrd': initrd, 'etc/m.cfg': config('m', 'memory', memory=192)}) as t:
        t.boot(600)
        t.run('xl create /etc/m.cfg', timeout=600)
        advances(t, 'm', r'^(memory): (\d+)', 1)
        for size in (128, 192, 112, 192):
            t.run(f'xl mem-set m {size}')
            limit = time.monotonic() + 900
            while abs(int(t.run("xl list m | awk 'END { print $3 }'")) - size) > 1:
                assert time.monotonic() < limit, t.run('xl list')
                t.pump(1)
            advances(t, 'm', r'^(memory): (\d+)', 1)


def test_a_guests_panic_is_its_own_affair(tiny_kind, tiny_log, initrd):
    with tiny.Tiny(tiny_kind, log=tiny_log,
                   files={'boot/load-initrd': initrd, 'etc/n.cfg': config('n', 'ymm'),
                          'etc/p.cfg': config('p', 'none').replace('quiet', 'quiet guest.then=crash')}) as t:
        t.boot(600)
        t.run('xl create /etc/n.cfg', timeout=600)
        advances(t, 'n', r'^ymm: (\d) (\d+)', 2)
        t.run('xl create -F /etc/p.cfg', timeout=600)
        assert 'Kernel panic' in t.run('cat /var/log/xen/console/guest-p.log')
        assert not re.search(r'^p ', t.run('xl list'), re.M)
        advances(t, 'n', r'^ymm: (\d) (\d+)', 2)
