# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/try on a terminal: ^C ends it at any step and leaves nothing; --once ends with a guest's prompt."""

import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import time
import uuid

import pytest

import cache
import image

TOP = pathlib.Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.booted, pytest.mark.skipif(os.geteuid() != 0, reason='the host image needs root')]


class Terminal:
    """scripts/try in a checkout of its own, on a terminal; what it starts has a mark in its environment."""

    def __init__(self, checkout, *words):
        self.mark = f'SERAI_TRY_TEST={uuid.uuid4()}'
        self.scratch, self.cache = checkout.parent / 'tmp', checkout.parent / 'cache'
        self.scratch.mkdir()
        env = {**os.environ, **dict([self.mark.split('=')]), 'TERM': 'vt100', 'COLUMNS': '100', 'LINES': '30',
               'TMPDIR': str(self.scratch), 'XDG_CACHE_HOME': str(self.cache)}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(checkout)
            os.execve(checkout / 'scripts/try', ['scripts/try', *words], env)
        self.text = ''

    def until(self, pattern, timeout):
        """Read until PATTERN, or with None until the end."""
        limit = time.monotonic() + timeout
        while pattern is None or not re.search(pattern, self.text):
            assert time.monotonic() < limit, f'no /{pattern}/ in {timeout} s: {self.text[-3000:]}'
            if not select.select([self.terminal], [], [], 1)[0]:
                continue
            try:
                data = os.read(self.terminal, 4096)
            except OSError:
                data = b''
            if not data:
                assert pattern is None, f'it ended before /{pattern}/: {self.text[-3000:]}'
                return
            self.text += data.decode(errors='replace')

    def interrupt(self):
        os.write(self.terminal, b'\x03')

    def status(self, timeout=300):
        self.until(None, timeout)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def temporary(self):
        """Directories and unfinished entries that a step makes for itself."""
        return [p.name for p in [*self.scratch.iterdir(), *(self.cache / 'serai').iterdir()]
                if p.parent == self.scratch or unfinished(p)]

    def processes(self):
        """What still runs of all that was started."""
        found = []
        for path in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                if self.mark.encode() in (path / 'environ').read_bytes().split(b'\0'):
                    found.append((path / 'cmdline').read_bytes().replace(b'\0', b' ').decode()[:150])
            except OSError:
                pass
        return found

    def left_behind(self):
        limit = time.monotonic() + 60
        while self.processes() and time.monotonic() < limit:
            time.sleep(1)
        return self.processes(), self.temporary()


@pytest.fixture
def checkout(tmp_path):
    """A clone without anything built, and a cache with only what its build would fetch."""
    subprocess.run(['git', '-c', f'safe.directory={TOP}/.git', '-c', f'safe.directory={TOP}', 'clone', '-q',
                    TOP, tmp_path / 'serai'], check=True)
    own_cache(tmp_path, 'libvirt')
    return tmp_path / 'serai'


def unfinished(path):
    """Whether an entry of the cache is one that is being made, or was when its maker died."""
    return path.name.endswith('.part') or re.match(r'serai-|(base|fresh-root|fresh-disk)-[^.]*$', path.name)


def own_cache(directory, *patterns):
    """A cache of this test's own, whose entries are those of the machine's."""
    own = directory / 'cache/serai'
    own.mkdir(parents=True)
    for pattern in patterns:
        for path in filter(lambda p: not unfinished(p), cache.root().glob(pattern)):
            (own / path.name).symlink_to(path)


@pytest.fixture
def built(debs, tmp_path):
    """A copy of this tree with its packages built and its image in the cache."""
    where = tmp_path / 'serai'
    shutil.copytree(TOP, where, symlinks=True, ignore=lambda directory, names: [
        n for n in names if pathlib.Path(directory) == TOP and (n == 'build' or n.startswith('build-'))])
    shutil.copytree(TOP / 'build/debs', where / 'build/debs')
    image.build(debs.values())
    own_cache(tmp_path, '*')
    return where


def interrupted(terminal, step, timeout, delay=3):
    terminal.until(step, timeout)
    time.sleep(delay)
    terminal.interrupt()
    assert terminal.status() == 130, terminal.text[-2000:]
    assert 'Interrupted' in terminal.text
    assert terminal.left_behind() == ([], [])


def test_interrupt_while_building(checkout):
    interrupted(Terminal(checkout, '--once'), r'(?s)Building Serai.*\[\d+/\d+\] ', 1500)


def test_interrupt_while_the_base_system_is_made(built, tmp_path):
    for path in (tmp_path / 'cache/serai').glob('[bh]*-*'):
        path.unlink()
    interrupted(Terminal(built, '--once'), r'mmdebstrap', 1500, delay=20)


def test_interrupt_while_the_host_boots(built):
    interrupted(Terminal(built, '--once'), r'(?s)GRUB, Serai, Debian.* s\] .*(\(Serai\)|Linux|systemd)', 1500)


def test_interrupt_while_the_guest_starts(built):
    interrupted(Terminal(built, '--once'), r'virsh start guest', 3000)


def test_once_ends_after_the_guests_prompt(built):
    terminal = Terminal(built, '--once')
    assert terminal.status(timeout=6000) == 0, terminal.text[-3000:]
    assert 'guest login:' in terminal.text and 'guest answered' in terminal.text
    assert terminal.left_behind() == ([], [])


def test_quit_ends_the_host(built):
    terminal = Terminal(built)
    terminal.until(r'virsh +#|virsh # ', 6000)
    for tool in ('virt-manager', 'virt-install', 'ansible-playbook', 'ssh'):
        assert tool in terminal.text
    # What it prints for other programs is what they take, from the same directory.
    uri = re.search(r"virsh -c '(\S+)' list", terminal.text).group(1)
    beside(built, uri, re.search(r'virt-install  (virt-install (?:.*\\\n)*.*)', plain(terminal)).group(1))
    beside(built, uri, re.search(r'Ansible +(ansible-playbook .*)', plain(terminal)).group(1))
    os.write(terminal.terminal, b'list\n')
    terminal.until(r'another +running', 300)
    os.write(terminal.terminal, b'quit\n')
    assert terminal.status(timeout=1500) == 0
    assert re.search(r'guest +running', terminal.text)
    assert terminal.left_behind() == ([], [])


def plain(terminal):
    return terminal.text.replace('\r', '')


def beside(checkout, uri, command):
    """A line that scripts/try printed, run in the checkout."""
    assert uri in command
    result = subprocess.run(command, shell=True, cwd=checkout, timeout=900, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, f'{command}\n{result.stdout}'


def test_interrupt_at_virshs_prompt(built):
    terminal = Terminal(built)
    terminal.until(r'virsh +#|virsh # ', 6000)
    terminal.interrupt()
    assert terminal.status() == 130, terminal.text[-2000:]
    assert terminal.left_behind() == ([], [])
