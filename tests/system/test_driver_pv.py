# SPDX-License-Identifier: LGPL-2.1-or-later
"""A paravirtualized guest with Debian's kernel, through everything virsh can do with it.

    SERAI_HOST=xen pytest tests/system/test_driver_pv.py      # our driver on Debian's Xen and store
    SERAI_HOST=serai pytest tests/system/test_driver_pv.py    # everything ours
    pytest tests/system/test_driver_pv.py --peer=store        # or hypervisor: only that is Debian's

One host is booted for all tests, and they run in the order they stand here: each leaves the guest running
for the next.  The guest's console is a shell that answers each line with "guest: status N".
"""

import contextlib
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import host as hosts                                                    # noqa: E402

KIND = os.environ.get('SERAI_HOST', 'serai')
IMAGES = '/var/lib/libvirt/images'
GUEST = f'''
<domain type='xen'>
  <name>pv</name>
  <memory unit='MiB'>128</memory>
  <vcpu>2</vcpu>
  <os>
    <type>linux</type>
    <kernel>{IMAGES}/guest-kernel</kernel>
    <initrd>{IMAGES}/guest-initrd</initrd>
    <cmdline>console=hvc0 quiet guest.shell</cmdline>
  </os>
  <on_reboot>restart</on_reboot>
  <devices>
    <disk type='file'>
      <driver name='qemu' type='raw'/>
      <source file='{IMAGES}/guest.img'/>
      <target dev='xvda' bus='xen'/>
    </disk>
    <interface type='bridge'>
      <source bridge='br0'/>
      <mac address='00:16:3e:00:00:21'/>
    </interface>
    <console type='pty'/>
  </devices>
</domain>
'''
# What a domain leaves in dom0 when something was forgotten: nodes, loop devices, interfaces, status files.
LEFTOVERS = ('xenstore-ls -f | sed "s/ = .*//" | grep -v "^/tool/"; losetup -n -O NAME -a; '
             'ls /sys/class/net | grep "^vif"; ls /run/libvirt/libxl/*.xml 2>/dev/null; '
             'ls /run/serai /var/run/serai 2>/dev/null | grep qemu; '
             'ls -d /sys/fs/cgroup/machine/xen-* 2>/dev/null; true')
# On a loaded machine an emulated host takes its time.
BOOT_TIMEOUT = int(os.environ.get('SERAI_BOOT_TIMEOUT', '900'))


class Console:
    """`virsh console` on a terminal of its own."""

    def __init__(self, host, name, device=None):
        self.text = ''
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvp('virsh', ['virsh', '-q', '-c', host.uri, 'console', '--force', name,
                                *(['--devname', device] if device else [])])
        # What is typed before virsh takes the terminal over is thrown away.
        limit = time.monotonic() + 60
        while termios.tcgetattr(self.terminal)[3] & termios.ICANON:
            assert time.monotonic() < limit, f'virsh console {name} does not begin'
            time.sleep(0.1)

    def expect(self, pattern, timeout=120):
        """Wait for PATTERN; return the match and what came before it."""
        limit = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.text)
            if found:
                before, self.text = self.text[:found.start()], self.text[found.end():]
                return found, before
            if time.monotonic() > limit:
                raise AssertionError(f'the guest did not say /{pattern}/ within {timeout} s, but:\n{self.text[-2000:]}')
            if select.select([self.terminal], [], [], 1)[0]:
                try:
                    data = os.read(self.terminal, 4096)
                except OSError:
                    data = b''
                if not data:
                    raise AssertionError(f'the console closed before /{pattern}/:\n{self.text[-2000:]}')
                self.text += data.decode(errors='replace').replace('\r', '')

    def run(self, command, timeout=120):
        """A command in the guest; its output.  Fails when its status is not 0."""
        self.text = ''
        os.write(self.terminal, command.encode() + b'\n')
        found, output = self.expect(r'guest: status (\d+)', timeout)
        assert found.group(1) == '0', f'{command!r} in the guest ended with {found.group(1)}: {output}'
        return output

    def wait_for(self, condition, seconds=60):
        """Wait until CONDITION, a command of the guest's shell, holds in the guest."""
        self.run(f'for i in $(seq {seconds}); do {condition} && exit 0; sleep 1; done; exit 1', 10 * seconds)

    def close(self):
        os.close(self.terminal)
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)


