# SPDX-License-Identifier: LGPL-2.1-or-later
"""Instructions per hypervisor operation and the hypervisor's own memory, by count, for system-bench.py.

A hypervisor is booted in QEMU (TCG, -icount) with the bench kernel of tests/guest as its dom0, whose marks
count/plugin.c knows; then in a machine of 4 GiB with a kernel that adds up what neither dom0 nor the free
lists have.
"""

import pathlib
import re
import tempfile

import qemu
import tiny

BUILD = pathlib.Path(__file__).resolve().parents[2] / 'build'
PLUGIN = BUILD / 'tests/bench/count-plugin.so'
NAMES = {
    1: 'null hypercall', 2: 'event send to self', 3: 'yield', 4: 'update_va_mapping (2)',
    5: 'mmu_update, 1 entry', 6: 'mmu_update, 32 entries', 7: 'trapped PTE write',
    8: 'unpin and pin an L1 of 512', 9: 'page fault to the guest kernel', 10: 'system call and back',
    11: 'iret', 12: 'grant map', 13: 'grant unmap', 14: 'populate one page',
    15: 'multicall of 32 null calls', 16: 'page fault and back (with iret)', 17: 'event channel unmask',
    18: 'set_timer', 19: 'wake another vCPU and wait, twice', 20: 'grant copy of 64 bytes',
    21: 'pin and unpin a 4-level tree',
}
OPTIONS = {'serai': '', 'xen': 'dom0_mem=128M bootscrub=0'}


def counting(log):
    """Arguments that make QEMU count, and write what count() reads to the file LOG."""
    return ['-icount', 'shift=0,sleep=off', '-plugin', PLUGIN, '-d', 'plugin', '-D', log]


def boot(kind, kernel, options, memory, *arguments):
    """Run a hypervisor with a test kernel to its end; the console's text."""
    log = BUILD / f'system-logs/bench-{kernel}-{kind}.log'
    with qemu.Qemu(['-cpu', qemu.CPU, '-m', memory, '-no-reboot', '-net', 'none',
                    '-kernel', tiny.hypervisor(kind), '-initrd', BUILD / 'tests/guest' / kernel,
                    '-append', f'console=com1 {OPTIONS[kind]} {options}', *arguments], log) as machine:
        result = machine.expect(r'Test result: (\w+) .*\n', 300).group(1)
        assert result == 'SUCCESS' or kind == 'xen', f'{kernel} on {kind}: {result}; see {log}'
        end(machine)
        return machine.text


def end(machine):
    """The plugin reports when QEMU ends by itself."""
    machine.process.terminate()
    machine.process.wait(60)


def operations(kind):
    """{operation: instructions of one}"""
    with tempfile.NamedTemporaryFile('r', prefix='serai-count-') as log:
        boot(kind, 'guest-bench', 'dom0_max_vcpus=2', 512, *counting(log.name))
        counts = {int(n): int(count) for n, count in re.findall(r'^count (\d+) (\d+) \d+$', log.read(), re.M)}
    return {name: counts[number] for number, name in NAMES.items()}


def own_memory(kind):
    """{row: KiB}"""
    text = boot(kind, 'guest-own-memory', 'dom0_mem=64M', 4096)
    values = map(int, re.search(r'own (\d+) KiB: frame table (\d+) KiB, the rest (\d+) KiB', text).groups())
    return dict(zip(('own memory, of 4 GiB', 'own memory: frame table', 'own memory: the rest'), values))
