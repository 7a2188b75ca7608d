# SPDX-License-Identifier: LGPL-2.1-or-later
"""The whole system beside Debian's Xen: prints the table.  $SERAI_BENCH holds options of system-bench.py."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.skipif(os.geteuid() != 0, reason='making the host image needs root')
def test_every_figure_was_taken_on_both():
    raw = TOP / 'build/system-bench.json'
    raw.unlink(missing_ok=True)
    result = subprocess.run([sys.executable, '-B', TOP / 'tests/bench/system-bench.py', '--json', raw,
                             *os.environ.get('SERAI_BENCH', '').split()])
    assert result.returncode == 0
    for name, row in json.loads(raw.read_text())['rows'].items():
        assert row['serai'] and row['xen'], name