@contextlib.contextmanager
def booted(name, kind=KIND, stock=None, **options):
    """A host for the tests called NAME.

    On Debian's Xen the store is Debian's as well, unless STOCK says otherwise; the driver is ours.
    """
    if stock is None:
        stock = ['store'] if kind == 'xen' else []
    log = hosts.TOP / f'build/system-logs/{"-".join([name, kind, *stock])}.log'
    with hosts.Host(kind, stock=stock, log=log, **options) as machine:
        yield machine.boot(BOOT_TIMEOUT)


@pytest.fixture(scope='module')
def host(request, kind, stock):
    if 'driver' in stock and request.config.getoption('--peer'):
        pytest.skip('these are tests of our driver')
    seams = {'kind': kind, 'stock': stock} if request.config.getoption('--peer') else {}
    with booted('driver-pv', cpus=request.config.getoption('--cpus'), **seams) as machine:
        yield machine


def renamed(xml, name, last):
    """XML of the guest, or what was made of it, as domain NAME with LAST as the last byte of its MAC."""
    return xml.replace('<name>pv<', f'<name>{name}<').replace('00:16:3e:00:00:21', f'00:16:3e:00:00:{last}')


def leftovers(host):
    """What dom0 holds, but for the store's directories that stay after the first of their kind."""
    stays = r'/local/domain/0/(backend/\w+|device-model)|/serai/block'
    return {w for w in host.run(LEFTOVERS).split() if not re.fullmatch(stays, w)}


def held_after_first(host, xml, name):
    """What dom0 holds after a first guest, of the file XML, which makes directories that stay."""
    host.virsh(['create', str(xml), '--paused'], timeout=600)
    host.virsh(f'destroy {name}')
    return leftovers(host)


@pytest.fixture(scope='module')
def clean(host, tmp_path_factory):
    """What dom0 holds between guests.  The first one on a host makes directories that stay, so it comes before."""
    xml = tmp_path_factory.mktemp('first') / 'first.xml'
    xml.write_text(renamed(GUEST, 'first', '20'))
    return held_after_first(host, xml, 'first')


@pytest.fixture
def console(host):
    terminal = Console(host, 'pv')
    yield terminal
    terminal.close()


def created(host, xml, name):
    """Makes the transient guest NAME of the file XML, and waits until the shell on its console is there."""
    host.virsh(['create', str(xml)], timeout=600)
    terminal = Console(host, name)
    try:
        terminal.expect(r'guest shell:', 600)
    finally:
        terminal.close()


def domain_id(host, name='pv'):
    return host.virsh(f'domid {name}').strip()


def wait_for_state(host, state, name='pv', timeout=120):
    limit = time.monotonic() + timeout
    while host.virsh(f'domstate {name}').strip() != state:
        assert time.monotonic() < limit, f'{name} is not {state!r} but {host.virsh(f"domstate {name}").strip()!r}'
        time.sleep(1)


def test_the_driver_is_ours(host):
    assert host.virsh('uri').strip().startswith('xen')
    assert 'Xen 4.' in host.virsh('version')
    # An entry that the stock driver does not fill.
    assert 'Domain-0' in host.virsh('domstats Domain-0')


def test_define(host, clean, tmp_path):
    xml = tmp_path / 'pv.xml'
    xml.write_text(GUEST)
    host.virsh(['define', str(xml)])
    assert 'shut off' in host.virsh('list --all')


def test_start_and_console(host):
    host.virsh('start pv --paused')
    assert host.virsh('domstate pv').strip() == 'paused'
    terminal = Console(host, 'pv')
    try:
        host.virsh('resume pv')
        terminal.expect(r'guest: alive, 2 cpu', 300)
        terminal.expect(r'guest shell:', 60)
        # Its clock is the host's.
        clock = int(re.search(r'^@(\d+)', terminal.run('date +@%s'), re.M).group(1))
        assert abs(clock - int(host.run('date +%s'))) < 300
    finally:
        terminal.close()


