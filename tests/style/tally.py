#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What scripts/check says in the end is true: its tiers run on programs that only pretend.

The reports are as meson 1.0 and pytest write them.  Also the checks of style with tools that cannot run.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

import tap

sys.path.insert(0, str(tap.TOP / 'tests'))
import check                                                            # noqa: E402

# Of each program: how meson says that it ended, its part of the JUnit file, what is to be counted of it
# (passed, failed, skipped), and what the check must say about it.
PROGRAMS = {
    'good': ('OK', '''<testsuite name="serai.good"><testcase name="1 - a" classname="serai.good" />
        <testcase name="2 - b" classname="serai.good"><skipped /><system-out>no tool: x</system-out>
        </testcase>
        <system-out>ok 1 - a\nok 2 - b # SKIP no tool: x\n1..2</system-out></testsuite>''',
             (1, 0, 1), 'skipped: unit: serai.good: 2 - b (no tool: x)'),
    # The same case in another program, with a reason of its own.
    'good-too': ('OK', '''<testsuite name="serai.good-too"><testcase name="2 - b" classname="serai.good-too">
        <skipped /><system-out>no tool: y</system-out></testcase></testsuite>''',
                 (0, 0, 1), 'skipped: unit: serai.good-too: 2 - b (no tool: y)'),
    'bad': ('ERROR', '''<testsuite name="serai.bad"><testcase name="1 - a" classname="serai.bad"><failure />
        </testcase><testcase name="2 - b" classname="serai.bad" /><system-out>not ok 1 - a</system-out>
        </testsuite>''',
            (1, 1, 0), 'failed: unit: serai.bad: 1 - a (ERROR; see '),
    'all-skipped': ('SKIP', '''<testsuite name="serai"><testcase name="all-skipped" classname="serai">
        <skipped /><system-out>TAP version 13\n1..0 # SKIP needs root</system-out></testcase></testsuite>''',
                    (0, 0, 1), 'skipped: unit: serai: all-skipped (needs root)'),
    'silent': ('SKIP', '''<testsuite name="serai"><testcase name="silent" classname="serai"><skipped />
        <system-out>1..0</system-out></testcase></testsuite>''',
               (0, 0, 1), 'skipped: unit: serai: silent (it does not say why)'),
    # Killed by a signal when one case had passed; another program's name begins as its name does.
    'killed': ('ERROR', '''<testsuite name="serai.killed"><testcase name="1 - a" classname="serai.killed" />
        <system-err>\n(test program exited with status code -11)</system-err></testsuite>''',
               (1, 1, 0), 'failed: unit: killed (ERROR; see '),
    'killed-late': ('ERROR', '''<testsuite name="serai.killed-late"><testcase name="1 - a"
        classname="serai.killed-late"><failure /></testcase></testsuite>''',
                    (0, 1, 0), 'failed: unit: serai.killed-late: 1 - a'),
    'slow': ('TIMEOUT', '''<testsuite name="serai.slow"><testcase name="1 - a" classname="serai.slow" />
        </testsuite>''', (1, 1, 0), 'failed: unit: slow (TIMEOUT; see '),
    'by-status': ('OK', '<testsuite name="serai"><testcase name="by-status" classname="serai" /></testsuite>',
                  (1, 0, 0), ''),
    'by-status-bad': ('FAIL', '''<testsuite name="serai"><testcase name="by-status-bad" classname="serai">
        <failure /></testcase></testsuite>''', (0, 1, 0), 'failed: unit: serai: by-status-bad (FAIL; see '),
    # Meson's file does not tell it from one that passed.
    'by-status-slow': ('TIMEOUT', '''<testsuite name="serai"><testcase name="by-status-slow"
        classname="serai" /></testsuite>''', (0, 1, 0), 'failed: unit: serai: by-status-slow (TIMEOUT; see '),
}
PYTEST = '''<testsuites><testsuite name="pytest"><testcase classname="tests.x" name="test_a" />
<testcase classname="tests.x" name="test_b"><failure message="assert 1 == 2">def ...</failure></testcase>
<testcase classname="tests.x" name="test_c"><skipped type="pytest.skip" message="no disk">x.py:1</skipped>
</testcase>
<testcase classname="tests.x" name="test_d"><error message="failed on setup">...</error></testcase>
</testsuite></testsuites>'''
GOOD = '<testsuite name="pytest"><testcase classname="tests.x" name="test_a" /></testsuite>'

