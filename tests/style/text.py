#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rules on text alone: license lines, line and file lengths, paths of somebody's machine, spelling.

With --shrink it writes tests/style/long-known anew: nothing is added, what became shorter counts from now on.
With --begin it writes there what is so now, as was done when the rule came in.
"""

import re
import shutil
import subprocess
import sys

import tap

SPDX = 'SPDX-License-Identifier: LGPL-2.1-or-later'
SOURCES = ('.c', '.h', '.S', '.py', '.sh', '.build', '.txt', '.service', '.socket')
LINE, FILE = 110, 800
# The files that do not keep to these yet: path, how many wide lines it may have, how long it may be.
KNOWN = tap.TOP / 'tests/style/long-known'
# Words that only mean something on the machine of whoever wrote them.
MACHINE = re.compile(r'(?<![\w./])/(?:work|home/\w+)/|(?:deb|ftp|security|snapshot)\.debian\.org')


def licenses():
    missing = []
    for path in tap.files(*SOURCES):
        if path.suffix == '.txt' and path.name != 'meson_options.txt':
            continue
        if SPDX not in '\n'.join(path.read_text(errors='replace').splitlines()[:3]):
            missing.append(tap.relative(path))
    tap.result('sources_open_with_the_license', missing)


def known_lengths():
    rows = [line.split() for line in KNOWN.read_text().splitlines() if line and not line.startswith('#')]
    return {path: (int(wide), int(length)) for path, wide, length in rows}


def lengths(known):
    kept, wide, long = {}, [], []
    for path in tap.files('.c', '.h', '.S', '.py', '.sh'):
        name, text = tap.relative(path), path.read_text(errors='replace').splitlines()
        may_wide, may_long = known.get(name, (0, FILE)) if known is not None else (len(text), len(text))
        over = [f'{name}:{n}: {len(t.expandtabs(8))} columns' for n, t in enumerate(text, 1)
                if len(t.expandtabs(8)) > LINE]
        if len(over) > may_wide:
            wide += over if not may_wide else [f'{name}: {len(over)} wide lines, {may_wide} known']
        if len(text) > may_long:
            long.append(f'{name}: {len(text)} lines')
        now = (min(len(over), may_wide), max(FILE, min(len(text), may_long)))
        if now != (0, FILE):
            kept[name] = now
    print(f'# {sum(w for w, _ in kept.values())} wide lines and {sum(n > FILE for _, n in kept.values())} '
          f'long files are known, in {len(kept)} files')
    tap.result(f'lines_have_at_most_{LINE}_columns', wide)
    tap.result(f'files_have_at_most_{FILE}_lines', long)
    return kept


def write(known):
    head = [line for line in KNOWN.read_text().splitlines() if line.startswith('#')]
    rows = [f'{name} {wide} {length}' for name, (wide, length) in sorted(lengths(known).items())]
    KNOWN.write_text('\n'.join(head + rows) + '\n')


def machines():
    found = []
    for path in tap.files():
        if path.suffix in ('.png', '.gz') or path == tap.TOP / 'tests/style/text.py':
            continue
        for number, line in enumerate(path.read_text(errors='replace').splitlines(), 1):
            if MACHINE.search(line):
                found.append(f'{tap.relative(path)}:{number}: {line.strip()[:90]}')
    tap.result('nothing_names_a_machine_or_a_mirror', found)


def spelling():
    if not shutil.which('codespell'):
        tap.skip('words_are_spelled_right', 'codespell is not installed')
        return
    paths = [p for p in tap.files('.c', '.h', '.S', '.py', '.sh', '.rst', '.build', '.md', '.txt', '.xml')]
    words = (tap.TOP / 'tests/style/words').read_text().split()
    result = subprocess.run(['codespell', '-L', ','.join(words), *map(str, paths)], capture_output=True, text=True)
    found = [line.replace(f'{tap.TOP}/', '') for line in result.stdout.splitlines()]
    # 65: it found words.
    tap.result('words_are_spelled_right', found + tap.broken(result, (0, 65) if found else (0,)))


if sys.argv[1:] in (['--shrink'], ['--begin']):
    write(known_lengths() if sys.argv[1] == '--shrink' else None)
    sys.exit()
licenses()
lengths(known_lengths())
machines()
spelling()
tap.done()