def test_disk_and_network_carry_data(host, console):
    console.run('dd if=/dev/xvda of=/dev/null bs=64k count=16')
    console.run('ip addr add 10.0.2.77/24 dev eth0 && ip link set eth0 up')
    console.run('ping -c 1 -W 20 10.0.2.2')
    stats = host.virsh('domstats pv')
    assert int(re.search(r'block\.0\.rd\.bytes=(\d+)', stats).group(1)) >= 1024 * 1024
    assert int(re.search(r'net\.0\.tx\.pkts=(\d+)', stats).group(1)) > 0
    assert int(re.search(r'cpu\.time=(\d+)', stats).group(1)) > 0


def test_suspend_and_resume(host, console):
    host.virsh('suspend pv')
    assert host.virsh('domstate pv').strip() == 'paused'
    host.virsh('resume pv')
    console.run('true')


def test_attach_and_detach_a_disk(host, console):
    host.run(f'truncate -s 4M {IMAGES}/extra.img && printf hello | dd of={IMAGES}/extra.img conv=notrunc 2>/dev/null')
    host.virsh(f'attach-disk pv {IMAGES}/extra.img xvdb --driver qemu --subdriver raw')
    console.wait_for('[ -b /dev/xvdb ]')
    console.run('[ "$(dd if=/dev/xvdb bs=5 count=1 2>/dev/null)" = hello ]')
    host.virsh('detach-disk pv xvdb')
    assert 'xvdb' not in host.virsh('domblklist pv')
    # The backend is closed; the guest's kernel takes its device away when it has seen that.
    console.wait_for('[ ! -b /dev/xvdb ]')


def test_attach_and_detach_an_interface(host, console):
    host.virsh('attach-interface pv bridge br0 --mac 00:16:3e:00:00:22')
    console.wait_for('[ "$(cat /sys/class/net/eth1/address)" = 00:16:3e:00:00:22 ]')
    host.virsh('detach-interface pv bridge --mac 00:16:3e:00:00:22')
    # The backend is closed; the guest's kernel takes its device away when it has seen that.
    console.wait_for('[ ! -e /sys/class/net/eth1 ]')


def test_a_vcpu_goes_and_comes(host, console):
    # Taking a CPU away stops all of the guest's CPUs at once, which takes long where they share a slow one.
    host.virsh('setvcpus pv 1 --live')
    console.wait_for('[ $(nproc) = 1 ]')
    host.virsh('setvcpus pv 2 --live')
    console.wait_for('(echo 1 > /sys/devices/system/cpu/cpu1/online; [ $(nproc) = 2 ])')


def test_memory_goes_down_and_up(host, console):
    host.virsh('setmem pv 96M --live')
    limit = time.monotonic() + 120
    while int(re.search(r'Used memory: *(\d+)', host.virsh('dominfo pv')).group(1)) > 97 * 1024:
        assert time.monotonic() < limit, host.virsh('dominfo pv')
        time.sleep(1)
    host.virsh('setmem pv 128M --live')
    console.run('true')


def test_limits_of_block_io_hold_the_kernels_threads(host):
    """Writes of 4 MiB, with a limit of 1 MiB in a second, which a restart of libvirtd keeps, and without."""
    def seconds():
        # A console ends with the daemon.
        terminal = Console(host, 'pv')
        try:
            begin = time.monotonic()
            terminal.run('dd if=/dev/zero of=/dev/xvda bs=64k count=64 oflag=direct 2>/dev/null', 600)
            return time.monotonic() - begin
        finally:
            terminal.close()

    device = host.run(f'findmnt -n -o SOURCE -T {IMAGES}').strip()
    device = f"/dev/{host.run(f'lsblk -n -o PKNAME {device}').strip()}"
    host.virsh(f'blkiotune pv --device-write-bytes-sec {device},1048576 --live')
    host.run('systemctl restart libvirtd')
    assert f'{device},1048576' in host.virsh('blkiotune pv --live')
    held = seconds()
    host.virsh(f'blkiotune pv --device-write-bytes-sec {device},0 --live')
    lifted = seconds()
    assert held > 3.5 and held > 2 * lifted, (held, lifted)
    status, said = host.virsh('blkiotune pv --device-write-bytes-sec /dev/null,1 --live', check=False)
    assert status and 'no block device' in said, said


