#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""libserai and serai-consoled on a real hypervisor in QEMU: a PV domain through its whole life.

    pv-domain.py --build BUILD --hypervisor XEN --kernel VMLINUZ --modules DIR --xenstored FILE --xenstore FILE

The hypervisor is Debian's Xen or ours: any multiboot image, unpacked.  Each step prints one TAP line; the exit status says
whether all were right.  Times are printed for information and judged by nobody: QEMU emulates.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import image  # noqa: E402
from machine import Failure, Machine  # noqa: E402

DOMAIN = """[domain]
type=0
name=%(name)s
uuid=%(uuid)s
kernel=/guest/kernel
ramdisk=/guest/initrd
cmdline=console=hvc0 rdinit=/init net.ifnames=0 %(cmdline)s
max_memory_kib=%(memory)d
max_vcpus=2
vcpus=1
%(devices)s
"""

DEVICES = """[device 0]
kind=0
devid=-1
disk.target=xvda
disk.path=/tmp/disk.img
[device 1]
kind=1
devid=-1
nic.mac=00:16:3e:00:00:01
nic.attach=1
nic.bridge=br0
nic.trusted=1
[device 2]
kind=2
devid=0
console.log_path=/tmp/guest.log
"""

FILES = {
    "t1.conf": DOMAIN % {"name": "t1", "uuid": "6f1c9c5e-0000-4000-8000-000000000001", "memory": 131072, "cmdline": "",
                         "devices": DEVICES},
    "second.dev": "[device 0]\nkind=0\ndevid=-1\ndisk.target=xvdb\ndisk.path=/tmp/second.img\ndisk.readonly=1\n",
    "nic.dev": "[device 0]\nkind=1\ndevid=1\nnic.mac=00:16:3e:00:00:02\nnic.attach=1\nnic.bridge=br0\nnic.trusted=1\n",
    "nicdown.dev": "[device 0]\nkind=1\ndevid=0\nnic.mac=00:16:3e:00:00:01\nnic.attach=1\nnic.bridge=br0\n"
                   "nic.trusted=1\nnic.link_down=1\nnic.rate_kib=1000\n",
}


class Test:
    def __init__(self, machine):
        self.machine = machine
        self.count = 0
        self.failed = 0
        self.console = None
        self.seen = 0

    def check(self, name, ok, detail=""):
        self.count += 1
        if not ok:
            self.failed += 1
        print("%sok %d %s" % ("" if ok else "not ", self.count, name))
        for line in (detail if not ok else "").splitlines():
            print("# " + line)
        sys.stdout.flush()
        return ok

    def try_(self, name, *commands, timeout=180, want=0, contains=""):
        out, rc = self.machine.run("serai-try " + " ".join(commands), timeout)
        for line in out.splitlines():
            if line.startswith("OK "):
                print("# " + line)
        self.check(name, rc == want and re.search(contains, out) is not None, out)
        return out

    def guest_log(self):
        out, _ = self.machine.run("cat /tmp/guest.log", 60)
        return out

    def await_guest(self, pattern, timeout=120):
        """Waits until something new is in the guest's log."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            text = self.guest_log()
            match = re.search(pattern, text[self.seen:])
            if match:
                self.seen += match.end()
                return match.group(0)
            time.sleep(1)
        return None

    def guest(self, command, pattern, timeout=60):
        """Types a command at the guest's console and waits for what it prints."""
        self.machine.run("echo '%s' > %s" % (command, self.console))
        return self.await_guest(pattern, timeout)

    def find_console(self, name):
        out, _ = self.machine.run("serai-try console %s" % name)
        match = re.search(r"CONSOLE (\S+)", out)
        self.console = match.group(1) if match else "/dev/null"
        return match is not None


