# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cache of everything that is slow to fetch or to build.

It lives in $XDG_CACHE_HOME/serai (or ~/.cache/serai) and may be deleted at any time.  Each entry is
named by what went into it, so an entry is never updated: it is made once, under a lock, beside its
final name, and renamed when whole.  Several checkouts may share it at once.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time


def root():
    """The cache directory, made if missing."""
    base = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    path = pathlib.Path(base) / 'serai'
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts):
    """A short name for the given strings, bytes and files (a Path stands for its contents)."""
    h = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            with open(part, 'rb') as f:
                data = hashlib.file_digest(f, 'sha256').digest()
        elif isinstance(part, bytes):
            data = part
        else:
            data = str(part).encode()
        h.update(len(data).to_bytes(8, 'little') + data)
    return h.hexdigest()[:16]


@contextlib.contextmanager
def lock(name):
    """Only one process at a time builds the entry of this name; who inherits the file holds it as well."""
    path = root() / 'locks'
    path.mkdir(exist_ok=True)
    with open(path / name, 'w') as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'waiting for another process that makes {name}', file=sys.stderr, flush=True)
            fcntl.flock(f, fcntl.LOCK_EX)
        yield f


def entry(name, make):
    """The path of entry NAME; make(temporary_path) is called to create it when it is missing."""
    path = root() / name
    if path.exists():
        os.utime(path)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock(name.replace('/', '_')):
        if path.exists():
            return path
        part = path.with_name(path.name + '.part')
        _remove(part)
        try:
            make(part)
            part.rename(path)
        except BaseException:
            _remove(part)
            raise
    return path


def prune(pattern, keep):
    """Delete all but the KEEP most recently used entries that match PATTERN."""
    found = sorted(root().glob(pattern), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in found[keep:]:
        if time.time() - path.stat().st_mtime > 3600:
            _remove(path)


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_log = None


@contextlib.contextmanager
def logged(path):
    """Inside, what programs of run() say on standard error goes to the file PATH as they say it."""
    global _log
    with open(path, 'a+') as _log:
        try:
            yield
        finally:
            _log = None


def run(argv, **kwargs):
    """finish() that fails with the program's own words; returns what it wrote to standard output."""
    before = _log.seek(0, os.SEEK_END) if _log else 0
    kwargs.setdefault('stdout', subprocess.PIPE)
    kwargs.setdefault('stderr', _log or subprocess.PIPE)
    kwargs.setdefault('text', True)
    result = finish(argv, **kwargs)
    if result.returncode:
        if _log:
            _log.seek(before)
        said = _log.read() if _log else result.stderr
        words = ''.join(w for w in (said, result.stdout) if isinstance(w, str)).strip()
        raise RuntimeError(f'{argv[0]} failed with status {result.returncode}: {words[-2000:]}')
    return result.stdout


def finish(argv, input=None, patience=60, **kwargs):
    """subprocess.run, but what is interrupted is told to end, with all that it started, and waited for.

    A program like mmdebstrap then takes its own temporary files away, which needs more than the quarter of a
    second that subprocess.run grants; after PATIENCE seconds it is killed.
    """
    kwargs['stdin'] = subprocess.DEVNULL if input is None else subprocess.PIPE
    with subprocess.Popen([str(a) for a in argv], start_new_session=True, **kwargs) as process:
        try:
            output, errors = process.communicate(input)
        except BaseException:
            for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, None)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
            raise
    return subprocess.CompletedProcess(argv, process.returncode, output, errors)


def candidates(packages):
    """The versions of PACKAGES that apt would install: a list of (name, version)."""
    for attempt in range(3):
        try:
            text = run(['apt-cache', 'policy', *packages], env={**os.environ, 'LC_ALL': 'C'})
            break
        except RuntimeError as error:
            # Somebody else's apt-get update goes on right now.
            if 'out of sync' not in str(error) or attempt == 2:
                raise
            time.sleep(10)
    found, name = {}, None
    for line in text.splitlines():
        if line and not line.startswith(' '):
            name = line.rstrip(':').split(':')[0]
        elif line.strip().startswith('Candidate:'):
            found[name] = line.split(':', 1)[1].strip()
    missing = [p for p in packages if found.get(p, '(none)') == '(none)']
    if missing:
        raise RuntimeError('apt knows no package ' + ', '.join(missing) + '; run scripts/install-deps')
    return [(p, found[p]) for p in packages]


def unpacked(packages):
    """A directory that holds the files of PACKAGES (not of what they depend on)."""
    versions = candidates(packages)

    def make(part):
        debs = part.with_name(part.name + '-debs')
        _remove(debs)
        debs.mkdir()
        part.mkdir()
        run(['apt-get', 'download', *(f'{n}={v}' for n, v in versions)], cwd=debs)
        for deb in sorted(debs.glob('*.deb')):
            run(['dpkg-deb', '-x', deb, part])
        _remove(debs)

    return entry('unpacked/' + digest(*(f'{n}={v}' for n, v in versions)), make)
