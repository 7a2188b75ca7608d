# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that use what is rare in a CPU, under Debian's kernel in the tiny dom0 and in a guest.

32-bit ways into the kernel, segments of the LDT, single steps, breakpoints, vector registers: Linux itself
uses little of it, so no other test would notice that a program lost it.  The CPU's vendor decides which entry
a 32-bit program takes: SYSCALL on AMD's, SYSENTER on Intel's.
"""

import linux
import pytest
import tiny
from cache import run

pytestmark = pytest.mark.tiny
FLAGS = {'compat32': ['-m32', '-O1', '-nostdlib', '-static', '-ffreestanding', '-fno-pie', '-no-pie'],
         'traps64': ['-O1', '-static', '-mavx', '-pthread']}
ENTRIES = {'AuthenticAMD': 'SYSCALL', 'GenuineIntel': 'SYSENTER'}


@pytest.fixture(scope='module')
def programs(tmp_path_factory):
    out = tmp_path_factory.mktemp('programs')
    for name, flags in FLAGS.items():
        run(['cc', *flags, '-Wall', '-o', out / name, tiny.TOP / f'tests/system/programs/{name}.c'])
    return {f'bin/{name}': out / name for name in FLAGS}


@pytest.mark.parametrize('vendor', ENTRIES)
def test_in_dom0(tiny_kind, tiny_log, programs, vendor):
    with tiny.Tiny(tiny_kind, store=None, cpus=2, cpu=f'max,-smap,vendor={vendor}', files=programs,
                   log=tiny_log, script='for i in 1 2 3; do compat32 || exit; done; traps64 3') as t:
        said = t.done(900).splitlines()
        assert said.count(f'compat32: enters by {ENTRIES[vendor]}') == 3
        assert said.count('compat32: ok') == 3
        assert 'traps64: YMM registers kept' in said and 'traps64: ok' in said


def test_in_a_guest_beside_a_busy_dom0(tiny_kind, tiny_log, programs):
    initrd = tiny.guest_initramfs(linux.Kernel(), 'compat32; traps64 3; compat32', programs)
    with tiny.Tiny(tiny_kind, files={**programs, 'boot/guest-initrd': initrd}, log=tiny_log,
                   script='xl create /etc/guest.cfg; traps64 10; '
                          'wait-guest guest "guest login:" 900; echo') as t:
        said = t.done(900).replace('\r', '').splitlines()
        assert said.count('compat32: ok') == 2
        assert said.count('traps64: ok') == 2