MESON = '''#!/bin/sh
case $1 in
introspect) cat "$PRETEND/tests.json" ;;
test)
    echo "$*" > "$PRETEND/asked"
    while [ $# -gt 0 ]; do
        case $1 in -C) directory=$2 ;; --logbase) name=$2 ;; esac
        shift
    done
    mkdir -p "$directory/meson-logs"
    for end in json junit.xml; do
        [ ! -e "$PRETEND/$end" ] || cp "$PRETEND/$end" "$directory/meson-logs/$name.$end"
    done
    echo "what meson prints"
    exit "$(cat "$PRETEND/status")" ;;
*) [ ! -e "$PRETEND/no-setup" ] || { echo "ERROR: no setup"; exit 1; } ;;
esac
'''
NINJA = '#!/bin/sh\n[ ! -e "$PRETEND/no-build" ] || { echo "error: no build"; exit 1; }\n'
PYTHON = '''#!/bin/sh
for word; do case $word in --junitxml=*) file=${word#*=} ;; esac; done
[ ! -e "$PRETEND/pytest.xml" ] || cp "$PRETEND/pytest.xml" "$file"
exit "$(cat "$PRETEND/status")"
'''


class Checker(check.Checker):
    def libvirt_source(self):
        return []

    def tier_xl(self):
        """what the test of pytest takes"""
        self.pytest('xl', 'tests')

    def tier_load(self):
        """breaks"""
        raise RuntimeError('it broke')


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)


def run(root, *tiers, status=0, python=None, **files):
    """scripts/check TIERS where the programs leave FILES; its status and what it said."""
    pretend = root / 'pretend'
    shutil.rmtree(pretend, ignore_errors=True)
    pretend.mkdir()
    files.setdefault('tests_json', json.dumps([{'name': 'x', 'suite': ['serai:unit']}]))
    for name, text in files.items():
        (pretend / name.replace('_', '.')).write_text(text)
    (pretend / 'status').write_text(str(status))
    output = io.StringIO()
    with mock.patch.multiple(check, Checker=Checker, BUILD=root / 'build', LOGS=root / 'logs'), \
            mock.patch.dict(os.environ, PRETEND=str(pretend), PATH=f'{root / "bin"}:{os.environ["PATH"]}'), \
            mock.patch.multiple(sys, argv=['check', *tiers], executable=str(root / 'bin/python')), \
            contextlib.redirect_stdout(output):
        try:
            check.main()
            ended = None
        except SystemExit as error:
            ended = error.code
    return ended, output.getvalue()


def wrong(result, counts, *said):
    """What is not as it must be: the last line has COUNTS, the status tells of failures, SAID is said."""
    status, output = result
    line = '{} passed, {} failed, {} skipped'.format(*counts)
    problems = []
    if output.splitlines()[-1] != line:
        problems.append(f'the last line is not "{line}"')
    if status != (1 if counts[1] else 0):
        problems.append(f'it ends with {status}')
    problems += [f'it does not say: {words}' for words in said if words not in output]
    return [*problems, *output.splitlines()] if problems else []


def meson_files(names):
    parts = [PROGRAMS[n][1] for n in names]
    results = [{'name': f'serai:unit / {n}', 'result': PROGRAMS[n][0]} for n in names]
    return {'json': ''.join(json.dumps(r) + '\n' for r in results),
            'junit_xml': '<testsuites>' + ''.join(parts) + '</testsuites>'}


def programs(root):
    for name, (_, _, counts, said) in PROGRAMS.items():
        result = run(root, 'unit', status=counts[1], **meson_files([name]))
        tap.result(f'a_program_{name.replace("-", "_")}_is_counted', wrong(result, counts, said))
    total = [sum(counts) for counts in zip(*(p[2] for p in PROGRAMS.values()))]
    result = run(root, 'unit', status=total[1], **meson_files(PROGRAMS))
    tap.result('all_of_them_are_added_up', wrong(result, total, *(p[3] for p in PROGRAMS.values())))
    # The reports of the run before must not be counted again.
    tap.result('meson_that_writes_no_report_fails',
               wrong(run(root, 'unit', status=1), (0, 1, 0), 'no report was'))
    tap.result('meson_that_fails_without_a_failed_case_fails',
               wrong(run(root, 'unit', status=2, **meson_files(['by-status'])), (1, 1, 0), 'ended with 2'))
    tap.result('a_suite_without_tests_is_skipped',
               wrong(run(root, 'unit', tests_json='[]'), (0, 0, 1), 'it has no tests yet'))


def quick(root):
    tests = [{'name': name, 'suite': ['serai:unit']} for name in ('short', *check.LONG)]
    run(root, '--quick', tests_json=json.dumps(tests), **meson_files(['by-status']))
    asked = (root / 'pretend/asked').read_text().split()
    tap.result('quick_leaves_out_what_takes_long',
               [] if 'short' in asked and not set(asked) & set(check.LONG) else asked)
    run(root, 'unit', tests_json=json.dumps(tests), **meson_files(['by-status']))
    asked = (root / 'pretend/asked').read_text().split()
    tap.result('and_nothing_else_does', asked if 'short' in asked or set(asked) & set(check.LONG) else [])