def test_save_and_restore_keep_the_guest(host, console):
    console.run('echo here > /tmp/marker')
    before = domain_id(host)
    host.virsh(f'save pv {IMAGES}/pv.save', timeout=600)
    wait_for_state(host, 'shut off')
    host.virsh(f'restore {IMAGES}/pv.save', timeout=600)
    assert domain_id(host) != before
    terminal = Console(host, 'pv')
    try:
        terminal.run('[ "$(cat /tmp/marker)" = here ]')
        terminal.run('dd if=/dev/xvda of=/dev/null bs=64k count=4')
    finally:
        terminal.close()


def test_managed_save_is_taken_up(host):
    host.virsh('managedsave pv', timeout=600)
    assert 'Managed save:   yes' in host.virsh('dominfo pv')
    host.virsh('start pv', timeout=600)
    terminal = Console(host, 'pv')
    try:
        terminal.run('[ "$(cat /tmp/marker)" = here ]')
    finally:
        terminal.close()


def test_dump_is_an_elf_core(host):
    host.virsh(f'dump pv {IMAGES}/pv.core --memory-only', timeout=600)
    assert host.run(f'head -c 4 {IMAGES}/pv.core | od -An -c').split() == ['177', 'E', 'L', 'F']
    host.run(f'rm {IMAGES}/pv.core')
    assert host.virsh('domstate pv').strip() == 'running'


@pytest.mark.parametrize('options', ['', '--live', '--bypass-cache'])
def test_dump_of_kdump_gives_makedumpfile_the_log_of_the_kernel(host, console, tmp_path, options):
    """It finds the log by the tables of the dump, from the addresses in the kernel's own VMCOREINFO."""
    if not shutil.which('makedumpfile'):
        pytest.skip('makedumpfile is not installed')
    console.run(f'echo "a line for the dump {options}" > /dev/kmsg')
    host.virsh(f'dump pv {IMAGES}/pv.kdump --memory-only --format kdump-zlib {options}', timeout=600)
    host.get(f'{IMAGES}/pv.kdump', tmp_path / 'dump')
    host.run(f'rm {IMAGES}/pv.kdump')
    if options == '--bypass-cache':
        (tmp_path / 'dump').rename(tmp_path / 'flattened')
        with open(tmp_path / 'flattened') as flattened:
            subprocess.run(['makedumpfile', '-R', tmp_path / 'dump'], stdin=flattened, check=True)
    subprocess.run(['makedumpfile', '--dump-dmesg', tmp_path / 'dump', tmp_path / 'log'], check=True)
    assert f'a line for the dump {options}'.rstrip() in (tmp_path / 'log').read_text()
    assert (tmp_path / 'dump').stat().st_size < 64 << 20
    assert host.virsh('domstate pv').strip() == 'running'


def test_a_restart_of_the_daemon_finds_the_guest(host):
    before = domain_id(host)
    host.run('pkill -KILL -x libvirtd; sleep 1; systemctl reset-failed libvirtd; systemctl restart libvirtd',
             check=False)
    limit = time.monotonic() + 180
    while host.virsh('list', check=False)[0]:
        assert time.monotonic() < limit, 'libvirtd does not come back'
        time.sleep(2)
    assert domain_id(host) == before
    assert host.virsh('domstate pv').strip() == 'running'


def test_reboot_gives_a_new_guest(host):
    before = domain_id(host)
    host.virsh('reboot pv')
    limit = time.monotonic() + 240
    while domain_id(host) in (before, '-'):
        assert time.monotonic() < limit, 'the guest does not reboot'
        time.sleep(1)
    terminal = Console(host, 'pv')
    try:
        terminal.expect(r'guest shell:', 300)
        terminal.run('[ ! -e /tmp/marker ]')
    finally:
        terminal.close()


