#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A whole host in QEMU: firmware, GRUB, a hypervisor, Debian as dom0, libvirtd; driven from outside.

    with Host('serai') as host:                         # or 'xen', or 'bare'
        host.boot()
        print(host.run('uname -r'))                     # over ssh
        print(host.virsh('list --all'))                 # this machine's virsh, over TCP on loopback
        domain = host.connect().lookupByName('guest')   # libvirt-python

Each host writes to an overlay of its own, so the image is never harmed.  `tests/system/host.py serai`
boots one and leaves you at its console; `--file /boot/serai.gz=build/hv/serai.gz` tries a fresh build.
"""

import argparse
import functools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cache                                                            # noqa: E402
import image as host_image                                              # noqa: E402
import qemu                                                             # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
SEAMS = ('store', 'driver')
MACHINES = {'pc': 'pc', 'q35': 'q35'}
DISKS = {'virtio': ['-device', 'virtio-blk-pci,drive=disk'],
         'ahci': ['-device', 'ahci,id=sata', '-device', 'ide-hd,drive=disk,bus=sata.0'],
         'nvme': ['-device', 'nvme,drive=disk,serial=serai']}
NIC_MODULES = {'rtl8139': '8139cp'}


def packages():
    """The Serai packages to install: those of $SERAI_DEBS (a directory), or of build/debs."""
    directory = pathlib.Path(os.environ.get('SERAI_DEBS') or TOP / 'build/debs')
    return sorted(directory.glob('*.deb'))


class CommandFailed(AssertionError):
    """A command in the host ended with another status than 0."""


class Host(qemu.Qemu):
    """QEMU with the host image (see the top of the file).

    kind        'serai', 'xen' (Debian's, with all of Debian's stack), 'bare' (Linux alone)
    stock       the seams where Debian's part stands in for ours: 'store', 'driver'
    hypervisor  added to the hypervisor's command line; linux: to dom0's
    files       {path in the host: file here}, put in before the boot, besides those of $SERAI_FILES
                ("PATH=FILE ..."), by which a fresh build is tried without packages
    disk        'virtio', 'ahci' or 'nvme';  machine 'pc' or 'q35';  firmware 'bios' or 'uefi'
    nic         the network card, as QEMU and (but for virtio) Linux's module call it
    full        Debian as it comes, with nothing taken away to make it quick: three times as slow
    reboots     the machine may start again; otherwise QEMU ends where it would
    """

    def __init__(self, kind='serai', cpus=1, memory=2048, machine='pc', firmware='bios', disk='virtio',
                 nic='virtio-net-pci', full=False, stock=None, hypervisor='', linux='', files=None,
                 image=None, qemu_args=(), cpu=qemu.CPU, log=None, dom0_memory=1024, accel='tcg',
                 reboots=False, ssh_port=None):
        self.kind = kind
        self.image = image or host_image.build(packages())
        self._directory = tempfile.TemporaryDirectory(prefix='serai-host-')
        self.work = work = pathlib.Path(self._directory.name)
        self.ssh_port = ssh_port or qemu.free_port()
        self.tcp_port = qemu.free_port()
        self._connection = None

        backing = self.image / 'disk.raw'
        files = {**dict(f.split('=', 1) for f in os.environ.get('SERAI_FILES', '').split()), **(files or {})}
        if full:
            patience = work / 'patience.conf'
            patience.write_text('[Manager]\nDefaultDeviceTimeoutSec=900\n')
            files['/etc/systemd/system.conf.d/patience.conf'] = patience
        if files:
            backing = host_image.with_files(self.image, files, work / 'disk.raw',
                                            host_image.as_installed() if full else ())
        overlay = work / 'overlay.qcow2'
        cache.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', backing, overlay])

        stock = SEAMS if stock is None and kind != 'serai' else stock or ()
        linux = ' '.join([linux, *(f'testbed.{seam}=stock' for seam in stock)]).strip()
        if nic != 'virtio-net-pci':
            linux += f' modules_load={NIC_MODULES.get(nic, nic)}'
        # The machine below may be busy: what is late is not what is missing.
        linux += ' systemd.default_timeout_start_sec=900'
        if kind != 'bare':
            hypervisor = f'dom0_mem={dom0_memory}M,max:{dom0_memory}M {hypervisor}'.strip()
        else:
            linux += f' mem={dom0_memory}M'
        smbios = f'type=1,sku={kind},family={_plain(hypervisor)},serial={_plain(linux)}'
        args = ['-machine', MACHINES[machine], '-m', memory, '-smp', cpus, '-cpu', cpu if accel == 'tcg' else 'host',
                '-nodefaults', '-smbios', smbios,
                '-drive', f'file={overlay},if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap',
                *DISKS[disk], '-device', f'{nic},netdev=net,romfile=', '-netdev',
                f'user,id=net,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22,'
                f'hostfwd=tcp:127.0.0.1:{self.tcp_port}-:16509',
                '-device', 'virtio-rng-pci', '-qmp', f'unix:{work}/qmp,server=on,wait=off']
        if firmware == 'uefi':
            variables = work / 'vars.fd'
            shutil.copy('/usr/share/OVMF/OVMF_VARS_4M.fd', variables)
            args += ['-drive', 'if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd',
                     '-drive', f'if=pflash,format=raw,file={variables}']
        if not reboots:
            args += ['-no-reboot']
        self._ssh_files()
        super().__init__([*args, *qemu_args], log or work / 'console.log', accel)

    def _ssh_files(self):
        """One configuration for our own commands and for libvirt's xen+ssh transport."""
        config = self.work / 'ssh_config'
        # A socket's path has 107 bytes, and ssh adds 57 of its own: below a long TMPDIR none is shared.
        control = self.work / 'ssh-%C' if len(os.fsencode(self.work)) < 45 else 'none'
        config.write_text(f'''Host *
    HostName 127.0.0.1
    Port {self.ssh_port}
    User root
    IdentityFile {self.image}/key
    IdentitiesOnly yes
    UserKnownHostsFile {self.image}/known_hosts
    HostKeyAlias serai-host
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout 60
    ControlMaster auto
    ControlPath {control}
    ControlPersist yes
    LogLevel ERROR
''')
        self.ssh = self.work / 'ssh'
        self.ssh.write_text(f'#!/bin/sh\nexec ssh -F {config} "$@"\n')
        self.ssh.chmod(0o755)

    @property
    def uri(self):
        """For this machine's libvirt clients: quick, because nothing is encrypted."""
        return f'xen+tcp://127.0.0.1:{self.tcp_port}/system'

    @property
    def ssh_uri(self):
        """The way a user would come."""
        return f'xen+ssh://root@serai-host/system?command={self.ssh}&proxy=native'

    def boot(self, timeout=900):
        """Wait for the login prompt on the console and for the ssh daemon; timings are in .marks."""
        self.marks = {}
        if self.kind != 'bare':
            match = self.expect(r'^\((XEN|Serai)\)|^.*Press any key to continue', timeout)
            if match.group().endswith('continue'):
                raise AssertionError(f'GRUB could not boot the entry {self.kind}; see {self.log}\n{self.tail()}')
            self.marks['hypervisor'] = self.seconds()
        self.expect(r'Linux version', timeout)
        self.marks['dom0 kernel'] = self.seconds()
        self.expect(r'login:', timeout)
        self.marks['login'] = self.seconds()
        limit = time.monotonic() + 300
        while self.run('true', check=False)[0]:
            if time.monotonic() > limit or not self.alive():
                raise qemu.Timeout(f'no ssh; see {self.log}\n{self.tail()}')
            self.pump(0.5)
        self.marks['ssh'] = self.seconds()
        return self

    def run(self, command, timeout=300, check=True, input=None):
        """Run a shell command in the host; return its output, or with check=False (status, output)."""
        process = subprocess.Popen([str(self.ssh), 'serai-host', command],
                                   stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return self._finish(process, command, timeout, check, input)

    def virsh(self, arguments, timeout=300, check=True, uri=None):
        """Run virsh on this machine, connected to the host; ARGUMENTS as one would type them."""
        if isinstance(arguments, str):
            arguments = shlex.split(arguments)
        process = subprocess.Popen(['virsh', '-q', '-c', uri or self.uri, *arguments], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return self._finish(process, 'virsh ' + ' '.join(arguments), timeout, check)

    def _finish(self, process, what, timeout, check, input=None):
        try:
            output, _ = process.communicate(input.encode() if isinstance(input, str) else input, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            self.pump()
            raise qemu.Timeout(f'{what!r} took longer than {timeout} s:\n{output.decode(errors="replace")}\n'
                               f'{self.tail()}') from None
        finally:
            while self.alive() and self._ready():
                self.pump()
        output = output.decode(errors='replace')
        if not check:
            return process.returncode, output
        if process.returncode:
            raise CommandFailed(f'{what!r} ended with {process.returncode}:\n{output}')
        return output

    def _ready(self):
        import select
        before = len(self.text)
        if not select.select([self.process.stdout], [], [], 0)[0]:
            return False
        return self.pump() and len(self.text) > before

    def log_in(self, timeout=300):
        """Log in on the console, where boot() saw the prompt, by typing; the shell answers there."""
        self.send('root\n')
        self.expect(r'root@serai-host:.*# ?$', timeout)
        return self

    def type(self, command, timeout=300):
        """Type COMMAND to the console's shell; return what it printed.  Fails when its status is not 0."""
        self.send(f'{command}; echo "status=$?"\n')
        begin = self.expect(r'\n', timeout).end()
        match = self.expect(r'^status=(\d+)$', timeout)
        # The shell tells the terminal when to bracket what is pasted.
        output = re.sub(r'\x1b\[\??[0-9;]*[a-zA-Z]', '', self.text[begin:match.start()])
        if match.group(1) != '0':
            raise CommandFailed(f'{command!r} typed on the console ended with {match.group(1)}:\n{output}')
        return output

    def power_button(self):
        """Press the machine's power button."""
        import json
        import socket
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(str(self.work / 'qmp'))
            stream = s.makefile('rw')
            stream.readline()
            for command in ('qmp_capabilities', 'system_powerdown'):
                stream.write(json.dumps({'execute': command}) + '\n')
                stream.flush()
                while 'return' not in (answer := json.loads(stream.readline())):
                    assert 'error' not in answer, answer

    def reboot(self, timeout=900):
        """Reboot as an administrator would, and wait as boot() does; for a host made with reboots."""
        self.run('systemctl reboot', check=False)
        self.disconnect()
        return self.boot(timeout)

    def connect(self):
        """A libvirt connection to the host (libvirt-python), kept for the life of the host."""
        import libvirt
        _run_libvirt_events()
        if self._connection is None or not self._connection.isAlive():
            self._connection = libvirt.open(self.uri)
        return self._connection

    def put(self, source, target):
        """Copy a file of this machine into the host."""
        data = pathlib.Path(source).read_bytes()
        mode = '755' if os.access(source, os.X_OK) else '644'
        self.run(f'cat > {shlex.quote(target)} && chmod {mode} {shlex.quote(target)}', input=data)

    def get(self, source, target):
        """Copy a file of the host to this machine."""
        with open(target, 'wb') as file:
            subprocess.run([str(self.ssh), 'serai-host', f'cat {shlex.quote(source)}'],
                           stdin=subprocess.DEVNULL, stdout=file, check=True, timeout=300)

    def has(self, package):
        """Is PACKAGE installed in the host?"""
        return self.run(f'dpkg -s {package} >/dev/null 2>&1', check=False)[0] == 0

    def shutdown(self, timeout=180):
        """Power the host off as an administrator would; fails when it does not end."""
        self.disconnect()
        self.run('systemctl poweroff', check=False)
        self.wait(timeout)

    def disconnect(self):
        if self._connection is not None:
            try:
                self._connection.close()
            except Exception:       # the host may be gone already
                pass
            self._connection = None
        subprocess.run([str(self.ssh), '-O', 'exit', 'serai-host'], stdin=subprocess.DEVNULL,
                       capture_output=True)

    def kill(self):
        self.disconnect()
        super().kill()
        if self._directory is not None:
            self._directory.cleanup()
        self._directory = None


@functools.cache
def _run_libvirt_events():
    """Serve libvirt's event loop from a thread: a stream that does not block gets nothing without it."""
    import libvirt

    def serve():
        while True:
            libvirt.virEventRunDefaultImpl()

    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=serve, daemon=True).start()


def _plain(text):
    """SMBIOS strings pass through QEMU's option parser (commas double) and must not be empty."""
    return (text or '-').replace(',', ',,')


def main():
    import tiny
    parser = argparse.ArgumentParser(description='Boot a host and talk to it.  What follows -- goes to QEMU.')
    parser.add_argument('kind', nargs='?', default='serai', choices=['serai', 'xen', 'bare'])
    parser.add_argument('-c', '--command', help='run this in dom0 over ssh, then end')
    parser.add_argument('-m', '--memory', type=int, default=2048)
    parser.add_argument('--dom0-memory', type=int, default=1024)
    parser.add_argument('--cpus', type=int, default=1)
    parser.add_argument('--machine', default='pc', choices=['pc', 'q35'])
    parser.add_argument('--firmware', default='bios', choices=['bios', 'uefi'])
    parser.add_argument('--disk', default='virtio', choices=[*DISKS])
    parser.add_argument('--nic', default='virtio-net-pci', help='virtio-net-pci, e1000, e1000e or rtl8139')
    parser.add_argument('--full', action='store_true', help='Debian as it comes, slow')
    parser.add_argument('--stock', help='comma-separated seams where Debian\'s part stands: store, driver')
    parser.add_argument('--hypervisor', default='', help='added to the hypervisor\'s command line')
    parser.add_argument('--linux', default='', help='added to dom0\'s command line')
    parser.add_argument('--file', action='append', default=[], metavar='PATH=FILE',
                        help='put FILE in the host as PATH before the boot')
    parser.add_argument('--log', help='keep the console\'s words here')
    ours, rest = qemu.split_arguments(sys.argv[1:])
    options = parser.parse_args(ours)
    host = Host(options.kind, memory=options.memory, dom0_memory=options.dom0_memory, cpus=options.cpus,
                machine=options.machine, firmware=options.firmware, disk=options.disk,
                nic=options.nic, full=options.full,
                stock=None if options.stock is None else [s for s in options.stock.split(',') if s],
                hypervisor=options.hypervisor, linux=options.linux, log=options.log, qemu_args=rest,
                files=dict(f.split('=', 1) for f in options.file))
    with host:
        if options.command is None:
            print(f'ssh: {host.ssh} serai-host    virsh: virsh -c {host.uri}', flush=True)
            tiny.talk(host, None, shell=False)
        try:
            host.boot()
        except AssertionError as error:
            sys.exit(str(error))
        print(', '.join(f'{name} after {seconds:.1f} s' for name, seconds in host.marks.items()), flush=True)
        status, output = host.run(options.command, check=False, timeout=900)
        print(re.sub(r'\n?$', '', output))
        sys.exit(status)


if __name__ == '__main__':
    main()