def builds(root):
    tap.result('a_build_that_fails_fails_each_tier_that_needs_it',
               wrong(run(root, 'unit', 'guest', **{'no-build': ''}), (0, 2, 0), 'error: no build',
                     'failed: unit: build in build', 'failed: guest: build in build (it failed before)'))
    tap.result('a_setup_that_fails_fails',
               wrong(run(root, 'style', **{'no-setup': ''}), (0, 1, 0), 'failed: style: setup of build'))
    tap.result('a_tier_that_breaks_fails_and_the_next_one_runs',
               wrong(run(root, 'load', 'unit', **meson_files(['by-status'])), (1, 1, 0), 'it broke'))


def pytests(root):
    tap.result('cases_of_pytest_are_counted',
               wrong(run(root, 'xl', status=1, pytest_xml=PYTEST), (1, 2, 1), 'test_b (assert 1 == 2)',
                     'skipped: xl: tests.x: test_c (no disk)', 'test_d (failed on setup)'))
    tap.result('pytest_without_tests_is_skipped',
               wrong(run(root, 'xl', status=5), (0, 0, 1), 'no tests yet'))
    tap.result('pytest_that_cannot_run_fails',
               wrong(run(root, 'xl', status=4), (0, 1, 0), 'no report was'))
    tap.result('pytest_that_fails_without_a_failed_case_fails',
               wrong(run(root, 'xl', status=3, pytest_xml=GOOD), (1, 1, 0), 'pytest ended with 3'))


def tidy(root):
    source = tap.files('.c', under=('hv/', 'xenstore/', 'libxl/'))[0]
    (root / 'build/compile_commands.json').write_text(json.dumps([{'directory': '/', 'file': str(source)}]))
    for name, words, counts, said in (
            ('is_content', 'true', (1, 0, 0), ''),
            ('finds_something', f'echo "{source}:1:1: warning: so"', (0, 1, 0), ': warning: so'),
            ('cannot_run', 'echo "cannot run" >&2; exit 1', (0, 1, 0), 'cannot run'),
            ('cannot_read_its_configuration', 'echo "Error parsing x" >&2', (0, 1, 0), 'Error parsing x')):
        program(root / 'bin/clang-tidy', f'#!/bin/sh\n{words}\n')
        tap.result(f'tidy_that_{name}_is_counted', wrong(run(root, 'tidy'), counts, said))
    with mock.patch.object(check.shutil, 'which', lambda name: None):
        tap.result('tidy_that_is_not_installed_is_skipped',
                   wrong(run(root, 'tidy'), (0, 0, 1), 'not installed'))
    (root / 'build/compile_commands.json').write_text('[]')
    tap.result('tidy_without_sources_fails', wrong(run(root, 'tidy'), (0, 1, 0), 'names no source'))


def tools(root):
    """The checks of style, with tools that cannot run and without any."""
    script = '#!/bin/sh\necho "it cannot run" >&2\nexit 1\n'
    for state, words, want in (('broken', script, r'^not ok \d+ - {}$'),
                               ('missing', None, r'^ok \d+ - {} # SKIP {} is not installed$')):
        folder = root / state
        folder.mkdir()
        (folder / 'git').symlink_to(shutil.which('git'))
        for tool, case, command in (('clang-format', 'c_is_formatted', ['tools.py', 'format']),
                                    ('cppcheck', r'cppcheck_finds_nothing\w*', ['tools.py', 'cppcheck']),
                                    ('codespell', 'words_are_spelled_right', ['text.py'])):
            if words:
                program(folder / tool, words)
            argv = [sys.executable, '-B', tap.TOP / 'tests/style' / command[0], *command[1:]]
            output = subprocess.run(argv, env={'PATH': str(folder)}, capture_output=True, text=True).stdout
            good = re.search(want.format(case, tool), output, re.M) and (not words or 'cannot run' in output)
            name = f'{tool.replace("-", "_")}_that_is_{state}_is_told'
            tap.result(name, [] if good else output.splitlines())


def main():
    with tempfile.TemporaryDirectory(prefix='serai-tally-') as directory:
        root = pathlib.Path(directory)
        for folder in ('bin', 'build/meson-logs'):
            (root / folder).mkdir(parents=True)
        for name, text in (('meson', MESON), ('ninja', NINJA), ('python', PYTHON)):
            program(root / 'bin' / name, text)
        programs(root)
        quick(root)
        builds(root)
        pytests(root)
        tidy(root)
        tools(root)
    tap.done()


main()