def test_a_crash_is_told(host, console):
    os.write(console.terminal, b'echo c > /proc/sysrq-trigger\n')
    wait_for_state(host, 'shut off')
    assert 'crashed' in host.virsh('domstate pv --reason')


def test_destroy(host):
    host.virsh('start pv', timeout=600)
    host.virsh('destroy pv')
    assert host.virsh('domstate pv').strip() == 'shut off'


def test_a_frame_buffer_is_seen_and_typed_at_and_a_disk_is_limited(host, clean, tmp_path):
    xml = tmp_path / 'screen.xml'
    xml.write_text(renamed(GUEST, 'screen', '41')
                   .replace('<target dev=', '<iotune><total_bytes_sec>1048576</total_bytes_sec></iotune><target dev=')
                   .replace("<console type='pty'/>", "<console type='pty'/><graphics type='vnc' autoport='yes'/>"))
    host.virsh(['create', str(xml)], timeout=600)
    try:
        terminal = Console(host, 'screen')
        try:
            terminal.expect(r'guest shell:', 300)
            terminal.run('dd if=/dev/xvda of=/dev/null bs=64k count=4')
        finally:
            terminal.close()
        # QEMU has a screen once the guest's driver has given it one.
        picture = tmp_path / 'screen.ppm'
        host.virsh(f'screenshot screen {picture}')
        assert picture.read_bytes()[:3] == b'P6\n'
        host.virsh('send-key screen KEY_LEFTCTRL KEY_C')
        host.virsh('blkdeviotune screen xvda --total-bytes-sec 0 --read-bytes-sec 2097152 --live')
        assert re.search(r'read_bytes_sec *: 2097152', host.virsh('blkdeviotune screen xvda'))
        assert re.search(r':\d+', host.virsh('vncdisplay screen'))
    finally:
        host.virsh('destroy screen')
    # virtlogd wrote down how QEMU began, what it said at its end, and why that was.
    log = host.run('cat /var/log/libvirt/libxl/screen.log')
    assert re.match(r'[^\n]*: starting up libvirt version: [^\n]*\n/\S*qemu-system-i386 [^\n]*-vnc [^\n]*'
                    r'\n.*terminating on signal 15.*shutting down, reason=destroyed\n$', log, re.S), log
    assert leftovers(host) - clean == set()


def test_a_domain_destroyed_behind_our_back_is_shut_off(host):
    host.virsh('start pv', timeout=600)
    host.run('xl destroy pv')
    wait_for_state(host, 'shut off', timeout=60)
    host.virsh('start pv', timeout=600)
    host.virsh('destroy pv')


def test_a_start_that_fails_says_why_and_leaves_nothing(host, clean, tmp_path):
    xml = tmp_path / 'bad.xml'
    xml.write_text(renamed(GUEST, 'bad', '31').replace('guest.img', 'no-such.img'))
    code, text = host.virsh(['create', str(xml)], check=False)
    assert code != 0 and 'no-such.img' in text and 'bad' in text
    assert 'cause is unknown' not in text
    assert leftovers(host) - clean == set()


def test_a_qemu_that_does_not_start_is_quoted(host, clean, tmp_path):
    host.run('cat > /root/mute && chmod 755 /root/mute',
             input='#!/bin/sh\necho words of its own >&2\nexit 3\n')
    xml = tmp_path / 'mute.xml'
    devices = '<devices><emulator>/root/mute</emulator><graphics type="vnc"/>'
    xml.write_text(renamed(GUEST, 'mute', '42').replace('<devices>', devices))
    status, said = host.virsh(['create', str(xml)], timeout=600, check=False)
    assert status and 'words of its own' in said, said
    assert leftovers(host) - clean == set()


def test_undefine_leaves_nothing(host, clean):
    host.virsh('undefine pv --managed-save')
    assert 'pv' not in host.virsh('list --all')
    limit = time.monotonic() + 60
    while leftovers(host) - clean:
        assert time.monotonic() < limit, f'left behind: {sorted(leftovers(host) - clean)}'
        time.sleep(2)


if __name__ == '__main__':
    sys.exit(subprocess.call([sys.executable, '-m', 'pytest', '-v', '-x', __file__, *sys.argv[1:]]))
