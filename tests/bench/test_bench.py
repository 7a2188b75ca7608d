# SPDX-License-Identifier: LGPL-2.1-or-later
"""Serai beside Debian's Xen: prints the table and judges it.  $SERAI_BENCH has options of system-bench.py."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def rows():
    raw = TOP / 'build/system-bench.json'
    raw.unlink(missing_ok=True)
    chosen = [] if os.geteuid() == 0 else ['--sections', 'guest-counts,operations']
    result = subprocess.run([sys.executable, '-B', TOP / 'tests/bench/system-bench.py', '--json', raw,
                             *chosen, *os.environ.get('SERAI_BENCH', '').split()])
    assert result.returncode == 0
    return json.loads(raw.read_text())['rows']


def test_every_figure_was_taken_on_both(rows):
    assert rows
    assert [name for name, row in rows.items() if not row['serai'] or not row['xen']] == []


def test_an_operation_takes_at_most_half_of_xens_instructions(rows):
    counts = {name: (row['serai'][0], row['xen'][0]) for name, row in rows.items()
              if row['section'] == 'operations' and row['unit'] == 'count'}
    if not counts:
        pytest.skip('$SERAI_BENCH leaves the section operations out')
    assert [name for name, (ours, theirs) in counts.items() if ours > theirs / 2] == []
