# SPDX-License-Identifier: LGPL-2.1-or-later
"""The store beside Debian's two, over their sockets in one run: prints the table."""

import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'tests/system'))
import cache                                                            # noqa: E402


def test_store_requests_beside_both_of_debian():
    tools = cache.unpacked(['xen-utils-4.17']) / 'usr/lib/xen-4.17/bin'
    if not (tools / 'oxenstored').exists():
        pytest.skip('xen-utils-4.17 has no oxenstored here')
    result = subprocess.run([sys.executable, TOP / 'tests/bench/store-bench.py', TOP / 'build', tools],
                            capture_output=True, text=True, timeout=1500)
    print('\n' + result.stdout)
    assert result.returncode == 0, result.stderr
