#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages tell what is so: every option, command and setting, and no other.

    manual-pages.py [PROGRAM...]        the programs whose --help is compared with their page
"""

import pathlib
import re
import shutil
import subprocess
import sys

import tap

PAGES = {'serai-xenstored': 'docs/man/serai-xenstored.8', 'serai-consoled': 'libxl/consoled/serai-consoled.8'}
# What --help of every program of GLib has besides.
GENERAL = {'--help', '-h', '--version', '-V', '-?', '--help-all'}


def differ(what, told, true):
    return [f'{what} is told and is not so: {w}' for w in sorted(told - true)] + \
           [f'{what} is not told: {w}' for w in sorted(true - told)]


def text(path):
    return (tap.TOP / path).read_text()


def section(page, title):
    """The lines of a section of a roff page, its font changes taken away."""
    found = re.search(rf'^\.SH "?{title}"?\n(.*?)(?=^\.SH |\Z)', page, re.M | re.S)
    plain = re.sub(r'\\f.', '', found.group(1).replace('\\-', '-')) if found else ''
    # .BR a ", " b: alternating fonts, the quotes hold blanks together.
    return plain.replace('"', '')


def program(path):
    name = pathlib.Path(path).name
    said = subprocess.run([path, '--help'], capture_output=True, text=True, env={'LC_ALL': 'C'}).stdout
    true = set(re.findall(r'(?<![\w-])-{1,2}[a-zA-Z?][\w-]*', said)) - GENERAL
    headings = re.findall(r'^\.TP\n(.*)$', section(text(PAGES[name]), 'OPTIONS'), re.M)
    told = set(re.findall(r'(?<![\w-])-{1,2}[a-zA-Z?][\w-]*', '\n'.join(headings))) - GENERAL
    wrong = differ('option', told, true) if true else [f'{path} says nothing']
    tap.result(f'{name}_page_tells_its_options', wrong)


def hypervisor():
    source = text('hv/boot/cmdline.c')
    table = source[source.index('} options[] = {'):]
    true = set(re.findall(r'^    \{"([\w-]+)", ', table[:table.index('};')], re.M))
    page = text('docs/man/serai.7.rst')
    options = page[page.index('\nOPTIONS\n'):page.index('\nKEYS\n')]
    told = {w for line in re.findall(r'^``\S.*$', options, re.M)
            for w in re.findall(r'``([a-z][\w-]*)=?``', line)}
    tap.result('serai_7_tells_the_options_of_the_hypervisor', differ('option', told, true))
    part = page[page.index('\nKEYS\n'):page.index('\nWHEN THE HYPERVISOR ENDS\n')]
    true = set(re.findall(r"^    \{'(.)', ", text('hv/hypercall/debug-keys.c'), re.M))
    tap.result('serai_7_tells_the_keys', differ('key', set(re.findall(r'^``(.)``$', part, re.M)), true))
    # As they stand at the beginning of a line, most of them behind a '#'.
    true = set(re.findall(r'^#?((?:GRUB|SERAI)_\w+)=', text('debian/serai.cfg'), re.M))
    told = set(re.findall(r'\b((?:GRUB_\w*SERAI|SERAI)_?\w*)', page[:page.index('\nOPTIONS\n')]))
    tap.result('serai_7_tells_the_variables_of_serai_cfg', differ('variable', told, true))
    true = set(re.findall(r'^    \{"([\w-]+)", ', table[:table.index('};')], re.M))
    manual = text('docs/manual.rst')
    rows = manual[manual.index("The hypervisor's command line\n==="):manual.index('A first domain\n===')]
    rows = re.findall(r'^(``\S.*?)(?:  |$)', rows, re.M) + re.findall(r'``(com2)=``', rows)
    told = {w for row in rows for w in re.findall(r'^``([\w-]+)|, ``(\w+)|^(com2)$', row) for w in w if w}
    tap.result('the_manual_tells_the_options_of_the_hypervisor', differ('option', told, true))


def settings():
    true = set(re.findall(r'virConfGetValue\w+\(conf, "(\w+)"', text('libvirt-driver/settings.c')))
    page = text('docs/man/serai-libvirt.7.rst')
    part = page[page.index('\nSETTINGS\n'):page.index('\nFILES\n')]
    told = {w for line in re.findall(r'^``.*$', part, re.M) if not line.startswith('``/')
            for w in re.findall(r'``(\w+)``', line)}
    tap.result('serai_libvirt_7_tells_the_settings', differ('setting', told, true))


def control():
    source = text('xenstore/control.c')
    true = set(re.findall(r'^    \{ ?"([\w-]+)", ', source[source.index('commands[]'):], re.M)) - {'help'}
    part = section(text('docs/man/serai-xenstored.8'), 'CONTROL COMMANDS')
    told = {line.split()[1].rstrip(',') for line in re.findall(r'^\.TP\n(.*)$', part, re.M)}
    tap.result('serai_xenstored_8_tells_the_control_commands', differ('command', told, true))


def well_formed():
    if not shutil.which('man'):
        tap.skip('manual_pages_are_well_formed', 'man-db is not installed')
        return
    wrong = []
    for path in [*tap.files('.8', '.1'), *tap.files('.7.rst')]:
        source = path.read_bytes()
        if path.suffix == '.rst':
            made = subprocess.run(['rst2man', '--strict', path], capture_output=True)
            wrong += [f'{tap.relative(path)}: {line}' for line in made.stderr.decode().splitlines()]
            source = made.stdout
        shown = subprocess.run(['man', '--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', '-'], input=source,
                               capture_output=True,
                               env={'LC_ALL': 'C.UTF-8', 'MANWIDTH': '80', 'PATH': '/usr/bin:/bin'})
        wrong += [f'{tap.relative(path)}: {line}' for line in shown.stderr.decode().splitlines()]
    tap.result('manual_pages_are_well_formed', wrong)


for path in sys.argv[1:]:
    program(path)
hypervisor()
settings()
control()
well_formed()
tap.done()
