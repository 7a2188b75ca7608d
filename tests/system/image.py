# SPDX-License-Identifier: LGPL-2.1-or-later
"""The host image: a disk with GRUB (BIOS and UEFI), Debian 12 as dom0, Serai's packages, Debian's Xen.

It is made without loop devices and without mounting anything: mmdebstrap writes a tar archive of the
system (kept in the cache, minutes to make), packages are added in a directory, mke2fs -d turns the
directory into a file system inside the disk file, and GRUB's two boot paths are written the way
grub-install would.  The menu is what update-grub makes inside the system.
"""

import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import uuid

import cache
import linux
import tiny

HERE = pathlib.Path(__file__).resolve().parent
FILES = HERE / 'image-files'
SUITE = 'bookworm'
PACKAGES = [
    # A small Debian that boots and can be reached.
    'systemd-sysv', 'udev', 'dbus', 'openssh-server', 'iproute2', 'iptables', 'kmod', 'procps', 'less',
    'e2fsprogs', 'psmisc', 'netcat-openbsd', 'linux-image-amd64', 'initramfs-tools', 'zstd', 'busybox-static',
    'grub-pc-bin', 'grub-efi-amd64-bin', 'grub2-common',
    # What the host is for.
    'libvirt-daemon-system', 'libvirt-daemon', 'libvirt-clients', 'libvirt-daemon-driver-xen',
    'dnsmasq-base', 'bridge-utils', 'openvswitch-switch', 'qemu-system-xen', 'qemu-utils', 'ovmf',
    'libxml2-utils',
    # The peer, and what tests and benchmarks call.
    'xen-hypervisor-4.17-amd64', 'xen-utils-4.17', 'xenstore-utils', 'python3', 'python3-libvirt',
    'libgirepository-1.0-1', 'strace', 'fio', 'iperf3',
    # What Serai's packages need besides.
    'libjson-glib-1.0-0', 'libnl-route-3-200', 'libyajl2', 'gir1.2-glib-2.0', 'python3-gi',
]
# Documentation, and drivers that an emulated machine cannot have.
EXCLUDE = ['usr/share/doc/*', 'usr/share/man/*', 'usr/share/locale/*', 'usr/share/info/*'] + [
    f'lib/modules/*/kernel/{p}/*' for p in
    ('sound', 'drivers/gpu', 'drivers/media', 'drivers/infiniband', 'drivers/iio', 'drivers/staging',
     'drivers/hwmon', 'drivers/comedi', 'drivers/isdn', 'drivers/bluetooth', 'drivers/net/wireless',
     'drivers/mtd', 'drivers/platform', 'drivers/usb', 'drivers/video', 'drivers/hid', 'drivers/nfc',
     'net/wireless', 'net/mac80211', 'net/bluetooth')]
MASKED = ['apt-daily.timer', 'apt-daily-upgrade.timer', 'dpkg-db-backup.timer', 'e2scrub_all.timer',
          'e2scrub_reap.service', 'fstrim.timer', 'logrotate.timer', 'systemd-tmpfiles-clean.timer',
          'getty@tty1.service', 'getty-static.service', 'systemd-pstore.service', 'xendomains.service',
          'systemd-update-utmp.service', 'systemd-update-utmp-runlevel.service', 'libvirt-guests.service',
          'systemd-journal-flush.service', 'systemd-random-seed.service', 'systemd-binfmt.service',
          'proc-sys-fs-binfmt_misc.automount', 'sys-kernel-debug.mount', 'sys-kernel-tracing.mount',
          'dev-mqueue.mount', 'machines.target', 'systemd-logind.service', 'networking.service',
          'qemu-kvm.service', 'remote-fs.target', 'xen.service', 'systemd-machined.service',
          'modprobe@configfs.service', 'modprobe@dm_mod.service', 'modprobe@fuse.service',
          'modprobe@loop.service', 'modprobe@drm.service', 'modprobe@efi_pstore.service',
          'sys-kernel-config.mount', 'sys-fs-fuse-connections.mount', 'dev-hugepages.mount',
          'systemd-network-generator.service', 'systemd-sysusers.service', 'systemd-pcrphase.service',
          'systemd-pcrphase-sysinit.service', 'systemd-repart.service', 'systemd-firstboot.service',
          'systemd-machine-id-commit.service', 'systemd-update-utmp.service', 'systemd-ask-password-console.path',
          'systemd-ask-password-wall.path', 'cryptsetup.target', 'veritysetup.target', 'integritysetup.target',
          'systemd-ask-password-wall.service', 'openvswitch-switch.service', 'ovs-record-hostname.service']
