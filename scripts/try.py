# SPDX-License-Identifier: LGPL-2.1-or-later
"""Build Serai, make a host with it, boot the host in QEMU, and run a guest on it through virsh.

Everything happens below build/ and in the cache; the machine's own libvirt and GRUB are not touched.
"""

import argparse
import importlib.machinery
import importlib.util
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / 'tests/system'))
import cache                                                            # noqa: E402
import host as hosts                                                    # noqa: E402
import image                                                            # noqa: E402
import linux                                                            # noqa: E402
import qemu                                                             # noqa: E402
import tiny                                                             # noqa: E402

BUILD = TOP / 'build'
BEGAN = time.monotonic()
HINT = '''
What is above is the reason; the log files are named beside the steps.  Everything that was finished is kept,
so the next call goes on from there.  When a download failed, look after the network and call again.  When
the same step fails again, remove build/ and {} and call once more; then it is a bug to report, with the
log.'''


class Step:
    """Something that takes a while, as lines that a person follows: what, since when, where the log is.

    A line says what begins; on a terminal another one moves below it, with the last words of the log, elsewhere
    there is a plain line now and then; in the end it tells how long it took.
    """

    PLAIN_EVERY = 30

    def __init__(self, what, log=None):
        self.what, self.log, self.detail = what, log, ''
        self.started = time.monotonic()
        self.over = threading.Event()
        self.moving = sys.stdout.isatty()

    def say(self, detail):
        self.detail = detail
        if not self.moving:
            self._plain()

    def _last_words(self):
        """What was said and the last line of the log, as far as a terminal can show it."""
        return ': '.join(words for words in (self.detail, self._log_line()) if words)

    def _log_line(self):
        if not self.log:
            return ''
        try:
            with open(self.log, 'rb') as f:
                f.seek(max(0, os.path.getsize(self.log) - 2000))
                lines = f.read().decode(errors='replace').splitlines()
        except OSError:
            return ''
        lines = [re.sub(r'\x1b\[[^a-zA-Z]*[a-zA-Z]|[^ -~]', '', line).strip() for line in lines]
        last = next((line for line in reversed(lines) if line), '')
        # Of a compiler's command line the source at its end tells the most.
        return re.sub(r'^(\[\d+/\d+\]) .* (\S+)$', r'\1 \2', last)

    def _line(self, words, end):
        line = f'[{time.monotonic() - self.started:4.0f} s] {words}'
        if self.moving:
            line = '\r\x1b[K' + line[:shutil.get_terminal_size().columns - 1]
        sys.stdout.write(line + end)
        sys.stdout.flush()

    def _plain(self):
        self._line(f'{self.what}: {self._last_words()}'.rstrip(': ')[:200], '\n')

    def _tick(self):
        while not self.over.wait(0.5 if self.moving else self.PLAIN_EVERY):
            if self.moving:
                self._line(self._last_words(), '')
            else:
                self._plain()

    def __enter__(self):
        print(f'{self.what} ...' + (f'  (log: {os.path.relpath(self.log)})' if self.log else ''), flush=True)
        self.thread = threading.Thread(target=self._tick, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.over.set()
        self.thread.join()
        how = 'done' if kind is None else 'interrupted' if issubclass(kind, KeyboardInterrupt) else 'failed'
        self._line(how if self.moving else f'{self.what}: {how}', '\n')


def build_debs():
    """scripts/build-debs as a module: it has no .py in its name because people call it."""
    loader = importlib.machinery.SourceFileLoader('build_debs', str(TOP / 'scripts/build-debs'))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('build_debs', loader))
    loader.exec_module(module)
    return module


def usable_kvm():
    """Does KVM truly run a guest here?  A /dev/kvm may exist where it cannot: boot a kernel to know."""
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return False
    try:
        with tiny.Tiny('bare', script='true', accel='kvm', cpu='host', log=BUILD / 'try-kvm.log') as probe:
            probe.done(timeout=30)
        return True
    except (AssertionError, OSError):
        return False