def life(t):
    m = t.machine
    m.run("dd if=/dev/zero of=/tmp/disk.img bs=1M count=16 2>/dev/null; dd if=/dev/zero of=/tmp/second.img bs=1M count=8"
          " 2>/dev/null; echo mark-of-dom0 | dd of=/tmp/second.img conv=notrunc 2>/dev/null")
    t.try_("facts about the machine", "info", contains=r"xen-3.0-x86_64.*sched=")
    if "DOMAIN" not in t.try_("create", "create", "/etc/t1.conf", contains=r"DOMAIN \d+"):
        raise Failure("nothing to go on with")
    out, _ = m.run("ls /sys/class/net/br0/brif; losetup -a; cat /proc/loadavg; ps | grep -c '[q]emu'")
    t.check("the NIC is a port of the bridge before the guest runs", "vif" in out, out)
    t.check("the disk is a loop device", "/dev/loop0" in out, out)
    out, _ = m.run("ls -l /var/cache/serai")
    t.check("the unpacked kernel is kept for the next domain", ".kernel" in out, out)
    t.try_("a second domain of that name is refused", "create", "/etc/t1.conf", want=1, contains=r"exists already")
    t.try_("unpause", "unpause", "t1")
    t.check("the guest's first program runs", t.await_guest(r"GUEST-UP \S+ mem=\d+", 240) is not None, t.guest_log()[-3000:])
    t.check("the console has a pty", t.find_console("t1"))
    t.check("typing at the console reaches the guest", t.guest("echo answer-$((6*7))", "answer-42") is not None)
    t.check("the disk is written and read", t.guest(
        "echo hello > /tmp/x; dd if=/tmp/x of=/dev/xvda bs=512 count=1 conv=fsync 2>/dev/null; "
        "head -c 5 /dev/xvda; echo -done", "hello-done") is not None)
    out, _ = m.run("head -c 5 /tmp/disk.img")
    t.check("what the guest wrote is in the file", out == "hello", out)
    t.check("the network carries packets", t.guest(
        "ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up; sleep 2; ping -c 3 -W 5 10.9.0.1 | grep received",
        r"[123] packets received") is not None)
    t.try_("statistics", "stats", "t1", contains=r"DISK xvda rd=[1-9]\d*/\d+ wr=[1-9]")
    t.try_("pause", "pause", "t1", "--", "list", contains=r"LIST [1-9]\d* .* paused=1")
    t.try_("and go on", "unpause", "t1")
    return m


def change(t):
    t.try_("a disk is plugged in", "attach", "t1", "/etc/second.dev")
    t.check("the guest sees it", t.guest("sleep 1; head -c 12 /dev/xvdb; echo", "mark-of-dom0") is not None)
    t.try_("it is unplugged", "detach", "t1", "/etc/second.dev")
    t.check("the guest has lost it", t.guest("sleep 1; test -e /dev/xvdb || echo no-xvdb", "no-xvdb") is not None)
    out, _ = t.machine.run("losetup -a")
    t.check("its loop device is gone", "second.img" not in out, out)
    t.try_("a NIC is plugged in", "attach", "t1", "/etc/nic.dev")
    t.check("the guest sees it too", t.guest("sleep 2; test -d /sys/class/net/eth1 && echo has-eth1", "has-eth1") is not None)
    t.try_("that is unplugged", "detach", "t1", "/etc/nic.dev")
    t.try_("link down and a rate limit", "update", "t1", "/etc/nicdown.dev")
    out, _ = t.machine.run("cat /sys/class/net/vif*.0/operstate")
    t.check("dom0's end is down", "down" in out, out)
    t.try_("balloon down", "mem", "t1", "98304")
    time.sleep(6)
    out, _ = t.machine.run("serai-try stats t1")
    match = re.search(r"current=(\d+)", out)
    t.check("the guest gave memory back", match and int(match.group(1)) < 110000, out)
    t.try_("balloon up", "mem", "t1", "131072")
    t.try_("a second vCPU", "vcpus", "t1", "2")
    t.check("the guest uses it", t.guest(
        "sleep 2; echo 1 > /sys/devices/system/cpu/cpu1/online 2>/dev/null; cat /sys/devices/system/cpu/online", "0-1")
        is not None)
    t.try_("and back to one", "vcpus", "t1", "1")
    time.sleep(2)


