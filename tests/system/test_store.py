# SPDX-License-Identifier: LGPL-2.1-or-later
"""The store daemon below Debian's kernel, tools and guests: see store-on-xen.py."""
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.tiny


@pytest.mark.parametrize('kind', ['xen'])
def test_store_serves_guests_through_kills(kind):
    script = pathlib.Path(__file__).with_name('store-on-xen.py')
    run = subprocess.run([sys.executable, script, kind, '--kills', '8', '--cycles', '10'], capture_output=True,
                         text=True)
    if run.returncode == 77:
        pytest.skip(run.stdout.strip())
    assert run.returncode == 0, run.stdout + run.stderr
