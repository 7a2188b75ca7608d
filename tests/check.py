# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the tiers of tests, from fast to real, and adds up what they said.

One count is one test case: a case of a TAP program, a program judged by its status, or a pytest case.  A
build or a program that fails without naming a case counts as one failure.  The last line of the output is
`N passed, N failed, N skipped` and the exit status is 0 only when nothing failed.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / 'tests/system'))
import cache                                                            # noqa: E402

BUILD = TOP / 'build'
ASAN = TOP / 'build-asan'
COVERAGE = TOP / 'build-coverage'
TSAN = TOP / 'build-tsan'
LOGS = BUILD / 'check'


class Tally:
    """What happened: each case once, with its tier and, when it did not pass, its reason."""

    def __init__(self):
        self.cases = []

    def add(self, tier, name, result, reason=''):
        assert result in ('passed', 'failed', 'skipped')
        self.cases.append((tier, name, result, ' '.join(str(reason).split())))

    def count(self, result, tier=None):
        return sum(1 for t, _, r, _ in self.cases if r == result and tier in (None, t))

    def line(self, tier=None):
        return ', '.join(f'{self.count(r, tier)} {r}' for r in ('passed', 'failed', 'skipped'))


class Checker:
    def __init__(self, options):
        self.options = options
        self.tally = Tally()
        self.configured, self.built = {}, {}
        self.started = time.monotonic()

    def say(self, text):
        print(f'[{time.monotonic() - self.started:5.0f} s] {text}', flush=True)

    def logged(self, name, argv, **kwargs):
        """Run ARGV with its words in a log file; return (status, path of the log)."""
        log = LOGS / f'{name}.log'
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, 'wb') as f:
            status = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=f,
                                    stderr=subprocess.STDOUT, cwd=TOP, **kwargs).returncode
        return status, log

    def configure(self, tier, directory, *options):
        """Set DIRECTORY up for this tree; False, with one failure told, when that does not work."""
        if directory not in self.configured:
            arguments = [*options, *self.libvirt_source()]
            if (directory / 'build.ninja').exists():
                arguments = ['--reconfigure', *arguments]
            status, log = self.logged(f'setup-{directory.name}', ['meson', 'setup', *arguments, directory])
            self.configured[directory] = self.told(status, tier, f'setup of {directory.name}', log)
        elif not self.configured[directory]:
            self.tally.add(tier, f'setup of {directory.name}', 'failed', 'it failed before')
        return self.configured[directory]

    def build(self, tier, directory, *options):
        """Compile DIRECTORY once; False, with one failure told, when that does not work."""
        if directory not in self.built:
            if not self.configure(tier, directory, *options):
                self.built[directory] = False
                return False
            self.say(f'building in {directory.name}')
            status, log = self.logged(f'build-{directory.name}', ['ninja', '-C', directory])
            self.built[directory] = self.told(status, tier, f'build in {directory.name}', log)
        elif not self.built[directory]:
            self.tally.add(tier, f'build in {directory.name}', 'failed', 'it failed before')
        return self.built[directory]

    def told(self, status, tier, what, log):
        """True when STATUS is good, else a failure with the lines of LOG that say why."""
        if status:
            text = log.read_text(errors='replace').splitlines()
            print('\n'.join([line[:300] for line in text if re.search(r'error|ERROR|undefined', line)][:12]
                            or text[-12:]), flush=True)
            self.tally.add(tier, what, 'failed', f'see {log}')
        return status == 0

    def source(self, package, name):
        """The source of an installed package, unpacked once for all builds; None, when it cannot be had."""
        result = subprocess.run([TOP / 'scripts/fetch-source.sh', package, name, cache.root() / name],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if result.returncode:
            print(result.stderr[-1500:], flush=True)
            return None
        return result.stdout.strip()

    def libvirt_source(self):
        source = self.source('libvirt0', 'libvirt')
        return [f'-Dlibvirt_source={source}'] if source else []

    def plain(self, tier):
        return self.build(tier, BUILD)

    def sanitized(self, tier):
        return self.build(tier, ASAN, '-Db_sanitize=address,undefined', '-Db_lundef=false', '-Dhypervisor=true')

    def meson(self, tier, suite, directory, multiplier=4, **environment):
        """Run one suite of the meson tests of DIRECTORY."""
        listing = subprocess.run(['meson', 'introspect', '--tests', directory], capture_output=True, text=True)
        tests = [t for t in json.loads(listing.stdout) if any(s.split(':')[-1] == suite for s in t['suite'])]
        if not tests:
            self.tally.add(tier, f'suite {suite}', 'skipped', 'it has no tests yet')
            return
        names = [t['name'] for t in tests if t['name'] not in LONG] if self.options.quick else []
        name = f'{tier}-{directory.name}'
        report, programs = (directory / f'meson-logs/{name}{end}' for end in ('.junit.xml', '.json'))
        for old in report, programs:
            old.unlink(missing_ok=True)
        env = {**os.environ, 'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
               'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=0', 'G_DEBUG': 'fatal-warnings', **environment}
        status, log = self.logged(name, ['meson', 'test', '-C', directory, '--suite', suite, '--no-rebuild',
                                         '--timeout-multiplier', multiplier, '--logbase', name,
                                         '--print-errorlogs', *names], env=env)
        before = self.tally.count('failed')
        ended = {}
        for line in programs.read_text().splitlines() if programs.exists() else ():
            program = json.loads(line)
            if program['result'] in ('FAIL', 'ERROR', 'TIMEOUT', 'INTERRUPT', 'UNEXPECTEDPASS'):
                ended[program['name'].split(' / ')[-1]] = f'{program["result"]}; see {log}'
        blamed = self.junit(tier, report, log, ended)
        # A program that died between two cases fails in the log of programs only.
        for title in [t for t in ended if t not in blamed]:
            self.tally.add(tier, title, 'failed', ended[title])
        if status and self.tally.count('failed') == before:
            self.tally.add(tier, f'suite {suite}', 'failed', f'meson test ended with {status}; see {log}')
        if self.tally.count('failed') > before:
            self.show_failures(log)

    def junit(self, tier, path, log, ended={}):
        """Count the cases of a JUnit file, and return the programs of meson that had one that failed.

        ENDED has the programs of meson that did not end well: the file shows one that took too long and is
        judged by its status as if it had passed.
        """
        blamed = set()
        if not path.exists():
            self.tally.add(tier, path.name, 'failed', f'no report was written; see {log}')
            return blamed
        for suite in ElementTree.parse(path).getroot().iter('testsuite'):
            for case in suite.findall('testcase'):
                owner = case.get('classname') or suite.get('name') or ''
                # "project.program" has cases; a program that has none is itself a case of "project".
                program = owner.partition('.')[2] or case.get('name')
                name = f'{owner}: {case.get("name")}'
                parts = [case.find(tag) for tag in ('failure', 'error', 'skipped')]
                found = next((part for part in parts if part is not None), None)
                if found is not None and found.tag == 'skipped':
                    self.tally.add(tier, name, 'skipped', self.reason(case, found) or 'it does not say why')
                elif found is not None or '.' not in owner and program in ended:
                    reason = self.reason(case, found) if found is not None else ''
                    self.tally.add(tier, name, 'failed', reason or ended.get(program, ''))
                    blamed.add(program)
                else:
                    self.tally.add(tier, name, 'passed')
        return blamed

    def reason(self, case, found):
        """Why a case of a JUnit file failed or was skipped."""
        reason = found.get('message') or (found.text or '').strip()
        if not reason and found.tag == 'skipped':
            # Meson has it as the output of a case; of a program that skips all of them, in the output.
            reason = (case.findtext('system-out') or '').strip()
            whole = re.search(r'^1\.\.0\s+# SKIP\b:?\s*(.*)', reason, re.M | re.I)
            if whole or re.fullmatch(r'(TAP version \d+\s+)?1\.\.0', reason):
                reason = whole[1] if whole else ''
        return reason[:300]

    def show_failures(self, log, lines=60):
        """The part of a log that a reader without the file needs."""
        text = log.read_text(errors='replace').splitlines()
        wrong = [i for i, line in enumerate(text) if re.search(r'not ok|ERROR|FAIL|runtime error|assert', line)]
        start = max(0, (wrong[0] if wrong else len(text)) - 15)
        print('\n'.join(text[start:start + lines]), flush=True)

    def pytest(self, tier, *arguments):
        report = LOGS / f'{tier}.junit.xml'
        report.unlink(missing_ok=True)
        LOGS.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, '-B', '-m', 'pytest', '-p', 'no:cacheprovider', '-v', '-rs', f'--junitxml={report}',
                   *arguments]
        # Its progress is shown as it comes: these are the long ones.
        status = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, cwd=TOP).returncode
        if status == 5:
            self.tally.add(tier, str(arguments[0]), 'skipped', 'it has no tests yet')
            return
        before = self.tally.count('failed')
        self.junit(tier, report, report)
        if status and self.tally.count('failed') == before:
            self.tally.add(tier, str(arguments[0]), 'failed', f'pytest ended with {status}')

    # The tiers, fastest first.

    def tier_style(self):
        """layering, headers alone, names in documents, spelling, formatter, static checkers"""
        if self.configure('style', BUILD):
            self.meson('style', 'style', BUILD)

    def tier_unit(self):
        """unit and property tests on this machine"""
        if self.plain('unit'):
            self.meson('unit', 'unit', BUILD)

    def tier_sanitize(self):
        """the unit tests under the address and undefined-behavior sanitizers"""
        if self.sanitized('sanitize'):
            self.meson('sanitize', 'unit', ASAN, multiplier=8)

    def tier_fuzz(self):
        """seconds of each fuzzer, under the sanitizers"""
        if self.sanitized('fuzz'):
            self.meson('fuzz', 'fuzz', ASAN, multiplier=8)

    def tier_guest(self):
        """tiny kernels on the hypervisor in QEMU"""
        if self.plain('guest'):
            self.meson('guest', 'guest', BUILD)

    def tier_tiny(self):
        """Debian's kernel and Xen's own tools on the hypervisor, from an initramfs"""
        if self.plain('tiny'):
            self.pytest('tiny', 'tests/system', '-m', 'tiny and not by_name')

    def tier_packages(self):
        """the Debian packages: they build, lintian is content, install and purge in a chroot"""
        self.pytest('packages', 'tests/packages', '-m', 'not booted')

    def tier_install(self):
        """a fresh Debian machine gets the packages, boots, is upgraded, and is purged"""
        if self.is_root('install'):
            self.pytest('install', 'tests/packages/test_install.py', '-m', 'booted')

    def tier_try(self):
        """scripts/try on a terminal: interrupted at each step, and to the guest's prompt"""
        if self.is_root('try'):
            self.pytest('try', 'tests/packages/test_try.py')

    def tier_host(self):
        """GRUB, hypervisor, Debian, libvirtd, guests; driven from outside by virsh"""
        if self.packaged('host'):
            os.environ['SERAI_HOST'] = 'serai'
            self.pytest('host', 'tests/system/test_host.py', 'tests/system/test_driver_pv.py')

    def tier_system(self):
        """all tests of such a host, the store's long ones too"""
        if self.packaged('system'):
            self.pytest('system', 'tests/system', '-m', 'not tiny and not by_name')

    def tier_store(self):
        """the store on hosts, Serai's and Debian's Xen: killed under traffic; 200 domains come and go"""
        if self.packaged('store') and self.plain('store'):
            os.environ.setdefault('STORE_CYCLES', '200')
            for peer in ((), ('--peer=hypervisor', '--cpus=2')):
                self.pytest('store', 'tests/system/test_store.py', '-m', 'not tiny', *peer)

    def tier_xl(self):
        """each command of Xen's xl, seen to do what it says, in the tiny dom0"""
        if self.plain('xl'):
            self.pytest('xl', 'tests/system/test_xl.py')

    def tier_machines(self):
        """the tiny dom0 on machines that differ"""
        if self.plain('machines'):
            self.pytest('machines', 'tests/system/test_machines.py')

    def tier_load(self):
        """disks, registers and memory of busy guests"""
        if self.plain('load'):
            self.pytest('load', 'tests/system/test_guest_load.py')

    def tier_dom0(self):
        """Debian as it comes as dom0: BIOS and UEFI, pc and q35, 1 to 4 CPUs, each disk and network card"""
        if self.packaged('dom0'):
            self.pytest('dom0', 'tests/system', '-m', 'dom0')

    def tier_scale(self):
        """20 guests at work at once; 200 that come and go and leave nothing"""
        if self.packaged('scale'):
            self.pytest('scale', 'tests/system', '-m', 'scale')

    def tier_clients(self):
        """virt-install, virt-clone, Ansible and others with a host, and a guest installed on its disk"""
        if self.packaged('clients'):
            self.pytest('clients', 'tests/system/test_clients.py')

    def tier_devices(self):
        """disks, CD-ROMs, consoles, networks and Open vSwitch of guests on a host"""
        if self.packaged('devices'):
            self.pytest('devices', 'tests/system/test_devices.py', 'tests/system/test_ovs.py',
                        'tests/system/test_networks.py', 'tests/system/test_library.py')

    def tier_kills(self):
        """the driver killed at each system call of each call; libvirtd a hundred times among its guests"""
        if self.plain('kills'):
            self.meson('kills', 'kills', BUILD, multiplier=10)
        if self.packaged('kills'):
            self.pytest('kills', 'tests/system/test_kills.py')

    def tier_swap(self):
        """the host's tests with Debian's part at each seam; those of our driver where the seam is another"""
        if self.packaged('swap'):
            for peer, *options in (('store',), ('driver',), ('hypervisor', '--cpus=2')):
                # One after the other: a host stays up until its pytest ends.
                for name in ('host', 'driver_pv') if peer != 'driver' else ('host',):
                    self.pytest(f'swap-{peer}-{name}', f'tests/system/test_{name}.py', f'--peer={peer}',
                                *options)

    def is_root(self, tier):
        """Whether a disk image can be made; when not, TIER is told as skipped."""
        if os.geteuid():
            self.tally.add(tier, 'all', 'skipped', 'making a disk image needs root')
        return not os.geteuid()

    def packaged(self, tier):
        """Make the packages that a host installs; False, with the reason told, when there can be no host."""
        if not self.is_root(tier):
            return False
        status, log = self.logged('build-debs', [TOP / 'scripts/build-debs'])
        return self.told(status, tier, 'packages', log)

    def tier_bench(self):
        """Serai beside Debian's Xen: medians and ratios"""
        if self.plain('bench'):
            self.pytest('bench', 'tests/bench', '-s')

    def tier_coverage(self):
        """which lines the unit tests reach: a report, build-coverage/coverage.html"""
        # Counting gets between the compiler and what it knows of variables, and it warns.
        if self.build('coverage', COVERAGE, '-Db_coverage=true', '-Dwerror=false'):
            self.meson('coverage', 'unit', COVERAGE)
            status, log = self.logged('coverage-report', ['gcovr', '-r', TOP, COVERAGE, '--exclude', 'tests/',
                                                          '--html', COVERAGE / 'coverage.html', '--print-summary'])
            print(log.read_text(errors='replace')[-600:], flush=True)
            self.tally.add('coverage', 'report', 'failed' if status else 'passed', f'see {log}')

    def glib_for_threads(self, tier):
        """The folder of a GLib for the thread sanitizer, which sees no lock of one not built for it."""
        source = self.source('libglib2.0-0', 'glib2.0')
        if not source:
            self.tally.add(tier, 'all', 'skipped', 'the source of GLib cannot be had')
            return None
        build, made = pathlib.Path(source + '-threads'), pathlib.Path(source + '-threads-made')
        if not (made / 'lib/libgio-2.0.so').exists():
            shutil.rmtree(build, ignore_errors=True)
            off = [f'-D{name}=disabled' for name in ('libmount', 'selinux', 'nls', 'libelf', 'glib_debug')]
            for name, argv in (('setup', ['meson', 'setup', build, source, '-Db_sanitize=thread',
                                          '-Db_lundef=false', '-Dtests=false', '-Dbuildtype=debugoptimized',
                                          f'--prefix={made}', '--libdir=lib', *off]),
                               ('build', ['ninja', '-C', build, 'install'])):
                status, log = self.logged(f'glib-{name}', argv)
                if not self.told(status, tier, f'{name} of GLib', log):
                    return None
        return made / 'lib'

    def tier_threads(self):
        """unit tests of the library and the driver under the thread sanitizer, with a GLib built for it"""
        glib = self.glib_for_threads('threads')
        if glib and self.build('threads', TSAN, '-Db_sanitize=thread', '-Db_lundef=false',
                               '-Dc_args=-Wno-tsan', '-Dhypervisor=false'):
            # GLib's own allocator counts its contention without a lock, on purpose.
            self.meson('threads', 'threads', TSAN, multiplier=20, LD_LIBRARY_PATH=str(glib),
                       G_SLICE='always-malloc', TSAN_OPTIONS='exitcode=66:second_deadlock_stack=1')

    def tier_tidy(self):
        """clang-tidy on every source, one case each"""
        if not self.plain('tidy'):          # the headers that the build makes
            return
        if not shutil.which('clang-tidy'):
            self.tally.add('tidy', 'all', 'skipped', 'clang-tidy is not installed')
            return
        entries = json.loads((BUILD / 'compile_commands.json').read_text())
        sources = sorted({os.path.realpath(os.path.join(e['directory'], e['file'])) for e in entries})
        sources = [s for s in sources if s.endswith('.c') and s.startswith(str(TOP)) and '/tests/' not in s]
        if not sources:
            self.tally.add('tidy', 'all', 'failed', 'compile_commands.json names no source')
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for source, found in zip(sources, pool.map(self.tidy, sources)):
                print('\n'.join(line.replace(f'{TOP}/', '') for line in found), end='\n' if found else '')
                self.tally.add('tidy', os.path.relpath(source, TOP), 'failed' if found else 'passed',
                               found[0] if found else '')

    def tidy(self, source):
        """What clang-tidy has against SOURCE; its last words, when it could not look as it should."""
        run = subprocess.run(['clang-tidy', '-p', BUILD, '--quiet', '--extra-arg=-Wno-unknown-warning-option',
                              '--extra-arg=-Wno-ignored-optimization-argument', source], capture_output=True,
                             text=True, stdin=subprocess.DEVNULL, cwd=TOP)
        found = [line for line in run.stdout.splitlines() if ': warning: ' in line or ': error: ' in line]
        # A configuration that it cannot read does not change its status: it checks by its own then.
        if not found and (run.returncode or 'Error parsing ' in run.stderr):
            found = [f'clang-tidy ended with {run.returncode}', *(run.stdout + run.stderr).splitlines()[-5:]]
        return found


