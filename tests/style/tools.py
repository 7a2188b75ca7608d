#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The checkers of others, on our C: clang-format and cppcheck."""

import os
import shutil
import subprocess
import sys

import tap


def formatter():
    if not shutil.which('clang-format'):
        tap.skip('c_is_formatted', 'clang-format is not installed')
        return
    paths = map(str, tap.files('.c', '.h'))
    result = subprocess.run(['clang-format', '--dry-run', '--ferror-limit=1', *paths],
                            capture_output=True, text=True)
    wrong = sorted({line.split(':')[0].replace(f'{tap.TOP}/', '') for line in result.stderr.splitlines()
                    if '[-Wclang-format-violations]' in line})
    tap.result('c_is_formatted', wrong + tap.broken(result))


def cppcheck():
    if not shutil.which('cppcheck'):
        tap.skip('cppcheck_finds_nothing', 'cppcheck is not installed')
        return
    for folder in ('hv', 'xenstore', 'libxl', 'libvirt-driver'):
        paths = tap.files('.c', under=(folder + '/',))
        name = f'cppcheck_finds_nothing_in_{folder.replace("-", "_")}'
        if not paths:
            tap.skip(name, 'the folder has no sources')
            continue
        # It trips over attributes on pointers to functions, so it is shown none, and does not know then that
        # panic() never returns: what it says of null pointers in hv/ is not to be believed.
        result = subprocess.run(
            ['cppcheck', '-q', f'-j{os.cpu_count()}', '--enable=warning,portability', '--inline-suppr',
             '--max-configs=1', '-D__x86_64__', '-D__GNUC__=12', '-D__attribute__(x)=', f'-I{tap.TOP}/{folder}',
             '--suppress=unknownMacro', '--suppress=preprocessorErrorDirective', '--suppress=missingInclude',
             '--suppressions-list=' + str(tap.TOP / 'tests/style/cppcheck-suppressions'),
             '--template={file}:{line}: {severity}: {id}: {message}', *map(str, paths)],
            capture_output=True, text=True)
        found = [line.replace(f'{tap.TOP}/', '') for line in result.stderr.splitlines() if ': ' in line]
        tap.result(name, found + tap.broken(result))


{'format': formatter, 'cppcheck': cppcheck}[sys.argv[1]]()
tap.done()
