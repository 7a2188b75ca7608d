# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tiny dom0 on machines that differ: each value of each row is there once, not every combination of them.

On each, dom0 has all CPUs and the memory, its clock is the TSC or Xen's and tells the machine's time, and it
ends as it was told: by ACPI's power-off or by a reset.
"""

import calendar
import re
import time

import pytest

from tiny import Tiny

pytestmark = [pytest.mark.tiny, pytest.mark.by_name]
LONG = 900

# (machine, CPU model, CPUs, memory in MiB, more words for QEMU, how it ends)
MACHINES = {
    'pc-qemu64-1cpu-256mib': ('pc', 'qemu64', 1, 256, [], 'poweroff'),
    'pc-max-2cpus-no-hpet': ('pc,hpet=off', 'max,-smap', 2, 1024, [], 'reboot'),
    'pc-epyc-8cpus': ('pc', 'EPYC,-smap', 8, 1024, [], 'poweroff'),
    'q35-max-4cpus-20gib': ('q35', 'max,-smap', 4, 20480, [], 'reboot'),
    'q35-qemu64-8cpus': ('q35', 'qemu64', 8, 1024, [], 'reboot'),
    'q35-epyc-1cpu-xapic-only': ('q35', 'EPYC,-smap,-x2apic', 1, 1024, [], 'poweroff'),
    'q35-max-2cpus-hole-at-1gib': ('q35,max-ram-below-4g=1G', 'max,-smap', 2, 2048, [], 'poweroff'),
    'pc-max-4cpus-2sockets-threads': ('pc', 'max,-smap', '4,sockets=2,cores=1,threads=2', 1024, [], 'reboot'),
}

SCRIPT = '''\
nproc
awk '$1 == "present" { n += $2 } END { print n * 4 }' /proc/zoneinfo
cat /sys/devices/system/clocksource/clocksource0/current_clocksource
date -u +%s
'''


@pytest.mark.parametrize('name', MACHINES)
def test_dom0_runs_and_ends(tiny_kind, tiny_log, name):
    machine, cpu, cpus, memory, words, end = MACHINES[name]
    with Tiny(tiny_kind, store=None, cpus=cpus, memory=memory, cpu=cpu, kernel='elf', log=tiny_log,
              qemu_args=['-machine', machine, '-no-reboot', *words]) as t:
        t.boot(LONG)
        count, kilobytes, clock, seconds = t.run(SCRIPT, LONG).split()
        assert int(count) == int(str(cpus).split(',')[0])
        # All but what the hypervisor keeps for itself and for the first guest's structures.
        assert int(kilobytes) > memory * 1024 * 0.9
        # The first where the CPU's TSC is invariant, which QEMU's TCG never says.
        assert clock in ('tsc', 'xen')
        now = calendar.timegm(time.gmtime())
        assert abs(int(seconds) - now) < 60
        t.send(f'{end} -f\n')
        t.expect('asks for a reboot' if end == 'reboot' else 'entering S5', LONG)
        assert t.wait(LONG) == 0
