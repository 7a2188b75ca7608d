#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each header compiles alone, with the flags of the sources beside it (from compile_commands.json)."""

import concurrent.futures
import itertools
import json
import os
import pathlib
import shlex
import subprocess
import sys

import tap

FOLDERS = ('hv/', 'xenstore/', 'libxl/', 'libvirt-driver/')


def commands(build):
    """Folder -> (directory, flags) of one source in it."""
    found = {}
    for entry in json.loads((build / 'compile_commands.json').read_text()):
        source = (pathlib.Path(entry['directory']) / entry['file']).resolve()
        if not source.is_relative_to(tap.TOP) or source.suffix != '.c':
            continue
        words, flags, skip = shlex.split(entry['command']), [], False
        # The compiler may stand behind ccache or the like: its options begin with the first that looks so.
        for word in itertools.dropwhile(lambda word: not word.startswith('-'), words):
            if skip:
                skip = False
            elif word in ('-o', '-MF', '-MQ', '-MT'):
                skip = True
            elif word not in ('-c', '-MD', '-MMD') and not word.startswith('-fsanitize') \
                    and (pathlib.Path(entry['directory']) / word).resolve() != source:
                flags.append(word)
        found.setdefault(tap.relative(source.parent), (entry['directory'], flags))
        # A folder of headers alone takes the flags of its component.
        found.setdefault(tap.relative(source).split('/')[0], (entry['directory'], flags))
    return found


def check(header, directory, flags):
    result = subprocess.run(['cc', *flags, '-Wno-unused-function', '-Wno-unused-macros', '-fsyntax-only', '-x', 'c',
                             '-include', str(header), '/dev/null'], cwd=directory, capture_output=True, text=True)
    return [] if result.returncode == 0 else [f'{tap.relative(header)}:'] + result.stderr.splitlines()[:6]


def main():
    build = pathlib.Path(sys.argv[1])
    known = commands(build)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for folder in FOLDERS:
            headers = tap.files('.h', under=(folder,))
            name = f'{folder.rstrip("/")}_headers_compile_alone'
            if not headers or folder.rstrip('/') not in known:
                tap.skip(name, 'the folder has no headers' if not headers else 'the folder is not built here')
                continue
            jobs = []
            for header in headers:
                where = tap.relative(header.parent)
                while where not in known:
                    where = str(pathlib.Path(where).parent)
                jobs.append(pool.submit(check, header, *known[where]))
            tap.result(name, [line for job in jobs for line in job.result()])
    tap.done()


main()