def save(t):
    t.guest("echo remembered > /tmp/memory; echo stored", "stored")
    t.try_("core dump", "dump", "t1", "/tmp/t1.core")
    out, _ = t.machine.run("head -c 4 /tmp/t1.core | od -c | head -1; rm /tmp/t1.core")
    t.check("it is an ELF file", "177   E   L   F" in out, out)
    t.try_("save and keep running", "save", "t1", "/tmp/t1.img", "keep")
    t.check("the guest goes on", t.guest("echo awake-$((40+2))", "awake-42", 90) is not None, t.guest_log()[-2000:])
    t.try_("save", "save", "t1", "/tmp/t1.img")
    out, _ = t.machine.run("serai-try list; ls /sys/class/net; losetup -a; xenstore ls /local/domain | head -60; "
                           "xenstore ls /serai 2>/dev/null | head")
    t.check("nothing of the domain is left", not re.search(r"vif\d", out) and "disk.img" not in out and "t1" not in out, out)
    t.machine.run("cp /tmp/guest.log /tmp/guest.old")
    t.seen = 0
    t.try_("restore", "restore", "/tmp/t1.img", contains=r"DOMAIN \d+")
    t.try_("and run", "unpause", "t1")
    t.check("its console is there again", t.find_console("t1"))
    t.check("the guest remembers", t.guest("cat /tmp/memory", "remembered", 90) is not None, t.guest_log()[-2000:])
    t.check("its disk works", t.guest("echo 3 > /proc/sys/vm/drop_caches; head -c 5 /dev/xvda; echo -again", "hello-again")
            is not None, t.guest_log()[-2000:])


def consoled(t):
    """The daemon dies without a word while the guest writes; all bytes arrive."""
    t.machine.run("kill -9 $(ps | grep '[s]erai-consoled' | awk '{print $1}')")
    t.machine.run("(serai-consoled --foreground >> /tmp/consoled.log 2>&1 &) ; sleep 3")
    t.check("after a crash of the console daemon there is a pty again", t.find_console("t1"))
    before = t.seen = len(t.guest_log())
    t.machine.run("echo 'for i in $(seq 1 400); do echo line-$i-of-the-flood; done' > %s" % t.console)
    time.sleep(1)
    t.machine.run("kill -9 $(ps | grep '[s]erai-consoled' | awk '{print $1}')")
    time.sleep(2)
    t.machine.run("(serai-consoled --foreground >> /tmp/consoled.log 2>&1 &) ; sleep 3")
    t.await_guest("line-400-of-the-flood", 60)
    lines = set(re.findall(r"line-(\d+)-of", t.guest_log()[before:]))
    t.check("all that the guest wrote is in the log", len(lines) == 400, "%d of 400 lines" % len(lines))
    t.check("and the console answers", t.find_console("t1") and t.guest("echo still-$((1+1))", "still-2") is not None)


def end(t):
    t.find_console("t1")
    t.machine.run("echo 'poweroff -f' > %s" % t.console)
    t.try_("the guest's power off is told", "wait", "t1", "60", contains=r"EVENT (shutdown \d+ reason 0|already 0)")
    t.try_("destroy", "destroy", "t1")
    t.try_("destroyed twice is an error", "destroy", "t1", want=1)
    out, _ = t.machine.run("sleep 1; serai-try list; ls /sys/class/net; losetup -a; xenstore ls /serai 2>/dev/null; "
                           "xenstore ls /local/domain/0/backend")
    t.check("nothing is left", not re.search(r"vif\d", out) and "disk.img" not in out and "LIST 1" not in out and "t1" not in out, out)


