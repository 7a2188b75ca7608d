# SPDX-License-Identifier: LGPL-2.1-or-later
"""Instructions per operation of the hypervisor, beside Debian's Xen in the same run: prints the table."""

import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'tests/system'))
import tiny                                                             # noqa: E402


def test_instructions_of_each_operation_are_counted_on_both():
    build = TOP / 'build'
    result = subprocess.run([sys.executable, TOP / 'tests/bench/hypervisor-ops.py', '--serai', build / 'hv/serai',
                             '--kernel', build / 'tests/guest/guest-bench',
                             '--memory-kernel', build / 'tests/guest/guest-own-memory',
                             '--plugin', build / 'tests/bench/count-plugin.so', '--xen', tiny.hypervisor('xen')],
                            capture_output=True, text=True, timeout=600)
    print('\n' + result.stdout)
    assert result.returncode == 0, result.stderr
    assert ' - ' not in result.stdout, 'an operation was not counted'
    above = [line for line in result.stdout.splitlines()
             if re.search(r' \d+ +\d+ +\d+\.\d+$', line) and '(KiB)' not in line and float(line.split()[-1]) > 0.5]
    assert [line.split('  ')[0] for line in above] == ['event channel unmask'], 'more than half of what Xen spends'