# Each is a process at every start of systemd.
GENERATORS = ['bless-boot', 'getty', 'cryptsetup', 'debug', 'gpt-auto', 'hibernate-resume', 'integritysetup', 'rc-local',
              'run', 'system-update', 'sysv', 'veritysetup']
ROOT_MIB, ESP_MIB = 4096, 32
WORK = 'base-'
SECTOR = 512
LABEL = 'serai-host'


def base(say):
    """The tar archive of Debian with PACKAGES; made with mmdebstrap when the cache has none."""
    versions = cache.candidates(PACKAGES)
    script = (HERE / 'image.py').read_text()
    recipe = script[script.index('PACKAGES ='):script.index('MASKED =')]
    key = cache.digest(recipe, *(f'{n}={v}' for n, v in versions))

    def make(part):
        say('a base system from Debian packages (mmdebstrap)')
        debootstrap(part, PACKAGES)

    cache.prune('base-*.tar', 2)
    return cache.entry(f'base-{key}.tar', make)


def debootstrap(part, packages, options=(), **environment):
    """Debian with PACKAGES as the tar archive PART; OPTIONS go to mmdebstrap after those of every archive."""
    debs = cache.root() / 'debs'
    debs.mkdir(exist_ok=True)
    # Its temporary directory lies where the next one takes it away if this is killed.
    with cache.lock('debs') as lock:
        remove_leftovers()
        with tempfile.TemporaryDirectory(prefix=WORK, dir=cache.root()) as work:
            os.chmod(work, 0o755)
            cache.run(['mmdebstrap', '--variant=minbase', '--format=tar', f'--include={",".join(packages)}',
                       '--aptopt=Apt::Install-Recommends "false"',
                       '--dpkgopt=force-unsafe-io',         # an archive that was cut off is made again
                       *(f'--dpkgopt=path-exclude=/{p}' for p in EXCLUDE),
                       '--skip=download/empty', '--skip=essential/unlink',
                       '--setup-hook=mkdir -p "$1"/var/cache/apt/archives',
                       f'--setup-hook=sync-in {debs} /var/cache/apt/archives',
                       '--customize-hook=rm -f "$1"/var/cache/apt/archives/lock',
                       f'--customize-hook=sync-out /var/cache/apt/archives {debs}',
                       *options, SUITE, part, '-'],
                      input=sources(), env={**os.environ, 'TMPDIR': work, **environment},
                      pass_fds=[lock.fileno()])


def remove_leftovers():
    """Work of killed mmdebstraps, mounts too; under the lock of `debs`, which each holds to its end."""
    for left in filter(pathlib.Path.is_dir, cache.root().glob(WORK + '*')):
        mounts = [line.split()[1].encode().decode('unicode_escape')
                  for line in pathlib.Path('/proc/self/mounts').read_text().splitlines()]
        for mount in reversed(mounts):
            if pathlib.Path(mount).is_relative_to(left):
                cache.run(['umount', mount])
        shutil.rmtree(left)


def sources():
    """Debian's archives as this machine uses them, as lines of sources.list."""
    text = cache.run(['apt-get', 'indextargets', '--format', '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)',
                      'Created-By: Packages'])
    lines = set()
    for line in text.splitlines():
        origin, uri, release, component = line.split('|')
        if origin == 'Debian' and release.startswith(SUITE) and not release.endswith('-backports'):
            lines.add(f'deb {uri} {release} {component}')
    if not lines:
        raise RuntimeError(f'apt on this machine knows no Debian {SUITE} archive; run scripts/install-deps')
    return '\n'.join(sorted(lines)) + '\n'


def _tree(directory):
    return [p for p in sorted(directory.rglob('*')) if p.is_file()]


def build(debs=(), say=lambda text: None):
    """The directory of a host image with the packages DEBS installed; a second call finds it made.

    It holds disk.raw (never to be written to: boot an overlay), key and known_hosts.
    """
    if os.geteuid():
        raise PermissionError('making the host image needs root (packages are installed in a chroot)')
    archive = base(say)
    # What a host runs: not what one compiles with or debugs with.
    debs = sorted(d for d in map(pathlib.Path, debs) if '-dev_' not in d.name and '-dbgsym_' not in d.name)
    parts = [p for f in _tree(FILES) for p in (str(f.relative_to(FILES)), f)]
    parts += [HERE / name for name in ('image.py', 'tiny.py', 'linux.py')]
    parts += [HERE.parents[1] / 'debian' / name for name in ('20_linux_serai', 'serai.cfg')]
    key = cache.digest(archive.name, *(p for d in debs for p in (d.name, d)), *parts)

    def make(part):
        part.mkdir(mode=0o700)
        with tempfile.TemporaryDirectory(prefix='serai-image-', dir=cache.root()) as work:
            _build(archive, debs, part, pathlib.Path(work), say)

    cache.prune('host-*', 3)
    return cache.entry(f'host-{key}', make)


