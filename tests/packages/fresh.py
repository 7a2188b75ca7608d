# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian 12 as somebody has it who knows nothing of Serai yet: libvirt, GRUB, a kernel, no hypervisor.

base() is that system as a tar archive.  Chroot is it in a directory, where packages are installed in seconds;
disk() is it on a disk, to be booted.  The packages that ours depend on lie in apt's cache inside, so that apt
needs no network.
"""

import os
import pathlib
import shutil
import sys
import tempfile
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'system'))
import cache                                                            # noqa: E402
import image                                                            # noqa: E402
import linux                                                            # noqa: E402

PACKAGES = ['systemd-sysv', 'udev', 'dbus', 'openssh-server', 'iproute2', 'kmod', 'procps', 'e2fsprogs',
            'linux-image-amd64', 'initramfs-tools', 'zstd', 'busybox-static', 'grub-pc-bin',
            'grub-efi-amd64-bin', 'grub2-common', 'libvirt-daemon-system', 'libvirt-clients']
# What ours need besides; not installed.
NEEDED = ['libjson-glib-1.0-0', 'libnl-route-3-200', 'libyajl2', 'gir1.2-glib-2.0', 'xenstore-utils',
          'libxencall1', 'libxenevtchn1', 'libxengnttab1', 'libxenforeignmemory1', 'libxendevicemodel1',
          'liblz4-1', 'libzstd1', 'liblzma5']

# Files that are named stand for an archive of their own: apt takes what it needs of Debian's besides.
INSTALL = 'apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0'


def base():
    key = cache.digest(' '.join(PACKAGES), ' '.join(NEEDED), ' '.join(image.EXCLUDE),
                       *(f'{n}={v}' for n, v in cache.candidates(PACKAGES + NEEDED)))

    def make(part):
        # Its initial ramdisk takes long to make, and disk() puts the test bed's in its place.
        image.debootstrap(part, PACKAGES, [
            '--skip=cleanup/apt', '--customize-hook=rm -f "$1"/var/cache/apt/archives/*.deb',
            '--customize-hook=chroot "$1" apt-get install -y --download-only ' + ' '.join(NEEDED)],
            INITRD='No')

    cache.prune('fresh-*.tar', 2)
    return cache.entry(f'fresh-{key}.tar', make)


class Chroot:
    """The system in a directory below the cache, for the duration of a `with`; nothing is started in it."""

    def __enter__(self):
        self._directory = tempfile.TemporaryDirectory(prefix='fresh-root-', dir=cache.root())
        self.root = pathlib.Path(self._directory.name)
        cache.run(['tar', '-x', '-f', base(), '-C', self.root])
        self.root.chmod(0o755)
        (self.root / 'usr/sbin/policy-rc.d').write_text('#!/bin/sh\nexit 101\n')
        (self.root / 'usr/sbin/policy-rc.d').chmod(0o755)
        (self.root / 'boot/grub').mkdir(exist_ok=True)
        # grub-probe asks for a disk, and there is none.
        probe = self.root / 'usr/sbin/grub-probe'
        probe.rename(probe.with_name('grub-probe.real'))
        probe.write_text(image.PROBE.replace('UUID', str(uuid.UUID(int=0))))
        probe.chmod(0o755)
        self.run('update-grub 2>&1')
        return self

    def __exit__(self, *exc):
        self._directory.cleanup()

    def run(self, command, check=True):
        """A shell command inside; its output."""
        return image._chroot(self.root, ['sh', '-c', command if check else f'{command} || true'])

    def install(self, debs):
        inside = self.root / 'root/debs'
        inside.mkdir(exist_ok=True)
        for deb in debs:
            shutil.copy(deb, inside)
        output = self.run(f'{INSTALL} --reinstall /root/debs/*.deb 2>&1')
        shutil.rmtree(inside)
        return output

    def files(self):
        """Every path with its kind, mode and contents, but for caches and logs."""
        found = {}
        for directory, names, files in os.walk(self.root):
            for name in [*names, *files]:
                path = pathlib.Path(directory) / name
                inside = str(path.relative_to(self.root))
                if not inside.startswith(NOT_STATE):
                    info = path.lstat()
                    found[inside] = (oct(info.st_mode), os.readlink(path) if path.is_symlink() else
                                     cache.digest(path) if path.is_file() else '')
        return found


# What every installation of anything leaves changed.
NOT_STATE = ('var/cache/', 'var/log/', 'var/lib/apt/', 'var/lib/dpkg/', 'root/', 'tmp/', 'etc/ld.so.cache',
             'usr/share/mime', 'proc/', 'sys/', 'dev/', 'run/')


def disk(out):
    """The system on the disk OUT/disk.raw with a key beside it, as image.build() does it for a Serai host."""
    with tempfile.TemporaryDirectory(prefix='fresh-disk-', dir=cache.root()) as work:
        work = pathlib.Path(work)
        root = work / 'root'
        root.mkdir()
        cache.run(['tar', '-x', '-f', base(), '-C', root])
        identity = str(uuid.uuid4())
        for name in ('etc/fstab', 'etc/hostname', 'etc/hosts', 'etc/ssh/sshd_config.d/testbed.conf',
                     'etc/systemd/system/testbed-network.service', 'usr/lib/testbed/network',
                     'etc/systemd/system/testbed-console.service', 'etc/modules-load.d/testbed.conf'):
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image.FILES / name, target)
        (root / 'etc/default/grub').write_text(GRUB)
        cache.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'serai test bed', '-f', out / 'key'])
        (root / 'root/.ssh').mkdir(mode=0o700, exist_ok=True)
        shutil.copy(out / 'key.pub', root / 'root/.ssh/authorized_keys')
        host_key = (root / 'etc/ssh/ssh_host_ed25519_key.pub').read_text().split()
        (out / 'known_hosts').write_text(f'serai-host {host_key[0]} {host_key[1]}\n')
        (root / 'etc/machine-id').write_text(uuid.uuid4().hex + '\n')
        image._chroot(root, ['passwd', '-d', 'root'])
        for unit in ('apt-daily.timer', 'apt-daily-upgrade.timer', 'dpkg-db-backup.timer',
                     'e2scrub_all.timer', 'fstrim.timer', 'logrotate.timer', 'systemd-binfmt.service',
                     'getty@tty1.service'):
            (root / 'etc/systemd/system' / unit).symlink_to('/dev/null')
        image._chroot(root, ['systemctl', 'enable', 'ssh', 'testbed-network', 'testbed-console'])
        (root / f'boot/initrd.img-{linux.Kernel().version}').touch()
        image._boot_files(root, identity)
        next((root / 'boot').glob('debian-initrd*')).unlink()
        # mmdebstrap's, which keeps packages from starting anything.
        (root / 'usr/sbin/policy-rc.d').unlink(missing_ok=True)
        image._guest_files(root)
        image._disk(root, out / 'disk.raw', identity, work)


GRUB = '''\
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_DISABLE_OS_PROBER=true
GRUB_TERMINAL=serial
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_CMDLINE_LINUX="net.ifnames=0"
GRUB_CMDLINE_LINUX_DEFAULT="console=ttyS0"
GRUB_CMDLINE_SERAI="console=com1 com1=115200,8n1 dom0_mem=1024M,max:1024M"
GRUB_CMDLINE_LINUX_SERAI_REPLACE_DEFAULT="console=hvc0"
'''