QUICK = ['style', 'unit']
# What of these takes more than some seconds, and so is not for --quick.
LONG = ['cppcheck', 'headers', 'libvirt-killed', 'libvirt-daemon', 'libxl-domain', 'store-conversation']
NORMAL = ['style', 'unit', 'sanitize', 'fuzz', 'guest', 'tiny', 'packages', 'host']
BY_NAME = ['install', 'try', 'system', 'store', 'xl', 'machines', 'load', 'dom0', 'scale', 'clients',
           'devices', 'kills', 'swap', 'bench', 'coverage', 'tidy', 'threads']


def main():
    epilog = 'tiers:\n' + '\n'.join(
        f'  {name:10} {getattr(Checker, "tier_" + name).__doc__}' + (' (by name)' if name in BY_NAME else '')
        for name in NORMAL + BY_NAME)
    parser = argparse.ArgumentParser(prog='scripts/check', epilog=epilog,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description='Build Serai and check it.')
    parser.add_argument('tiers', nargs='*', metavar='tier', help='only these; without any, all not "by name"')
    parser.add_argument('--quick', action='store_true',
                        help=f'only the tests of {" and ".join(QUICK)} that take seconds, so not '
                             + ', '.join(LONG))
    options = parser.parse_args()
    wrong = [t for t in options.tiers if t not in NORMAL + BY_NAME]
    if wrong:
        parser.error(f'no tier is called {wrong[0]}')

    checker = Checker(options)
    shutil.rmtree(LOGS, ignore_errors=True)
    tiers = options.tiers or (QUICK if options.quick else NORMAL)
    for name in tiers:
        checker.say(f'{name}: {getattr(checker, "tier_" + name).__doc__}')
        try:
            getattr(checker, 'tier_' + name)()
        except Exception as error:      # a tier that breaks is a failure of the check, not its end
            checker.tally.add(name, 'the tier itself', 'failed', repr(error))
        checker.say(f'{name}: {checker.tally.line(name)}')

    for result in ('skipped', 'failed'):
        for tier, name, r, reason in checker.tally.cases:
            if r == result:
                print(f'{result}: {tier}: {name}' + (f' ({reason[:300]})' if reason else ''))
    print(checker.tally.line())
    sys.exit(1 if checker.tally.count('failed') else 0)


if __name__ == '__main__':
    main()
