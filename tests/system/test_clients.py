# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other people's programs on this machine, and the host that they manage over the network.

    SERAI_HOST=serai pytest tests/system/test_clients.py      # or xen: our driver on Debian's Xen

A guest is installed on a disk (guest_disk.py) and comes up by virt-install --import alone, through PV GRUB,
with no kernel of its own in dom0.  The tests run in the order they stand here.  $SERAI_PICTURE=FILE keeps a
picture of virt-manager's window.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cache                                                            # noqa: E402
import guest_disk                                                       # noqa: E402
import qemu                                                             # noqa: E402
from test_driver_pv import IMAGES, Console, booted, domain_id, wait_for_state   # noqa: E402

pytestmark = pytest.mark.by_name
TITLE = 'Debian on its own disk'
GRUB = '/usr/lib/grub-xen/grub-x86_64-xen.bin'


def needs(program):
    if not shutil.which(program):
        pytest.skip(f'{program} is not installed')


@pytest.fixture(scope='module')
def host():
    grub = cache.unpacked(['grub-xen-host']) / GRUB.lstrip('/')
    files = {GRUB: grub, f'{IMAGES}/installed.img': guest_disk.build()}
    with booted('clients', memory=3072, files=files) as machine:
        yield machine


def client(host, *command, timeout=900, check=True, **environment):
    """Run a program of this machine; returns what it said."""
    result = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, timeout=timeout, text=True,
                            env={**os.environ, 'LC_ALL': 'C.UTF-8', **environment})
    host.pump()
    said = f'{command[0]} ended with {result.returncode}:\n{result.stdout}'
    assert not check or result.returncode == 0, said
    return result.stdout


def boots(host, name, number):
    """The system on the guest's disk is up and says how often it was, and the guest answers."""
    terminal = Console(host, name)
    try:
        # What is typed before its shell is there is answered by it later, each line in its turn.
        for attempt in range(45):
            os.write(terminal.terminal, f'echo answer {attempt} $(grep -c boot /var/boots)\n'.encode())
            try:
                found, said = terminal.expect(rf'\nanswer {attempt} (\d+)\nguest: status 0\n', 20)
                break
            except AssertionError:
                assert attempt < 44, f'{name} does not answer'
        assert int(found.group(1)) == number, said
        return terminal.run('uname -r; awk \'$2 == "/"\' /proc/mounts; cat /proc/cmdline')
    finally:
        terminal.close()


def test_virt_install_imports_an_installed_disk(host):
    needs('virt-install')
    client(host, 'virt-install', '--connect', host.uri, '--name', 'installed', '--memory', '256',
           '--vcpus', '1', '--paravirt', '--import', '--disk', f'{IMAGES}/installed.img',
           '--network', 'bridge=br0',
           '--graphics', 'none', '--osinfo', 'detect=on,require=off', '--noautoconsole', '--wait', '0')
    assert '<kernel>' not in host.virsh('dumpxml installed')
    said = boots(host, 'installed', 1)
    assert '/boot/vmlinuz' in said or f'root=UUID={guest_disk.UUID}' in said, said
    assert re.search(r'^\S+ / ext4', said, re.M), said


def test_it_is_shut_down_and_starts_again(host):
    before = domain_id(host, 'installed')
    host.virsh('reboot installed')
    limit = time.monotonic() + 600
    while domain_id(host, 'installed') in (before, '-'):
        assert time.monotonic() < limit, 'the guest does not reboot'
        host.pump(1)
    boots(host, 'installed', 2)
    host.virsh('shutdown installed')
    wait_for_state(host, 'shut off', 'installed', 300)
    host.virsh('start installed', timeout=600)
    boots(host, 'installed', 3)


def test_virt_xml_changes_it(host):
    needs('virt-xml')
    client(host, 'virt-xml', '--connect', host.uri, 'installed', '--edit', '--memory', '300,maxmemory=300')
    client(host, 'virt-xml', '--connect', host.uri, 'installed', '--edit', '--metadata',
           f'title={TITLE}')
    xml = host.virsh('dumpxml --inactive installed')
    assert f'<title>{TITLE}</title>' in xml and re.search(r"<memory unit='KiB'>307200</memory>", xml), xml


def ansible(host, arguments):
    needs('ansible')
    text = client(host, 'ansible', 'localhost', '-i', 'localhost,', '-c', 'local', '-o', '-e',
                  'ansible_python_interpreter=/usr/bin/python3', '-m', 'community.libvirt.virt', '-a',
                  f'uri={host.uri} {arguments}', ANSIBLE_LOCALHOST_WARNING='false', ANSIBLE_NOCOLOR='1')
    return json.loads(text[text.index('{'):])


def test_ansible_stops_and_starts_it(host):
    assert 'installed' in ansible(host, 'command=list_vms')['list_vms']
    assert ansible(host, 'command=status name=installed')['status'] == 'running'
    ansible(host, 'command=pause name=installed')
    assert host.virsh('domstate installed').strip() == 'paused'
    ansible(host, 'command=unpause name=installed')
    assert '<name>installed' in ansible(host, 'command=get_xml name=installed')['get_xml']
    ansible(host, 'command=shutdown name=installed')
    wait_for_state(host, 'shut off', 'installed', 300)
    ansible(host, 'name=installed state=running')
    boots(host, 'installed', 4)


