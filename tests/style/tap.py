# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the checks of this folder share: the list of files, and results in the Test Anything Protocol."""

import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
_count = 0
_failed = 0


def result(name, problems, limit=40):
    """One case: it passes when PROBLEMS is empty, else they are shown."""
    global _count, _failed
    problems = list(problems)
    _count += 1
    if problems:
        _failed += 1
    for problem in problems[:limit]:
        print(f'# {problem}')
    if len(problems) > limit:
        print(f'# and {len(problems) - limit} more')
    print(('not ok' if problems else 'ok') + f' {_count} - {name}', flush=True)


def skip(name, reason):
    global _count
    _count += 1
    print(f'ok {_count} - {name} # SKIP {reason}', flush=True)


def broken(run, good=(0,)):
    """What a tool that ended otherwise than with a GOOD status said last; nothing when it did its work."""
    if run.returncode in good:
        return []
    words = f'{run.stdout}\n{run.stderr}'.strip().splitlines()[-5:]
    return [f'{run.args[0]} ended with {run.returncode}', *words]


def done():
    print(f'1..{_count}')
    sys.exit(1 if _failed else 0)


def files(*suffixes, under=('',)):
    """The files of the tree (as git knows them, else as they lie there), as paths below TOP."""
    # The safe directory: root may check a tree that belongs to somebody else.
    listing = subprocess.run(['git', '-c', f'safe.directory={TOP}', '-C', TOP, 'ls-files', '-z', '--cached',
                              '--others', '--exclude-standard'], capture_output=True, text=True)
    if listing.returncode == 0:
        names = [n for n in listing.stdout.split('\0') if n and (TOP / n).is_file()]
    else:
        names = [str(p.relative_to(TOP)) for p in TOP.rglob('*')
                 if p.is_file() and not any(part.startswith(('build', '.git')) for part in
                                            p.relative_to(TOP).parts[:1])]
    return [TOP / n for n in sorted(names)
            if (not suffixes or n.endswith(suffixes)) and any(n.startswith(u) for u in under)]


def relative(path):
    return str(path.relative_to(TOP))