def _build(archive, debs, out, work, say):
    root = work / 'root'
    root.mkdir()
    identity = str(uuid.uuid4())
    say('unpacking the base system')
    cache.run(['tar', '-x', '-f', archive, '-C', root])
    _configure(root, out)
    if debs:
        say('installing ' + ', '.join(d.name.split('_')[0] for d in debs))
        _install(root, debs)
    if not any(d.name.startswith('serai-hypervisor_') for d in debs):
        _stand_in(root)
    say('the boot menu (update-grub) and the initial ramdisk')
    _boot_files(root, identity)
    _guest_files(root)
    say('the disk')
    disk = out / 'disk.raw'
    _disk(root, disk, identity, work)


def _configure(root, out):
    """The test bed's own files, and a key for whoever made the image."""
    cache.run(['cp', '-r', '--no-preserve=ownership', f'{FILES}/.', root])
    cache.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'serai test bed', '-f', out / 'key'])
    (root / 'root/.ssh').mkdir(mode=0o700, exist_ok=True)
    shutil.copy(out / 'key.pub', root / 'root/.ssh/authorized_keys')
    host_key = (root / 'etc/ssh/ssh_host_ed25519_key.pub').read_text().split()
    (out / 'known_hosts').write_text(f'serai-host {host_key[0]} {host_key[1]}\n')

    # The stock driver is kept aside: the package of ours takes its place, and a test may want it back.
    stock = root / 'usr/lib/testbed/stock'
    stock.mkdir(parents=True)
    driver = 'usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_libxl.so'
    shutil.copy(root / driver, stock)
    model = (root / 'usr/share/libvirt/cpu_map/x86_qemu32.xml').read_text()
    (stock / 'x86_qemu32.xml').write_text(model.replace("    <feature name='sep'/>\n", ''))

    (root / 'etc/machine-id').write_text(uuid.uuid4().hex + '\n')
    (root / 'etc/resolv.conf').write_text('nameserver 10.0.2.3\n')
    for unit in MASKED:
        link = root / 'etc/systemd/system' / unit
        link.unlink(missing_ok=True)
        link.symlink_to('/dev/null')
    _chroot(root, ['passwd', '-d', 'root'])
    generators = root / 'etc/systemd/system-generators'
    generators.mkdir()
    for name in GENERATORS:
        (generators / f'systemd-{name}-generator').symlink_to('/dev/null')
    _chroot(root, ['systemctl', 'enable', 'ssh', *(f'testbed-{name}' for name in
                                                   ('select', 'network', 'stock-store', 'console'))])
    # Without TLS and passwords: reachable only through the ports that whoever starts QEMU forwards.
    conf = root / 'etc/libvirt/libvirtd.conf'
    conf.write_text(conf.read_text() + '\nauth_tcp = "none"\nauth_unix_rw = "none"\n')
    _chroot(root, ['systemctl', 'enable', 'libvirtd-tcp.socket'])


def _chroot(root, argv, **kwargs):
    env = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL': 'C.UTF-8', 'DEBIAN_FRONTEND': 'noninteractive',
           'HOME': '/root'}
    return cache.run(['chroot', root, *argv], env=env, **kwargs)


def _install(root, debs):
    """Install DEBS inside, with apt, so that conflicts and dependencies count; nothing is started."""
    policy = root / 'usr/sbin/policy-rc.d'
    policy.write_text('#!/bin/sh\nexit 101\n')
    policy.chmod(0o755)
    inside = root / 'var/cache/serai-debs'
    inside.mkdir(parents=True)
    for deb in debs:
        shutil.copy(deb, inside)
    try:
        _chroot(root, ['sh', '-c', 'apt-get install -y --no-install-recommends '
                       '/var/cache/serai-debs/*.deb'])
    finally:
        policy.unlink()
        shutil.rmtree(inside)


def _stand_in(root):
    """Without the package: a menu entry all the same, for a hypervisor that with_files() puts in."""
    debian = HERE.parents[1] / 'debian'
    shutil.copy(debian / '20_linux_serai', root / 'etc/grub.d')
    shutil.copy(debian / 'serai.cfg', root / 'etc/default/grub.d')
    (root / 'boot/serai.gz').write_bytes(b'')


