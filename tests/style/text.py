#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rules on text alone: license lines, line and file lengths, paths of somebody's machine, spelling."""

import re
import shutil
import subprocess

import tap

SPDX = 'SPDX-License-Identifier: LGPL-2.1-or-later'
SOURCES = ('.c', '.h', '.S', '.py', '.sh', '.build', '.txt', '.service', '.socket')
# The aim and the limit: what lies between is told but does not fail.
LINE, LINE_LIMIT, FILE, FILE_LIMIT = 110, 160, 800, 1000
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


def lengths():
    lines, whole, near, wide = [], [], [], 0
    for path in tap.files('.c', '.h', '.S', '.py', '.sh'):
        text = path.read_text(errors='replace').splitlines()
        widths = [(n, len(t.expandtabs(8))) for n, t in enumerate(text, 1)]
        wide += sum(1 for _, width in widths if width > LINE)
        lines += [f'{tap.relative(path)}:{n}: {width} columns' for n, width in widths if width > LINE_LIMIT]
        if len(text) > FILE_LIMIT:
            whole.append(f'{tap.relative(path)}: {len(text)} lines')
        elif len(text) > FILE:
            near.append(f'{tap.relative(path)}: {len(text)} lines')
    print(f'# {wide} lines are wider than {LINE} columns')
    tap.result(f'lines_have_at_most_{LINE_LIMIT}_columns', lines)
    for line in near:
        print(f'# longer than about {FILE} lines: {line}')
    tap.result(f'files_have_at_most_{FILE_LIMIT}_lines', whole)


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
    tap.result('words_are_spelled_right', [line.replace(f'{tap.TOP}/', '') for line in result.stdout.splitlines()])


licenses()
lengths()
machines()
spelling()
tap.done()
