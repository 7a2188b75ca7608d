# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's kernel and Xen's own tools on the hypervisor, from an initramfs."""

import pytest

from tiny import Tiny

pytestmark = pytest.mark.tiny


def test_dom0_reaches_user_space_with_debians_kernel_still_packed(tiny_kind, tiny_log):
    with Tiny(tiny_kind, store=None, script='uname -a; cat /sys/hypervisor/type', log=tiny_log,
              kernel='bzimage') as t:
        output = t.done(timeout=300)
        assert 'Debian' in output
        assert 'xen' in output.splitlines()


def test_dom0_gets_two_cpus_and_counts_time(tiny_kind, tiny_log):
    with Tiny(tiny_kind, store=None, cpus=2, log=tiny_log,
              script='nproc; a=$(cut -d. -f1 /proc/uptime); sleep 2; b=$(cut -d. -f1 /proc/uptime); '
                     'echo slept $((b - a))') as t:
        output = t.done(timeout=300)
        assert output.splitlines()[0] == '2'
        slept = int(output.split('slept ')[1].split()[0])
        assert 2 <= slept <= 20


def test_ctrl_a_three_times_switches_what_is_typed_to_the_hypervisor_and_back(tiny_kind, tiny_log):
    with Tiny(tiny_kind, store=None, log=tiny_log) as t:
        t.boot()
        t.send('\x01\x01\x01')
        t.expect(r'^\((Serai|XEN)\).* Ctrl-A three times|type .CTRL-a. three times', 60)
        t.send('h')
        t.expect(r"^\((Serai|XEN)\).*key '[qh]'", 60)
        t.send('\x01\x01\x01')
        t.expect(r'^\((Serai|XEN)\).* (goes to Domain-0|input to DOM0)', 60)
        # Two Ctrl-A before the third went to dom0, to its line.
        t.send('\n')
        assert t.run('echo dom0 hears').strip() == 'dom0 hears'


def test_xens_tools_read_the_machine(tiny_kind, tiny_log):
    with Tiny(tiny_kind, log=tiny_log, script='set -e; xl info; xl list; xl dmesg | head -5') as t:
        output = t.done(timeout=300)
        assert 'Domain-0' in output
        assert 'xen_version            : 4.17' in output


def test_xl_starts_and_destroys_a_guest(tiny_kind, tiny_log):
    with Tiny(tiny_kind, log=tiny_log, script='set -e; xl create /etc/guest.cfg; wait-guest guest "guest login:"\n'
              'xl list; xl destroy guest; xl list | tail -1') as t:
        output = t.done(timeout=420)
        assert 'guest: alive, 1 cpu' in output
        assert output.splitlines()[-1].startswith('Domain-0')


def test_guest_powers_itself_off(tiny_kind, tiny_log):
    with Tiny(tiny_kind, log=tiny_log,
              script='set -e; sed -i "s/quiet/quiet guest.then=poweroff/" /etc/guest.cfg; xl create -F /etc/guest.cfg; '
                     'xl list') as t:
        output = t.done(timeout=420)
        assert 'guest' not in output.split('Name')[-1]


def test_guest_crash_is_told_and_dom0_lives_on(tiny_kind, tiny_log):
    with Tiny(tiny_kind, log=tiny_log,
              script='sed -i "s/quiet/quiet guest.then=crash/" /etc/guest.cfg; '
                     'echo \'on_crash = "destroy"\' >> /etc/guest.cfg\n'
                     'xl create -F /etc/guest.cfg; xl list; echo alive') as t:
        output = t.done(timeout=420)
        assert output.rstrip().endswith('alive')
        assert '\nguest ' not in output
