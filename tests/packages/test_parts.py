# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parts of scripts/try that need no host: whether KVM is usable, and what a killed mmdebstrap has left."""

import importlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest

import cache
import qemu

TOP = pathlib.Path(__file__).resolve().parents[2]

SAYS_DONE = '#!/bin/sh\necho @@script\necho @@end 0@@\nexec sleep 60\n'
# As where /dev/kvm is there and the machine below forbids what it is for.
REFUSES = '#!/bin/sh\necho "ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy" >&2\nexit 1\n'
RESETS = '#!/bin/sh\necho "SeaBIOS"\nexit 0\n'


@pytest.fixture
def usable_kvm(monkeypatch, tmp_path):
    """usable_kvm() of scripts/try with a QEMU of these words, on a machine that has a /dev/kvm, or none."""
    monkeypatch.syspath_prepend(str(TOP / 'scripts'))
    module = importlib.import_module('try')
    monkeypatch.setattr(module, 'BUILD', tmp_path)

    def call(script, device=True):
        program = tmp_path / 'qemu'
        program.write_text(script)
        program.chmod(0o755)
        monkeypatch.setattr(qemu, 'QEMU', str(program))
        monkeypatch.setattr(os, 'access', lambda path, mode: device)
        return module.usable_kvm()
    return call


def test_kvm_is_usable_when_a_guest_ran(usable_kvm):
    assert usable_kvm(SAYS_DONE)
    assert not usable_kvm(SAYS_DONE, device=False)


@pytest.mark.parametrize('script', [REFUSES, RESETS])
def test_kvm_is_not_usable_when_no_guest_runs(usable_kvm, script):
    assert not usable_kvm(script)


def test_a_device_that_is_no_kvm_is_not_usable(usable_kvm):
    """The QEMU of this machine; what it finds as /dev/kvm, in a namespace of its own, is /dev/null."""
    if os.geteuid():
        pytest.skip('a mount needs root')
    assert not usable_kvm('''#!/bin/sh
exec unshare -m sh -ec 'mount -t tmpfs none /mnt; mknod -m 666 /mnt/kvm c 1 3; mknod -m 666 /mnt/null c 1 3
mount --move /mnt /dev; exec qemu-system-x86_64 "$@"' qemu "$@"
''')


KILLS_ITS_CALLER = '''#!/bin/sh
mkdir -p "$TMPDIR/mmdebstrap.x/pro c"
mount -t tmpfs none "$TMPDIR/mmdebstrap.x/pro c"
mkdir "$TMPDIR/mmdebstrap.x/pro c/inner"
mount --bind "$TMPDIR/mmdebstrap.x" "$TMPDIR/mmdebstrap.x/pro c/inner"
kill -KILL $PPID
read line < {fifo}
'''


@pytest.mark.skipif(os.geteuid() != 0, reason='a mount needs root')
def test_what_a_killed_mmdebstrap_left_is_removed_by_the_next(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    fifo, program = tmp_path / 'fifo', tmp_path / 'mmdebstrap'
    os.mkfifo(fifo)
    program.write_text(KILLS_ITS_CALLER.format(fifo=fifo))
    program.chmod(0o755)
    call = [sys.executable, '-B', '-c', 'import image; image.debootstrap("part", ["hello"])']
    environment = {**os.environ, 'PYTHONPATH': str(TOP / 'tests/system')}
    (cache.root() / 'base-0123.tar').write_text('kept')

    def left():
        return [p.name for p in cache.root().glob('base-*') if p.is_dir()]

    try:
        assert subprocess.run(call, env=environment).returncode == -signal.SIGKILL
        assert len(left()) == 1
        # It still works there, and the next one waits for it.
        program.write_text('#!/bin/sh\nexit 0\n')
        following = subprocess.Popen(call, env=environment, stderr=subprocess.PIPE, text=True)
        assert 'waiting for another process' in following.stderr.readline()
        assert len(left()) == 1
        fifo.write_text('end\n')
        assert following.wait(60) == 0 and following.stderr.read() == ''
        assert left() == [] and (cache.root() / 'base-0123.tar').exists()
    finally:
        for line in reversed(pathlib.Path('/proc/self/mounts').read_text().splitlines()):
            if str(tmp_path) in line.split()[1]:
                subprocess.run(['umount', line.split()[1].replace('\\040', ' ')])
