# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds the small initramfs images of the system test: one for dom0, one for the guest.

Everything comes from files that are named by the caller: Debian's packages, unpacked or installed, and our own build.
"""

import gzip
import os
import re
import shutil
import subprocess

DOM0_MODULES = ["xen-evtchn", "xen-gntdev", "xen-gntalloc", "xenfs", "xen-privcmd", "loop", "xen-blkback", "xen-netback",
                "bridge", "ext4"]
GUEST_MODULES = ["xen-blkfront", "xen-netfront"]


def module_files(modules_dir, names):
    """Files of the modules and of what they need, in the order in which they must be loaded."""
    deps = {}
    for root, _, files in os.walk(modules_dir):
        for name in files:
            if ".ko" in name:
                deps[name.split(".ko")[0].replace("_", "-")] = os.path.join(root, name)
    order = []

    def add(name):
        path = deps.get(name.replace("_", "-"))
        if path is None or path in order:
            return
        with open(path, "rb") as f:
            found = re.search(rb"\0depends=([^\0]*)\0", f.read())
        for dep in filter(None, (found.group(1) if found else b"").decode().split(",")):
            add(dep)
        order.append(path)

    for name in names:
        add(name)
    return order


def libraries(program):
    """Shared objects that a program needs, with the loader."""
    out = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return re.findall(r"(?:=> )?(/\S+) \(0x", out)


class Tree:
    """A directory that becomes an initramfs."""

    def __init__(self, path):
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        for d in ("bin", "sbin", "dev", "proc", "sys", "tmp", "run", "var/run", "var/lib/xenstored", "var/log", "etc",
                  "modules", "lib64"):
            os.makedirs(os.path.join(path, d), exist_ok=True)

    def add(self, source, target, mode=0o755):
        path = os.path.join(self.path, target.lstrip("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(source, path)
        os.chmod(path, mode)

    def add_program(self, source, target=None):
        self.add(source, target or "/bin/" + os.path.basename(source))
        for lib in libraries(source):
            if not os.path.exists(self.path + lib):
                self.add(lib, lib)

    def write(self, target, text, mode=0o644):
        path = os.path.join(self.path, target.lstrip("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)

    def add_modules(self, modules_dir, names):
        for i, path in enumerate(module_files(modules_dir, names)):
            self.add(path, "/modules/%02d-%s" % (i, os.path.basename(path)), 0o644)

    def pack(self, target):
        find = subprocess.Popen(["find", "."], cwd=self.path, stdout=subprocess.PIPE)
        cpio = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=self.path, stdin=find.stdout,
                              stdout=subprocess.PIPE, check=True)
        find.wait()
        with gzip.open(target, "wb", compresslevel=1) as f:
            f.write(cpio.stdout)


def busybox(tree, program="/bin/busybox"):
    tree.add(program, "/bin/busybox")
    for applet in ("sh", "mount", "insmod", "echo", "cat", "ip", "ifconfig", "ping", "sleep", "ls", "grep", "dd", "mkdir",
                   "ps", "kill", "free", "head", "tail", "sync", "md5sum", "poweroff", "reboot", "stty", "cut", "wc",
                   "brctl", "losetup", "dmesg", "setsid", "rm", "seq", "tr", "touch", "uname", "test", "true", "find",
                   "hexdump", "od", "nc", "timeout", "awk", "sed", "ln", "mknod", "cp", "mv", "du", "env", "vi", "halt"):
        os.symlink("busybox", os.path.join(tree.path, "bin", applet))


GUEST_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for m in /modules/*; do insmod $m; done
ip link set lo up
echo GUEST-UP $(uname -r) mem=$(grep MemTotal /proc/meminfo | tr -dc 0-9)
# Commands come by the console, one to a line; what they print goes back there.
while read line; do
    sh -c "$line"
    echo "GUEST-RC $?"
done < /dev/hvc0
poweroff -f
"""

DOM0_INIT = """#!/bin/sh
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run/xen /var/run/xen /var/lib/xen
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
for m in /modules/*; do insmod $m 2>/dev/null; done
mount -t xenfs xenfs /proc/xen
ip link set lo up
mkdir -p /var/run/xenstored /run/xenstored
%(store)s
for i in $(seq 100); do test -S /var/run/xenstored/socket && break; sleep 0.1; done
xenstore write /local/domain/0/domid 0
xenstore write /local/domain/0/name Domain-0
serai-consoled --foreground > /tmp/consoled.log 2>&1 &
brctl addbr br0
ip addr add 10.9.0.1/24 dev br0
ip link set br0 up
stty -echo < /dev/hvc0
echo 1 > /proc/sys/kernel/printk
echo DOM0-UP
export PS1= PS2=
# Writing to a guest's pty may make it our terminal; its end is not ours.
trap "" HUP
# A shell that edits lines takes a signal for the end of its input.
while true; do setsid sh < /dev/hvc0 > /dev/hvc0 2>&1; done
"""


def build_guest(work, modules_dir):
    tree = Tree(os.path.join(work, "guest"))
    busybox(tree)
    tree.add_modules(modules_dir, GUEST_MODULES)
    tree.write("/init", GUEST_INIT, 0o755)
    tree.pack(os.path.join(work, "guest.gz"))


def build_dom0(work, modules_dir, build, xenstored, xenstore, guest_kernel, extra=(), texts=None):
    tree = Tree(os.path.join(work, "dom0"))
    busybox(tree)
    tree.add_modules(modules_dir, DOM0_MODULES)
    tree.add_program(xenstored, "/sbin/xenstored")
    tree.add_program(xenstore, "/bin/xenstore")
    tree.add_program(os.path.join(build, "tests/libxl/serai-try"))
    lib = os.path.join(build, "libxl/libserai-1.0.so.0")
    tree.add(lib, "/lib/libserai-1.0.so.0")
    for dep in libraries(lib):
        if not os.path.exists(tree.path + dep):
            tree.add(dep, dep)
    tree.add_program(os.path.join(build, "libxl/consoled/serai-consoled"))
    # libxenstore ends its thread by pthread_cancel(), which loads this one by name.
    gcc = subprocess.run(["gcc", "-print-file-name=libgcc_s.so.1"], capture_output=True, text=True, check=True).stdout
    tree.add(gcc.strip(), "/lib/x86_64-linux-gnu/libgcc_s.so.1")
    for source, target in extra:
        tree.add(source, target)
    tree.add(guest_kernel, "/guest/kernel", 0o644)
    tree.add(os.path.join(work, "guest.gz"), "/guest/initrd", 0o644)
    for name, text in (texts or {}).items():
        tree.write("/etc/" + name, text)
    tree.write("/etc/passwd", "root:x:0:0::/:/bin/sh\n")
    tree.write("/etc/group", "root:x:0:\ntty:x:5:\n")
    tree.write("/etc/ld.so.conf", "/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n/lib\n")
    tree.write("/init", DOM0_INIT % {"store": "xenstored --pid-file=/run/xenstored.pid"}, 0o755)
    tree.pack(os.path.join(work, "dom0.gz"))
