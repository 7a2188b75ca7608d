#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A dom0 that boots in seconds: Debian's kernel, busybox and Xen's own tools in one initramfs.

QEMU loads the hypervisor with -kernel, and dom0's kernel and initramfs with -initrd, so neither GRUB nor
a disk nor systemd is in the way.  The console is the serial port.  Two ways to use it:

    with Tiny('serai', script='xl list; xl create /etc/guest.cfg') as t:
        t.done()                                # the script's output is in t.output

    with Tiny('serai') as t:
        t.boot()
        t.run('xenstore-ls')                    # typed on the console; fails when the command fails

From a shell: `tests/system/tiny.py serai` types to it, `tests/system/tiny.py xen -c 'xl info'` runs one
script.  The first word says what is below: `serai` (build/hv/serai, or $SERAI_HV), `xen` (Debian's), or
`bare` (only the kernel).  A guest kernel, its initramfs and /etc/guest.cfg lie ready in dom0.
"""

import argparse
import itertools
import os
import pathlib
import re
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cache                                                            # noqa: E402
import linux                                                            # noqa: E402
import qemu                                                             # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
XEN_PACKAGES = ['xen-utils-4.17', 'xen-utils-common', 'xenstore-utils', 'libxenmisc4.17', 'libxencall1',
                'libxendevicemodel1', 'libxenevtchn1', 'libxenforeignmemory1', 'libxengnttab1',
                'libxenhypfs1', 'libxenstore4', 'libxentoolcore1', 'libxentoollog1', 'libyajl2']
MODULES = ['xen-evtchn', 'xen-gntdev', 'xen-gntalloc', 'xenfs', 'xen-privcmd', 'xen-blkback', 'xen-netback',
           'bridge', 'loop', 'tun']
GUEST_MODULES = ['xen-blkfront', 'xen-netfront']
TOOLS = ['xl', 'xenstored', 'oxenstored', 'xenconsoled', 'xenconsole', 'xen-init-dom0', 'libxl-save-helper',
         'xenstore-control', 'xenperf', 'xentop', 'readnotes', 'xen-cpuid', 'xen-hvmctx', 'xen-hptool',
         'lsevtchn', 'xen-diag']
# Xen's hotplug scripts use options of these that busybox does not have.
GNU_PROGRAMS = ['/usr/bin/stat', '/usr/bin/flock', '/usr/sbin/losetup']

INIT = '''\
#!/bin/sh
export PATH=/usr/local/bin:/usr/lib/xen-4.17/bin:/usr/sbin:/usr/bin:/sbin:/bin LD_LIBRARY_PATH=/usr/lib/xen-4.17/lib
export HOME=/ TERM=vt102
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin     # Xen's locks ask about it
mkdir -p /dev/pts /dev/shm /run/xen /run/xenstored /var/lib/xen /var/log/xen /tmp
mount -t devpts pts /dev/pts
mount -t tmpfs run /run
mkdir -p /run/xen /run/xenstored /run/lock /var/log/xen/console
ln -s /run /var/run
ln -s /run/lock /var/lock
ln -s /proc/self/fd /dev/fd
for m in $(cat /etc/module-order); do insmod /lib/modules/$m || echo "module $m refused"; done
ip link set lo up
[ -d /proc/xen ] && mount -t xenfs xenfs /proc/xen
. /etc/tiny.conf
if [ -n "$STORE" ] && grep -q control_d /proc/xen/capabilities 2>/dev/null; then
    $STORE &
    until [ -S /run/xenstored/socket ]; do usleep 20000; done
    xen-init-dom0
    $CONSOLE
fi
ip link add xenbr0 type bridge && ip addr add 192.168.200.1/24 dev xenbr0 && ip link set xenbr0 up
[ -f /etc/prepare ] && . /etc/prepare
if [ -f /etc/script ]; then
    echo "@@script"
    sh /etc/script
    echo "@@end $?@@"
    sync
    poweroff -f
fi
# An echo of what is typed at once would stand between the words that tests wait for.
stty -echo 2>/dev/null
echo "@@ready"
while read -r line; do
    case $line in
    "@run "*)
        set -- $line
        echo "$3" | base64 -d >/tmp/command
        echo "@@begin $2"
        sh /tmp/command </dev/null 2>&1
        echo "@@end $2 $?@@" ;;
    "@shell") echo "a shell on the console; exit ends it"; stty echo; setsid -c sh -i; stty -echo ;;
    "") ;;
    *) sh -c "$line" </dev/null; echo "@@status $?" ;;
    esac
done
echo "@@the console is closed"
while :; do sleep 1000; done
'''

# What the guest does: say that it is there, show what it was given, then echo what is typed.
GUEST_INIT = '''\
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in $(cat /etc/module-order); do insmod /lib/modules/$m; done
ip link set lo up
for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /sys/class/net/eth0 ] && break; usleep 50000; done
for word in $(cat /proc/cmdline); do
    case $word in
    guest.ip=*) ip addr add ${word#guest.ip=}/24 dev eth0 && ip link set eth0 up ;;
    guest.then=*) then=${word#guest.then=} ;;
    esac
done
echo "guest: alive, $(nproc) cpu, $(awk '/MemTotal/ { print $2 }' /proc/meminfo) kB," \\
    "disks:" $(ls /sys/class/block)
[ -f /etc/guest-run ] && . /etc/guest-run
case $then in
poweroff|reboot|halt) $then -f ;;
crash) echo c > /proc/sysrq-trigger ;;
esac
hostname guest
if grep -q guest.shell /proc/cmdline; then
    # For tests: each line is a command, and its status comes back.
    echo "guest shell:"
    while read -r line; do
        [ -n "$line" ] && { sh -c "$line"; echo "guest: status $?"; }
    done
fi
for console in $(cat /sys/class/tty/console/active); do :; done
while :; do setsid -c getty -L 115200 $console vt102; done
'''

GUEST_CONFIG = '''\
name = "guest"
type = "pv"
kernel = "/boot/guest-kernel"
ramdisk = "/boot/guest-initrd"
extra = "console=hvc0 quiet"
memory = 96
vcpus = 1
'''


# For scripts in dom0: wait-guest NAME PATTERN [SECONDS] shows a guest's console once PATTERN came.
WAIT_GUEST = '''\
#!/bin/sh
log=/var/log/xen/console/guest-$1.log
left=$((${3:-60} * 5))
while [ $left -gt 0 ]; do
    grep -q "$2" $log 2>/dev/null && { cat $log; exit 0; }
    usleep 200000
    left=$((left - 1))
done
echo "no $2 on the console of $1:"
cat $log
exit 1
'''


# For scripts in dom0: in-guest NAME COMMAND types COMMAND at the console of a guest that has guest.shell on
# its command line, shows what came, and ends with the command's status.
IN_GUEST = '''\
#!/bin/sh
log=/var/log/xen/console/guest-$1.log
tty=$(xenstore-read /local/domain/$(xl domid $1)/console/tty) || exit 1
before=$(($(wc -c <$log) + 1))
echo "$2" >$tty
left=300
until tail -c +$before $log | grep -q '^guest: status'; do
    [ $left -gt 0 ] || { echo "no answer from $1:"; tail -c +$before $log; exit 1; }
    usleep 200000
    left=$((left - 1))
done
tail -c +$before $log | tr -d '\\r' | grep -v '^guest: status'
exit $(tail -c +$before $log | tr -d '\\r' | sed -n 's/^guest: status //p' | tail -1)
'''


def guest_initramfs(kernel, script=None, programs=(), modules=GUEST_MODULES):
    """The guest's initramfs, packed: busybox, MODULES (the two frontends) and an init.

    SCRIPT is taken in by that init once the devices are there; PROGRAMS is
    {path in the guest: static program here}.
    """
    tree = linux.Initramfs()
    busybox_tree(tree)
    add_modules(tree, kernel, modules)
    tree.file('init', GUEST_INIT, 0o755)
    tree.file('etc/passwd', 'root::0:0:root:/root:/bin/sh\n')
    tree.file('etc/group', 'root:x:0:\n')
    tree.file('etc/issue', 'A guest.  root has no password.\n')
    # What the kernel runs when it is told from outside to shut down.
    for name in ('poweroff', 'reboot'):
        tree.file(f'sbin/{name}', f'#!/bin/sh\nexec /bin/{name} -f\n', 0o755)
    if script is not None:
        tree.file('etc/guest-run', script)
    for path, source in dict(programs).items():
        tree.file(path, pathlib.Path(source).read_bytes(), 0o755)
    return zlib_gzip(tree.archive())


# Goes on in the system on the disk that the command line names.
ROOT_INIT = '''\
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in $(cat /etc/module-order); do insmod /lib/modules/$m; done
for word in $(cat /proc/cmdline); do
    case $word in root=*) root=${word#root=} ;; esac
done
until mount -t ext4 OPTIONS "$root" /root 2>/dev/null; do usleep 20000; done
mount -o move /dev /root/dev
umount /proc /sys
exec switch_root /root /sbin/init
'''


def root_initramfs(kernel, modules, options=''):
    """An initramfs, packed, that mounts the root file system, ext4, by MODULES and with OPTIONS of mount."""
    tree = linux.Initramfs()
    busybox_tree(tree)
    add_modules(tree, kernel, [*modules, 'ext4', 'crc32c_generic'])
    tree.file('init', ROOT_INIT.replace('OPTIONS', options), 0o755)
    return zlib_gzip(tree.archive())


def busybox_tree(tree):
    busybox = linux.busybox()
    tree.file('bin/busybox', busybox.read_bytes(), 0o755)
    for applet in cache.run([busybox, '--list']).split():
        if applet != 'busybox':
            tree.link(f'bin/{applet}', 'busybox')
    for path in ('proc', 'sys', 'dev', 'tmp', 'run', 'root', 'etc'):
        tree.directory(path)
    # The kernel opens /dev/console before init can mount anything.
    tree.device('dev/console', 5, 1)
    tree.device('dev/null', 1, 3, 0o666)


def add_modules(tree, kernel, names):
    order = kernel.modules(names)
    for path in order:
        tree.file(f'lib/modules/{path.name}', path.read_bytes())
    tree.file('etc/module-order', '\n'.join(p.name for p in order) + '\n')


def zlib_gzip(data):
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def base_initramfs(kernel):
    """Everything in dom0 that does not change from run to run, as a cpio archive in the cache."""
    tools = cache.unpacked(XEN_PACKAGES)
    busybox = linux.busybox()

    def make(part):
        tree = linux.Initramfs()
        busybox_tree(tree)
        add_modules(tree, kernel, MODULES)
        libraries = [tools / 'usr/lib/x86_64-linux-gnu', tools / 'usr/lib/xen-4.17/lib']
        for name in TOOLS:
            tree.program(f'usr/lib/xen-4.17/bin/{name}', tools / 'usr/lib/xen-4.17/bin' / name, libraries)
        # One binary under the names of all store clients.
        for path in sorted((tools / 'usr/bin').glob('xenstore*')):
            tree.program(f'usr/bin/{path.name}', path, libraries)
        for path in sorted((tools / 'etc/xen').rglob('*')):
            if path.is_file():
                tree.file(str(path.relative_to(tools)), path)
        for path in sorted((tools / 'usr/lib/xen-common').rglob('*')):
            if path.is_file():
                tree.file(str(path.relative_to(tools)), path)
        for path in ('/bin/bash', '/sbin/ip', '/sbin/bridge'):
            path = pathlib.Path(path).resolve()
            tree.program(f'usr/local/bin/{path.name}', path)
        for path in GNU_PROGRAMS:
            tree.program(f'bin/{pathlib.Path(path).name}', path)
        # pthread_cancel loads it by name, so ldd does not show it.
        tree.file('lib/x86_64-linux-gnu/libgcc_s.so.1', pathlib.Path('/lib/x86_64-linux-gnu/libgcc_s.so.1'))
        tree.file('usr/bin/wait-guest', WAIT_GUEST, 0o755)
        tree.file('usr/bin/in-guest', IN_GUEST, 0o755)
        tree.link('bin/bash', '/usr/local/bin/bash')
        tree.link('usr/lib/x86_64-linux-gnu', '../../lib/x86_64-linux-gnu')
        tree.file('boot/guest-kernel', zlib_gzip(kernel.elf.read_bytes()))
        tree.file('boot/guest-initrd', guest_initramfs(kernel))
        tree.file('etc/guest.cfg', GUEST_CONFIG)
        tree.file('etc/passwd', 'root:x:0:0:root:/:/bin/sh\n')
        tree.file('etc/group', 'root:x:0:\n')
        tree.write(part)

    # The archive depends on this file too: a change of what goes in makes another entry.
    key = cache.digest(pathlib.Path(__file__).read_text(), str(tools), str(kernel.elf), str(busybox))
    cache.prune('tiny-*.cpio', 4)
    return cache.entry(f'tiny-{key}.cpio', make)


def hypervisor(kind):
    """The ELF image of the hypervisor that KIND names, or None for the bare kernel."""
    if kind == 'bare':
        return None
    if kind == 'serai':
        path = pathlib.Path(os.environ.get('SERAI_HV') or TOP / 'build/hv/serai')
        if not path.exists():
            raise FileNotFoundError(f'{path}: build the hypervisor first, or set SERAI_HV')
        return path
    if kind == 'xen':
        packed = cache.unpacked(['xen-hypervisor-4.17-amd64']) / 'boot/xen-4.17-amd64.gz'
        return cache.entry(f'xen-4.17-{cache.digest(packed)}',
                           lambda part: part.write_bytes(zlib.decompress(packed.read_bytes(), 31)))
    raise ValueError(f'no hypervisor is called {kind}')


class Tiny(qemu.Qemu):
    """A running tiny dom0 (see the top of the file).

    script    shell text that runs when dom0 is up; the machine then powers off
    programs  {path in dom0: program here}, copied with the libraries they need
    files     {path in dom0: text, bytes or Path}
    store     'oxenstored', 'xenstored' (both Debian's), a command line of your own, or None
    reboots   the machine may start again; otherwise QEMU ends where it would
    """

    def __init__(self, kind='serai', script=None, programs=(), files=(), store='oxenstored',
                 console='xenconsoled --log=guest', prepare=None, memory=1024, cpus=1, hv_args='', linux_args='',
                 qemu_args=(), cpu=qemu.CPU, kernel='elf', log=None,
                 accel='tcg', reboots=False):
        self.kind = kind
        debian = linux.Kernel()
        image = debian.elf if kernel == 'elf' else debian.bzimage
        stores = {'oxenstored': 'oxenstored --no-fork',
                  'xenstored': 'xenstored --no-fork'}
        extra = linux.Initramfs()
        extra.file('init', INIT, 0o755)
        start = stores.get(store, store) or ''
        extra.file('etc/tiny.conf', f"STORE='{start}'\nCONSOLE='{console or ':'}'\n")
        if script is not None:
            extra.file('etc/script', script)
        if prepare is not None:
            extra.file('etc/prepare', prepare)
        for path, source in dict(programs).items():
            extra.program(path, source)
        for path, data in dict(files).items():
            extra.file(path, data)
        self._directory = tempfile.TemporaryDirectory(prefix='serai-tiny-')
        work = pathlib.Path(self._directory.name)
        initrd = work / 'initrd'
        with open(initrd, 'wb') as f:
            f.write(base_initramfs(debian).read_bytes())
            f.write(extra.archive())

        hv = hypervisor(kind)
        if hv:
            below = f'console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all noreboot {hv_args}'
            if kind == 'xen':
                below += ' spec-ctrl=eager-fpu'
            above = f'console=hvc0 earlyprintk=xen panic=-1 {linux_args}'
            args = ['-kernel', hv, '-append', below.strip(),
                    '-initrd', f'{image} {above.strip()},{initrd}'.replace(',,', ',')]
        else:
            args = ['-kernel', debian.bzimage, '-initrd', initrd,
                    '-append', f'console=ttyS0 panic=-1 {linux_args}'.strip()]
        args += ['-m', memory, '-smp', cpus, '-cpu', cpu, '-nodefaults', *qemu_args]
        if not reboots:
            args.append('-no-reboot')
        super().__init__(args, log or work / 'console.log', accel)
        self._ids = itertools.count(1)

    def boot(self, timeout=300):
        """Wait until dom0 takes commands."""
        self.expect(r'^@@ready', timeout)
        return self

    def done(self, timeout=300):
        """Wait for the end of the script; its output is in .output; its status must be STATUS 0."""
        self.expect(r'^@@script\n', timeout)
        begin = self._seen
        match = self.expect(r'^@@end (\d+)@@', timeout)
        self.output = self.text[begin:match.start()]
        if match.group(1) != '0':
            raise AssertionError(f'the script ended with {match.group(1)}:\n{self.output}')
        return self.output

    def run(self, command, timeout=120, check=True):
        """Run COMMAND in dom0; return its output; with check=False return (status, output)."""
        import base64
        number = next(self._ids)
        data = base64.b64encode(command.encode()).decode()
        if len(data) > 3000:
            raise ValueError('too long for a line of the console; give it as a file')
        self.send(f'@run {number} {data}\n')
        self.expect(rf'@@begin {number}\n', timeout)
        begin = self._seen
        match = self.expect(rf'@@end {number} (\d+)@@', timeout)
        output = self.text[begin:match.start()]
        if not check:
            return int(match.group(1)), output
        if match.group(1) != '0':
            raise AssertionError(f'{command!r} ended with {match.group(1)}:\n{output}')
        return output

    def kill(self):
        super().kill()
        if self.log.parent == pathlib.Path(self._directory.name):
            self._directory.cleanup()


def main():
    parser = argparse.ArgumentParser(description='Boot a tiny dom0 and talk to it.  What follows -- goes to QEMU.')
    parser.add_argument('kind', nargs='?', default='serai', choices=['serai', 'xen', 'bare'])
    parser.add_argument('-c', '--command', help='run this in dom0, then power off')
    parser.add_argument('-m', '--memory', type=int, default=1024)
    parser.add_argument('--cpus', type=int, default=1)
    parser.add_argument('--store', default='oxenstored', help='oxenstored, xenstored, none, or a command line')
    parser.add_argument('--hv-args', default='', help='added to the hypervisor\'s command line')
    parser.add_argument('--linux-args', default='', help='added to dom0\'s command line')
    parser.add_argument('--program', action='append', default=[], metavar='PATH=FILE',
                        help='copy the program FILE with its libraries to PATH in dom0')
    parser.add_argument('--bzimage', action='store_true', help='let the hypervisor unpack the kernel')
    parser.add_argument('--timeout', type=int, default=300)
    ours, rest = qemu.split_arguments(sys.argv[1:])
    options = parser.parse_args(ours)

    script = None if options.command is None else options.command + '\n'
    tiny = Tiny(options.kind, script=script, memory=options.memory, cpus=options.cpus,
                store=None if options.store == 'none' else options.store, hv_args=options.hv_args,
                linux_args=options.linux_args, programs=[p.split('=', 1) for p in options.program],
                kernel='bzimage' if options.bzimage else 'elf', qemu_args=rest)
    with tiny:
        talk(tiny, options.timeout if script else None)


def talk(tiny, timeout, shell=True):
    """Copy the console to standard output, and lines of standard input to the console."""
    import select
    import time
    shown, limit = 0, timeout and time.monotonic() + timeout
    watched = [sys.stdin] if timeout is None else []
    typed_shell = not shell
    while tiny.pump(0.1):
        sys.stdout.write(tiny.text[shown:])
        sys.stdout.flush()
        shown = len(tiny.text)
        if limit and (time.monotonic() > limit or re.search(r'^@@end \d+@@', tiny.text, re.M)):
            break
        if watched and not typed_shell and '@@ready' in tiny.text:
            tiny.send('@shell\n')
            typed_shell = True
        if watched and select.select(watched, [], [], 0)[0]:
            line = sys.stdin.readline()
            if not line:
                break
            tiny.send(line)
    sys.stdout.write(tiny.text[shown:])
    match = re.search(r'^@@end (\d+)@@', tiny.text, re.M)
    sys.exit(int(match.group(1)) if match else 0 if timeout is None else 1)


if __name__ == '__main__':
    main()
