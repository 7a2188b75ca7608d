# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest installed on a disk: a partition with a kernel, an initramfs, GRUB's menu and a system of busybox.

Nothing is mounted: mke2fs -d makes a file system of a directory, inside the partition of the disk file.  A
domain with this disk and without <kernel> boots through PV GRUB, which reads the menu as on a machine.
"""

import os
import pathlib
import stat
import tempfile

import cache
import linux
import tiny

DISK_MIB = 96
START = 1 << 20
UUID = 'a7b6e6f4-0b52-4b0e-8f67-5e5a1c0d0001'

# As update-grub writes it, short.
MENU = f'''\
set default=0
set timeout=0
insmod part_gpt
insmod ext2
search --no-floppy --fs-uuid --set=root {UUID}
menuentry 'Debian GNU/Linux' {{
    linux /boot/vmlinuz root=UUID={UUID} ro console=hvc0 quiet guest.shell
    initrd /boot/initrd.img
}}
'''
# The installed system: counts its boots on its own disk, then is a shell as other guests of the tests are.
INIT = '''\
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
echo boot >> /var/boots
sync
root=$(awk '$2 == "/" { print $3 }' /proc/mounts | tail -n 1)
echo "guest: installed, boot $(grep -c boot /var/boots), root $root"
echo "guest shell:"
while read -r line; do
    [ -n "$line" ] && { sh -c "$line"; echo "guest: status $?"; }
done
exec sleep 1000000
'''


def build():
    """The path of the disk file, in the cache; copy it before a guest writes to it."""
    kernel = linux.Kernel()

    def make(part):
        with tempfile.TemporaryDirectory(prefix='guest-disk-', dir=cache.root()) as work:
            root = pathlib.Path(work) / 'root'
            for directory in ('bin', 'sbin', 'boot/grub', 'proc', 'sys', 'dev', 'tmp', 'var', 'etc', 'root'):
                (root / directory).mkdir(parents=True)
            busybox = linux.busybox()
            linux.copy(busybox, root / 'bin/busybox')
            for applet in cache.run([busybox, '--list']).split():
                if applet != 'busybox':
                    (root / 'bin' / applet).symlink_to('busybox')
            (root / 'sbin/init').write_text(INIT)
            (root / 'sbin/init').chmod(0o755)
            for name in ('poweroff', 'reboot'):
                (root / 'sbin' / name).write_text(f'#!/bin/sh\n/bin/sync\nexec /bin/{name} -f\n')
                (root / 'sbin' / name).chmod(0o755)
            (root / 'etc/hostname').write_text('installed\n')
            (root / 'boot/vmlinuz').write_bytes(kernel.bzimage.read_bytes())
            (root / 'boot/initrd.img').write_bytes(tiny.root_initramfs(kernel, tiny.GUEST_MODULES))
            (root / 'boot/grub/grub.cfg').write_text(MENU)
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, stat.S_IRUSR | stat.S_IWUSR))
            os.truncate(part, DISK_MIB << 20)
            cache.run(['sfdisk', '-q', part], input=f'label: gpt\nstart={START // 512}, type=linux\n')
            cache.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-U', UUID, '-d', root, '-E',
                       f'offset={START},root_owner=0:0', '-O', '^metadata_csum_seed,^orphan_file', part,
                       f'{DISK_MIB - 2}M'])

    cache.prune('guest-disk-*.raw', 2)
    key = cache.digest(pathlib.Path(__file__), pathlib.Path(tiny.__file__), str(kernel.bzimage),
                       str(linux.busybox()))
    return cache.entry(f'guest-disk-{key}.raw', make)
