# SPDX-License-Identifier: LGPL-2.1-or-later
"""How dom0 can end: the reason is on the console, and the machine starts again."""

import pytest

import qemu
from tiny import Tiny

pytestmark = pytest.mark.tiny
CRASHED = {'serai': r'Domain-0 has crashed', 'xen': r'Hardware Dom0 crashed'}
REBOOTS = {'serai': r'Domain-0 asks for a reboot', 'xen': r'Hardware Dom0 shutdown: rebooting machine'}


def crash(t):
    t.boot()
    t.send('@run 1 ZWNobyBjID4gL3Byb2Mvc3lzcnEtdHJpZ2dlcg==\n')        # echo c > /proc/sysrq-trigger
    # The kernel's own words come first: a panic that is a crash, not a hang that somebody ended.
    t.expect(r'Kernel panic - not syncing: sysrq triggered crash', 300)
    t.expect(CRASHED[t.kind], 300)


def test_dom0s_crash_is_told_and_the_machine_starts_again(tiny_kind, tiny_log):
    with Tiny(tiny_kind, store=None, log=tiny_log, hv_args='noreboot=no', reboots=True) as t:
        crash(t)
        t.expect(r'^@@ready', 600)


def test_with_noreboot_the_machine_waits_for_somebody_to_read_why(tiny_kind, tiny_log):
    with Tiny(tiny_kind, store=None, log=tiny_log, reboots=True) as t:
        crash(t)
        # The other way lasts 5 s; what must not come is a second start, nor QEMU's end.
        with pytest.raises(qemu.Timeout):
            t.expect(r'Linux version', 30)
        assert t.alive()


def test_dom0s_reboot_starts_the_machine_again(tiny_kind, tiny_log):
    with Tiny(tiny_kind, store=None, log=tiny_log, reboots=True) as t:
        t.boot()
        t.send('reboot -f\n')
        t.expect(REBOOTS[t.kind], 300)
        t.expect(r'^@@ready', 600)