# Answers to what grub-mkconfig asks about the disk, which does not exist yet.
PROBE = '''\
#!/bin/sh
for word; do case $word in --target=*) target=${word#--target=} ;; -t) target=next ;;
    *) [ "$target" = next ] && target=$word ;; esac; done
case $target in
device) echo /dev/vda3 ;;
fs) echo ext2 ;;
fs_uuid) echo UUID ;;
partmap) echo gpt ;;
drive) echo '(hd0,gpt3)' ;;
esac
'''


def _boot_files(root, identity):
    """What grub-install and update-grub put under /boot."""
    (root / 'etc/fstab').write_text(f'UUID={identity} / ext4 rw,noatime 0 0\n')
    for target in ('i386-pc', 'x86_64-efi'):
        shutil.copytree(root / 'usr/lib/grub' / target, root / 'boot/grub' / target,
                        ignore=lambda d, names: [n for n in names if not n.endswith(('.mod', '.lst'))])
    probe = root / 'usr/sbin/grub-probe'
    probe.rename(root / 'usr/sbin/grub-probe.real')
    by_uuid = root / 'dev/disk/by-uuid'
    try:
        probe.write_text(PROBE.replace('UUID', identity))
        probe.chmod(0o755)
        by_uuid.mkdir(parents=True, exist_ok=True)
        (by_uuid / identity).touch()
        _chroot(root, ['update-grub'])
    finally:
        shutil.rmtree(root / 'dev/disk')
        (root / 'usr/sbin/grub-probe.real').rename(probe)
    _initramfs(root)
    _chroot(root, ['grub-script-check', '/boot/grub/grub.cfg'])


def _initramfs(root):
    """An initramfs of busybox and a few modules in the place of Debian's, whose udev costs ten seconds.

    Debian's own stays beside it under another name.
    """
    kernel = linux.Kernel()
    image = root / f'boot/initrd.img-{kernel.version}'
    image.rename(image.with_name(f'debian-{image.name}'))
    image.write_bytes(tiny.root_initramfs(kernel, ['virtio_pci', 'virtio_blk', 'ahci', 'ata_piix', 'nvme',
                                                   'sd_mod'], '-o ro,noatime'))
    (root / 'etc/initramfs-tools/update-initramfs.conf').write_text('update_initramfs=no\nbackup_initramfs=no\n')


def _guest_files(root):
    """A guest's kernel, initramfs and disk, where libvirt looks for images."""
    images = root / 'var/lib/libvirt/images'
    kernel = linux.Kernel()
    (images / 'guest-kernel').write_bytes(tiny.zlib_gzip(kernel.elf.read_bytes()))
    (images / 'guest-vmlinuz').write_bytes(kernel.bzimage.read_bytes())
    (images / 'guest-initrd').write_bytes(tiny.guest_initramfs(kernel))
    disk = images / 'guest.img'
    disk.write_bytes(b'serai guest disk\n'.ljust(SECTOR, b'\0'))
    os.truncate(disk, 64 << 20)


def _disk(root, disk, identity, work):
    """Partition the disk file and fill its three partitions: GRUB's core, the EFI system, the root."""
    os.close(os.open(disk, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.truncate(disk, (ROOT_MIB + ESP_MIB + 4) << 20)
    table = ('label: gpt\n'
             'start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n'
             f'start=2MiB, size={ESP_MIB}MiB, type=uefi\n'
             f'start={2 + ESP_MIB}MiB, size={ROOT_MIB}MiB, type=linux\n')
    cache.run(['sfdisk', '-q', disk], input=table)
    cache.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-L', LABEL, '-U', identity, '-d', root,
               '-E', f'offset={(2 + ESP_MIB) << 20},lazy_itable_init=1,lazy_journal_init=1',
               '-O', '^metadata_csum_seed,^orphan_file', disk, f'{ROOT_MIB}M'])

    early = work / 'early.cfg'
    early.write_text(f'search.fs_uuid {identity} root\nset prefix=($root)/boot/grub\n')
    modules = root / 'usr/lib/grub'
    _grub_bios(modules / 'i386-pc', early, disk, work)
    _grub_efi(modules / 'x86_64-efi', early, disk, work)


