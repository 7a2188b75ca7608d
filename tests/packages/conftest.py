# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the packages' tests; those marked `booted` boot a whole machine and are run by name."""

import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'tests/packages'), str(TOP / 'tests/system')]
PARTS = ['hv/boot/main.c', 'xenstore/main.c', 'libxl/serai.h', 'libvirt-driver/driver.c']


def pytest_configure(config):
    config.addinivalue_line('markers', 'booted: boots a machine with the packages')


@pytest.fixture(scope='session')
def debs():
    """The packages of this tree by their names."""
    missing = [p for p in PARTS if not (TOP / p).exists()]
    if missing:
        pytest.skip('the tree is not whole yet: no ' + ', '.join(missing))
    result = subprocess.run([TOP / 'scripts/build-debs'], capture_output=True, text=True,
                            stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
    return {pathlib.Path(line).name.split('_')[0]: pathlib.Path(line) for line in result.stdout.split()}