def watch_console(argv, pattern, timeout, shown):
    """Run ARGV on a terminal of its own, copy what it shows, until PATTERN; then leave with ^]."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    text, limit = '', time.monotonic() + timeout
    found = False
    try:
        while time.monotonic() < limit:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            text += data.decode(errors='replace')
            shown.write(data.decode(errors='replace').replace('\r', ''))
            shown.flush()
            if re.search(pattern, text):
                found = True
                os.write(terminal, b'\x1d')
                break
        time.sleep(0.5)
    finally:
        os.close(terminal)
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)
    if not found:
        raise AssertionError(f'the guest did not say /{pattern}/ within {timeout} s')


def explain(host, name):
    """How to reach the host with the tools one already has."""
    key, known = BUILD / 'try-key', BUILD / 'try-known-hosts'
    # The image belongs to root; who called through sudo is to use these without it.
    for target, source in ((key, host.image / 'key'), (known, host.image / 'known_hosts')):
        target.unlink(missing_ok=True)
        shutil.copy(source, target)
        target.chmod(0o600)
    give_back()
    uri = f'xen+ssh://root@127.0.0.1:{host.ssh_port}/system?keyfile={key}&no_verify=1'
    print(f'''
The host is up.  In another terminal, as long as this one stays:

  virsh         virsh -c '{uri}' list --all
  virt-manager  virt-manager -c '{uri}'
  virt-install  virt-install --connect '{uri}' --paravirt --name another --memory 128 \\
                  --boot kernel=/var/lib/libvirt/images/guest-kernel,initrd=/var/lib/libvirt/images/guest-initrd,\
kernel_args=console=hvc0 \\
                  --disk none --network bridge=br0 --osinfo linux2022 --import --noautoconsole
  Ansible       ansible-playbook -i 'localhost,' -e 'libvirt_uri={uri}' examples/playbook.yml
  ssh           ssh -p {host.ssh_port} -i {key} -o UserKnownHostsFile={known} \\
                  -o HostKeyAlias=serai-host root@127.0.0.1

Below is virsh on that host.  `console {name}` shows the guest (leave with ^]), `quit` ends everything.
''', flush=True)


class Refusal(Exception):
    """Nothing was tried, and the message says what to do."""


class Parser(argparse.ArgumentParser):
    """What scripts/try --help tells; the text is there because there may be no Python yet."""

    def error(self, message):
        sys.exit(f'scripts/try: {message}; scripts/try --help tells the options')


def arguments():
    parser = Parser(prog='scripts/try', add_help=False)
    parser.add_argument('--once', action='store_true')
    parser.add_argument('--on', default='serai', choices=['serai', 'xen'])
    parser.add_argument('--guest', type=pathlib.Path, default=TOP / 'examples/guest.xml')
    parser.add_argument('--memory', type=int, default=2048)
    parser.add_argument('--cpus', type=int, default=1)
    options = parser.parse_args()
    if not options.guest.is_file():
        parser.error(f'there is no file {options.guest}')
    if options.memory < 1536:
        parser.error('the host and its guest need at least --memory 1536')
    return options


def check_room(options):
    """Disk and memory that everything below will need; better said now than by a program that dies."""
    for where, gib in ((cache.root(), 6), (BUILD, 1)):
        free = shutil.disk_usage(where).free >> 30
        if free < gib:
            raise Refusal(f'{where} has {free} GiB free and about {gib} are needed.  Make room, or call with '
                          'XDG_CACHE_HOME=DIRECTORY in the environment, where there is more.')
    memory = pathlib.Path('/proc/meminfo').read_text()
    available = int(re.search(r'MemAvailable: +(\d+)', memory).group(1)) >> 10
    if available < options.memory:
        raise Refusal(f'{available} MiB of memory are available and the machine wants {options.memory}.  End '
                      'something, or try with --memory 1536.')


def give_back():
    """Whoever called through sudo owns what lies in the checkout."""
    owner = os.environ.get('SUDO_UID')
    if owner and not os.geteuid():
        subprocess.run(['chown', '-R', f'{owner}:{os.environ.get("SUDO_GID", owner)}', BUILD])


def interrupted(*_):
    # One is enough: while things are cleaned up, more would only get in the way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def ended(number, _):
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    options = arguments()
    BUILD.mkdir(exist_ok=True)
    signal.signal(signal.SIGINT, interrupted)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    try:
        run(options)
    except KeyboardInterrupt:
        print('\nInterrupted; nothing is left running.')
        sys.exit(130)
    except (AssertionError, RuntimeError, OSError, Refusal) as error:
        print(f'\nscripts/try: {error}', file=sys.stderr)
        print(HINT.format(cache.root()), file=sys.stderr)
        sys.exit(1)
    finally:
        give_back()


def run(options):
    check_room(options)
    debs = []
    if options.on == 'serai':
        with Step('Building Serai and its Debian packages', BUILD / 'debs.log'):
            debs = build_debs().build(BUILD / 'debs.log')
    log = BUILD / 'host-image.log'
    log.unlink(missing_ok=True)
    with Step('Making a Debian host with them', log) as step, cache.logged(log):
        where = image.build(debs, step.say)
    with Step('Looking whether KVM works here'):
        accel = 'kvm' if usable_kvm() else 'tcg'
    print(f'Booting with {"KVM" if accel == "kvm" else "QEMU alone: KVM does not run a guest here"}.')

    host = hosts.Host(options.on, image=where, accel=accel, memory=options.memory, cpus=options.cpus,
                      log=BUILD / 'try-console.log')
    with host:
        with Step(f'GRUB, {"Serai" if options.on == "serai" else "Xen"}, Debian', host.log):
            host.boot()
        guest(host, options)


def guest(host, options):
    name = re.search(r'<name>([^<]+)</name>', options.guest.read_text()).group(1)
    print(host.virsh('version', uri=host.ssh_uri), end='')
    with Step(f'virsh define {os.path.relpath(options.guest)}'):
        host.virsh(['define', str(options.guest)], uri=host.ssh_uri)
    print(f'virsh start {name} --console  (up to its login prompt, a minute or so)', flush=True)
    began = time.monotonic()
    watch_console(['virsh', '-q', '-c', host.ssh_uri, 'start', name, '--console'], r'login:', 900, sys.stdout)
    now = time.monotonic()
    print(f'\n[{now - began:4.0f} s] {name} answered, {now - BEGAN:.0f} s after the call')
    print(host.virsh('list --all', uri=host.ssh_uri), end='', flush=True)
    if options.once:
        return
    explain(host, name)
    # ^C belongs to virsh while it runs.  A handler, for a signal that is ignored is so in virsh too.
    signal.signal(signal.SIGINT, lambda *_: None)
    if subprocess.run(['virsh', '-c', host.ssh_uri]).returncode == -signal.SIGINT:
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, interrupted)
    with Step('Powering the host off', host.log):
        try:
            host.shutdown()
        except AssertionError:
            pass


if __name__ == '__main__':
    main()