def _grub_bios(modules, early, disk, work):
    """What grub-bios-setup does: core image into its partition, boot sector into the first sector."""
    core = work / 'core.img'
    cache.run(['grub-mkimage', '-O', 'i386-pc', '-d', modules, '-o', core, '-p', '/boot/grub', '-c', early,
               'biosdisk', 'part_gpt', 'ext2', 'search_fs_uuid', 'normal', 'configfile', 'gzio'])
    image, first = bytearray(core.read_bytes()), (1 << 20) // SECTOR
    # The last twelve bytes of the core's first sector say where the rest is: start, length, segment.
    struct.pack_into('<Q', image, SECTOR - 12, first + 1)
    boot = bytearray((modules / 'boot.img').read_bytes())
    struct.pack_into('<Q', boot, 0x5c, first)
    # The jump at 0x66 would make it doubt the drive number that the BIOS passes; a hard disk needs it not.
    boot[0x66:0x68] = b'\x90\x90'
    with open(disk, 'r+b') as f:
        f.seek(first * SECTOR)
        f.write(image)
        f.seek(0)
        # Up to the disk signature: what follows belongs to the partition table.
        f.write(boot[:0x1b8])


def _grub_efi(modules, early, disk, work):
    """GRUB as the fallback loader of a FAT partition."""
    loader = work / 'bootx64.efi'
    cache.run(['grub-mkimage', '-O', 'x86_64-efi', '-d', modules, '-o', loader, '-p', '/boot/grub', '-c', early,
               'part_gpt', 'ext2', 'search_fs_uuid', 'normal', 'configfile', 'gzio'])
    where = f'{disk}@@{2 << 20}'
    cache.run(['mformat', '-i', where, '-T', (ESP_MIB << 20) // SECTOR, '-v', 'SERAI-ESP', '::'])
    cache.run(['mmd', '-i', where, '::EFI', '::EFI/BOOT'])
    cache.run(['mcopy', '-i', where, loader, '::EFI/BOOT/BOOTX64.EFI'])


def as_installed():
    """The debugfs commands that undo on a disk what makes the test bed quick: Debian as it comes.

    Its own initramfs with udev, nothing masked, all generators, udev's whole walk, the usual login prompt.
    Only apt's timers stay away: at the first boot they would hold its lock.
    """
    version = linux.Kernel().version
    units = '/etc/systemd/system'
    gone = [f'{units}/{unit}' for unit in dict.fromkeys(MASKED) if not unit.startswith('apt-')]
    gone += [f'{units}-generators/systemd-{name}-generator' for name in GENERATORS]
    gone += [f'{units}/systemd-udev-trigger.service.d/testbed.conf', f'{units}/ssh.service.d/testbed.conf',
             f'{units}/multi-user.target.wants/testbed-console.service',
             '/etc/systemd/journald.conf.d/testbed.conf', f'/boot/initrd.img-{version}']
    return [*(f'rm {path}' for path in gone),
            f'symlink /boot/initrd.img-{version} debian-initrd.img-{version}']


def with_files(image, files, out, commands=()):
    """Copy the disk of IMAGE to OUT and put FILES {path inside: file here} in it, without mounting it.

    This is how a fresh build of one part is tried without making packages and an image.  COMMANDS of debugfs
    are run first.
    """
    cache.run(['cp', '--sparse=always', '--reflink=auto', image / 'disk.raw', out])
    _debugfs(out, commands)
    # debugfs follows links, so that a path through /lib reaches /usr/lib; a directory that is there stays as it is.
    directories = sorted({str(d) for path in files for d in pathlib.PurePosixPath(path).parents})
    commands = [f'mkdir {d}' for d in directories if d != '/']
    for path, source in files.items():
        commands += [f'rm {path}', f'write {source} {path}',
                     f'set_inode_field {path} mode {"0100755" if os.access(source, os.X_OK) else "0100644"}']
    _debugfs(out, commands)
    # Its exit status says nothing about single commands, so each file is looked for, with its size.
    said = _debugfs(out, [f'stat {path}' for path in files])
    for (path, source), answer in zip(files.items(), said.split('debugfs: stat ')[1:], strict=True):
        if f'Size: {os.path.getsize(source)}\n' not in answer:
            raise RuntimeError(f'{path} could not be written into {out}: {answer}')
    return out


def _debugfs(disk, commands):
    """Run COMMANDS of debugfs on the root file system of DISK; returns what it said, each command before its answer."""
    result = subprocess.run(['debugfs', '-w', '-f', '-', f'{disk}?offset={(2 + ESP_MIB) << 20}'],
                            input='\n'.join(commands) + '\n', text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode:
        raise RuntimeError(f'debugfs could not write into {disk}: {result.stdout}')
    return result.stdout