def crash(t):
    """A process dies at some point of a creation; the next one cleans up."""
    out, _ = t.machine.run("serai-try info | grep -o 'free=[0-9]*'")
    before = int(re.search(r"free=(\d+)", out).group(1))
    for seconds in ("1", "2", "3"):
        t.machine.run("serai-try die %s -- create /etc/t1.conf -- destroy t1" % seconds, 120)
        t.machine.run("serai-try recover", 120)
        out, _ = t.machine.run("sleep 1; serai-try list; ls /sys/class/net; losetup -a; xenstore ls /serai 2>/dev/null")
        t.check("nothing is left of a creator that died after %s s" % seconds,
                not re.search(r"vif\d", out) and "disk.img" not in out and "t1" not in out and out.count("LIST") == 1, out)
    out, _ = t.machine.run("serai-try info | grep -o 'free=[0-9]*'")
    after = int(re.search(r"free=(\d+)", out).group(1))
    t.check("no memory is lost", abs(before - after) < 2048, "%d, %d" % (before, after))


def footprint(t):
    """What a domain with a raw disk and a bridged NIC costs dom0: memory, and processes (none)."""
    def look():
        out, _ = t.machine.run("sync; echo 3 > /proc/sys/vm/drop_caches; sleep 1; grep -E '^(MemFree)' /proc/meminfo; "
                               "ps | wc -l")
        free, processes = re.search(r"MemFree:\s+(\d+)[^\n]*\n\s*(\d+)", out).groups()
        return int(free), int(processes)

    count = 3
    t.machine.run("serai-try create /etc/t1.conf -- destroy t1")  # what is paid once
    before, processes = look()
    for i in range(count):
        t.machine.run("dd if=/dev/zero of=/tmp/f%d.img bs=1M seek=16 count=0 2>/dev/null; "
                      "sed 's/name=t1/name=f%d/; s/-000000000001/-00000000010%d/; "
                      "s/00:00:01/00:01:0%d/; s/disk.img/f%d.img/' /etc/t1.conf > /tmp/f.conf; "
                      "serai-try create /tmp/f.conf" % (i, i, i, i, i))
    after, more = look()
    each = (before - after) / count
    print("# %d KiB of dom0 for each domain, %d processes more" % (each, more - processes))
    t.check("a domain costs dom0 less than 300 KiB", each < 300, "%d KiB" % each)
    t.check("and no process", more == processes, "%d, %d" % (processes, more))
    for i in range(count):
        t.machine.run("serai-try destroy f%d" % i)


STEPS = [life, change, save, consoled, end, crash, footprint]


def main():
    parser = argparse.ArgumentParser()
    for name in ("build", "hypervisor", "kernel", "modules", "xenstored", "xenstore"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--guest-kernel")
    parser.add_argument("--work", help="where images and logs go; kept")
    parser.add_argument("--steps", default=",".join(s.__name__ for s in STEPS))
    parser.add_argument("--options", default="", help="more options for the hypervisor")
    args = parser.parse_args()

    work = args.work or tempfile.mkdtemp(prefix="serai-system-")
    os.makedirs(work, exist_ok=True)
    image.build_guest(work, args.modules)
    image.build_dom0(work, args.modules, args.build, args.xenstored, args.xenstore, args.guest_kernel or args.kernel,
                     texts=FILES)
    machine = Machine(args.hypervisor, args.kernel, os.path.join(work, "dom0.gz"), os.path.join(work, "serial.log"),
                      options=args.options)
    test = Test(machine)
    try:
        machine.expect("DOM0-UP", 300)
        time.sleep(1)
        for step in STEPS:
            if step.__name__ in args.steps.split(","):
                step(test)
    except Failure as failure:
        test.check("the machine lives", False, str(failure))
    finally:
        machine.close()
        if not args.work:
            shutil.rmtree(work)
    print("1..%d" % test.count)
    return 1 if test.failed else 0


if __name__ == "__main__":
    sys.exit(main())
