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
import signal
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / 'tests/system'))
import host as hosts                                                    # noqa: E402
import image                                                            # noqa: E402
import linux                                                            # noqa: E402
import qemu                                                             # noqa: E402
import tiny                                                             # noqa: E402

BUILD = TOP / 'build'


class Step:
    """One line on the terminal for something that takes a while: what, since when, where the log is."""

    def __init__(self, what, log=None):
        self.what, self.log, self.detail = what, log, ''
        self.started = time.monotonic()
        self.over = threading.Event()

    def say(self, detail):
        self.detail = detail

    def _line(self, end):
        seconds = time.monotonic() - self.started
        words = f'{self.what}: {self.detail}' if self.detail else self.what
        log = f'  (log: {os.path.relpath(self.log)})' if self.log else ''
        if sys.stdout.isatty():
            sys.stdout.write(f'\r\x1b[K[{seconds:4.0f} s] {words[:70]}{log}{end}')
        elif end:
            sys.stdout.write(f'[{seconds:4.0f} s] {self.what}{log}{end}')
        sys.stdout.flush()

    def _tick(self):
        while not self.over.wait(0.5):
            self._line('')

    def __enter__(self):
        if sys.stdout.isatty():
            threading.Thread(target=self._tick, daemon=True).start()
        else:
            print(f'{self.what} ...', flush=True)
        return self

    def __exit__(self, kind, error, trace):
        self.over.set()
        self.detail = 'failed' if kind else ''
        self._line('\n')


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
    key, known = host.image / 'key', host.image / 'known_hosts'
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
  ssh           ssh -p {host.ssh_port} -i {key} -o UserKnownHostsFile={known} -o HostKeyAlias=serai-host root@127.0.0.1

Below is virsh on that host.  `console {name}` shows the guest (leave with ^]), `quit` ends everything.
''', flush=True)


def main():
    parser = argparse.ArgumentParser(prog='scripts/try', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--once', action='store_true', help='end with status 0 once the guest has answered')
    parser.add_argument('--on', default='serai', choices=['serai', 'xen'],
                        help='boot Debian\'s own Xen and libvirt driver instead, to compare')
    parser.add_argument('--guest', type=pathlib.Path, default=TOP / 'examples/guest.xml',
                        help='the domain to define and start')
    parser.add_argument('--memory', type=int, default=2048, help='of the whole machine, in MiB')
    parser.add_argument('--cpus', type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    BUILD.mkdir(exist_ok=True)
    try:
        run(options)
    except KeyboardInterrupt:
        print('\nInterrupted; the host is gone.')
        sys.exit(130)
    except (AssertionError, RuntimeError, OSError) as error:
        print(f'\n{error}', file=sys.stderr)
        sys.exit(1)


def run(options):
    debs = []
    if options.on == 'serai':
        with Step('Building Serai and its Debian packages', BUILD / 'debs.log'):
            debs = build_debs().build(BUILD / 'debs.log')
    with Step('Making a Debian host with them') as step:
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
    print(f'virsh start {name} --console', flush=True)
    watch_console(['virsh', '-q', '-c', host.ssh_uri, 'start', name, '--console'], r'login:', 300, sys.stdout)
    print()
    print(host.virsh('list --all', uri=host.ssh_uri), end='', flush=True)
    if options.once:
        print(f'{name} answered.')
        return
    explain(host, name)
    # ^C belongs to virsh while it runs; the host goes when virsh ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    subprocess.run(['virsh', '-c', host.ssh_uri])
    with Step('Powering the host off', host.log):
        try:
            host.shutdown()
        except AssertionError:
            pass


if __name__ == '__main__':
    main()