def test_prometheus_counts_it(host):
    needs('prometheus-libvirt-exporter')
    port = qemu.free_port()
    exporter = subprocess.Popen(['prometheus-libvirt-exporter', f'--libvirt.uri={host.uri}',
                                 f'--web.listen-address=127.0.0.1:{port}'],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        limit = time.monotonic() + 300
        while True:
            try:
                with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=120) as answer:
                    text = answer.read().decode()
                break
            except OSError as error:
                assert exporter.poll() is None, exporter.stdout.read().decode()
                assert time.monotonic() < limit, error
                host.pump(0.5)
    finally:
        exporter.kill()
        exporter.wait()
    assert re.search(r'^libvirt_up 1', text, re.M), text
    # The kernel and all else came through this disk.
    for what, least in (('block_stats_read_requests_total', 100),
                        ('interface_stats_receive_packets_total', 0),
                        ('info_cpu_time_seconds_total', 0.1)):
        found = re.search(rf'^libvirt_domain_{what}{{.*domain="installed".*}} (\S+)', text, re.M)
        assert found and float(found.group(1)) >= least, f'{what} is not told:\n{text}'


class Screen:
    """An X server of our own, with a program of its windows in it."""

    def __init__(self, host, home):
        self.host = host
        number = next(n for n in range(90, 200) if not os.path.exists(f'/tmp/.X11-unix/X{n}'))
        self.environment = {**os.environ, 'DISPLAY': f':{number}', 'GDK_BACKEND': 'x11', 'NO_AT_BRIDGE': '1',
                            'LC_ALL': 'C.UTF-8', 'HOME': str(home)}
        self.home = home
        self.log = home / 'manager.log'
        self.program = None
        quiet = dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.DEVNULL)
        self.server = subprocess.Popen(
            ['Xvfb', f':{number}', '-screen', '0', '1000x700x24', '-nolisten', 'tcp'], **quiet)
        while not os.path.exists(f'/tmp/.X11-unix/X{number}'):
            assert self.server.poll() is None
            host.pump(0.2)

    def run(self, *command):
        with open(self.log, 'wb') as log:
            self.program = subprocess.Popen(command, env=self.environment, cwd=self.home,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            start_new_session=True)

    def window(self, title, timeout=600):
        """Wait for a window whose title begins with TITLE; its number."""
        limit = time.monotonic() + timeout
        while True:
            tree = subprocess.run(['xwininfo', '-root', '-tree'], env=self.environment, capture_output=True,
                                  text=True).stdout
            found = re.search(rf'(0x[0-9a-f]+) "{re.escape(title)}', tree)
            if found:
                return found.group(1)
            assert self.program.poll() is None and time.monotonic() < limit, \
                f'no window "{title}" but:\n{tree}\n{self.log.read_text()}'
            self.host.pump(0.5)

    def do(self, *words):
        subprocess.run(['xdotool', *map(str, words)], env=self.environment, check=True)

    def close(self):
        if self.program:
            try:
                os.killpg(self.program.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            self.program.wait()
        self.server.terminate()
        self.server.wait()


# The second call finds the first program by D-Bus, and has it show the list of guests as well.
MANAGER = ('virt-manager --no-fork -c "$0" --show-domain-console installed & '
           'while [ ! -e list-wanted ]; do sleep 1; done; virt-manager -c "$0"; wait')


def test_virt_manager_shows_it_in_a_window(host, tmp_path):
    for program in ('virt-manager', 'Xvfb', 'xwininfo', 'xdotool', 'dbus-run-session'):
        needs(program)
    screen = Screen(host, tmp_path)
    try:
        screen.run('dbus-run-session', '--', 'sh', '-c', MANAGER, host.ssh_uri)
        guest = screen.window(f'{TITLE} on ')
        screen.do('windowmove', guest, 0, 0, 'windowsize', guest, 1000, 700)
        # It has connected and draws the guest's text console; what is typed there reaches the guest.
        host.pump(20)
        screen.do('windowfocus', guest, 'mousemove', 500, 500, 'click', 1)
        screen.do('type', '--delay', 200, 'uname -a; echo typed in a window > /tmp/typed\n')
        host.pump(20)
        (tmp_path / 'list-wanted').touch()
        guests = screen.window('Virtual Machine Manager')
        screen.do('windowsize', guests, 480, 220, 'windowmove', guests, 510, 470)
        host.pump(10)
        picture = os.environ.get('SERAI_PICTURE')
        if picture and shutil.which('import'):
            subprocess.run(['import', '-silent', '-window', 'root', picture], env=screen.environment,
                           check=True)
        assert screen.program.poll() is None, screen.log.read_text()
    finally:
        screen.close()
    terminal = Console(host, 'installed')
    try:
        assert 'typed in a window' in terminal.run('cat /tmp/typed')
    finally:
        terminal.close()


def test_virt_clone_copies_it(host):
    needs('virt-clone')
    host.virsh('shutdown installed')
    wait_for_state(host, 'shut off', 'installed', 300)
    client(host, 'virt-clone', '--connect', host.uri, '--original', 'installed', '--name', 'copy', '--file',
           f'{IMAGES}/copy.img')
    host.virsh('start copy', timeout=600)
    boots(host, 'copy', 5)
    host.virsh('destroy copy')
    host.virsh('undefine copy')
    host.virsh('undefine installed')
    assert host.virsh('list --all --name').split() == ['Domain-0']
