#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Serai beside Debian's Xen, in one run: the same disk image, the same QEMU, one table.

Serai is all ours: hypervisor, store, library, driver.  Xen is Debian's 4.17 with Debian's store, toolstack
and libvirt driver.  Both hosts run side by side and do the same step in turns, so that what else the machine
does hits both.  What happens in dom0 is timed in dom0, by way of virsh (dom0-bench.py).  The operations in a
guest are also run on the bare QEMU with the same kernel.  The stores are asked without a host, over their
sockets, Serai's beside the better of Debian's two.  Where a thing can be counted exactly, the count stands in
the table too: seconds of an emulated machine are worth little, their ratios more, counts most.

    system-bench.py                   about 30 minutes on two quiet CPUs
    system-bench.py --quick           about 15
    system-bench.py --sections life   only that; see below
    system-bench.py --icount          on a busy machine: the emulated clock counts instructions, 2 ns each, so
                                      that seconds hardly feel the load (but those of the boot, taken outside)

On a busy machine without --icount starts may fail on Xen: its tools give up on a hotplug script after 40 s.
^C ends it with the table of what was measured until then.

The raw values go to a file of JSON.  As root, but for the sections operations and guest-counts: the host
image is made with mmdebstrap.  Needs what `ninja -C build` makes, and Serai's packages (scripts/build-debs).
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
HERE = TOP / 'tests/bench'
sys.path.insert(0, str(TOP / 'tests/system'))
import cache                                                            # noqa: E402
import hypervisor_ops                                                   # noqa: E402
import host as hosts                                                    # noqa: E402
import image as host_image                                              # noqa: E402
import linux                                                            # noqa: E402
import qemu                                                             # noqa: E402
import tiny                                                             # noqa: E402

KINDS = ('serai', 'xen', 'bare')
# In the order of the table; those on hosts share them.
SECTIONS = {
    'boot': 'from the start of QEMU to the login prompt of dom0',
    'start-counts': 'what dom0 does for one start',
    'life': 'define, start, ..., destroy of one guest by virsh, whose own start is part of each',
    'packed': 'start with a kernel as Debian packs it',
    'guest': 'system calls, disk and network in a guest',
    'many': 'the 1st guest beside the last of many, and what each costs in memory',
    'guest-counts': 'instructions of a system call, fork, ... in dom0, by QEMU\'s TCG plugin',
    'io-counts': 'instructions of the machine for disk and network of a guest, by the plugin; both with xl',
    'operations': 'instructions of the hypervisor for one operation, and its own memory',
    'store': 'the store daemons on this machine, 1,000 nodes; Xen is the better of Debian\'s two',
}
ON_HOSTS = ('boot', 'start-counts', 'life', 'packed', 'guest', 'many')
IN_GUEST = {
    'syscall': 'us', 'fork': 'us', 'fork-exec': 'us', 'pipe': 'us', 'page-fault': 'us',
    'disk-read': 'MiB/s +', 'disk-write': 'MiB/s +', 'disk-read-4k': '1/s +', 'disk-write-4k': '1/s +',
    'net-send': 'MiB/s +', 'net-receive': 'MiB/s +', 'net-request': '1/s +',
}
DOM0_MIB, MACHINE_MIB = 1024, 3840
GUEST_SCRIPT = '''\
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
stty -echo
if [ -e /sys/hypervisor/type ]; then
    for m in $(cat /etc/module-order); do insmod /lib/modules/$m; done
    for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /sys/class/net/eth0 ] && break; usleep 50000; done
fi
ip link set lo up
for word in $(cat /proc/cmdline); do
    case $word in
    bench.ip=*) ip addr add ${word#bench.ip=}/24 dev eth0; ip link set eth0 up ;;
    esac
done
echo "bench: ready"
while read -r line; do
    [ -n "$line" ] && { $line; echo "bench: status $?"; }
done
'''

# Of the guest whose disk and network are counted, and of its dom0.
IO_SCRIPT = '''\
ip addr add 192.168.200.2/24 dev eth0; ip link set eth0 up
bench count-io /dev/xvda 192.168.200.1 7; echo "counted: $?"
'''
DOM0_IO_SCRIPT = '''\
dd if=/dev/zero of=/tmp/disk bs=1M count=64 2>/dev/null; losetup /dev/loop0 /tmp/disk
bench serve 7 >/dev/null &
xl create /etc/io.cfg >/dev/null && wait-guest io counted: 900 && echo
'''
IO_GUEST = '''\
name = "io"
type = "pv"
kernel = "/boot/guest-kernel"
ramdisk = "/boot/io-initrd"
extra = "console=hvc0 quiet"
memory = 128
vif = ["mac=00:16:3e:00:00:01,bridge=xenbr0"]
disk = ["phy:/dev/loop0,xvda,w"]
'''


def build_program(work):
    """The program for guests, static: it needs nothing but the C library that is here."""
    program = work / 'bench'
    source = HERE / 'guest-bench.c'
    subprocess.run(['cc', '-O2', '-static', '-D_GNU_SOURCE', '-o', program, source], check=True)
    return program


def build_initramfs(work, program):
    """The guest's initramfs: its /init is the program, so that the first program speaks at once."""
    tree = linux.Initramfs()
    tiny.busybox_tree(tree)
    tiny.add_modules(tree, linux.Kernel(), tiny.GUEST_MODULES)
    tree.file('init', program.read_bytes(), 0o755)
    tree.file('bin/bench', program.read_bytes(), 0o755)
    tree.file('bench.sh', GUEST_SCRIPT)
    path = work / 'bench-initrd'
    path.write_bytes(tiny.zlib_gzip(tree.archive()))
    return path


def number(value):
    return f'{value:.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def median(values):
    return number(statistics.median(values)) if values else '-'


def ratio(ours, other):
    if not ours or not other or not statistics.median(other):
        return '-'
    return f'{statistics.median(ours) / statistics.median(other):.2f}'


def best(unit, values):
    """That of the round that other work on the machine has disturbed least, in a list."""
    return [(max if '+' in unit else min)(values)] if len(values) > 1 else []


def spread(values):
    return f'{number(min(values))}-{number(max(values))}' if len(values) > 1 else ''


class Table:
    """Values by row and kind, in the order in which rows first came."""

    def __init__(self):
        self.rows, self.section = {}, None

    def add(self, name, unit, kind, *values):
        row = self.rows.setdefault(name, {'section': self.section, 'unit': unit, **{k: [] for k in KINDS}})
        row[kind] += [float(v) for v in values]

    def text(self):
        lines = [f'{"median":44} {"unit":7} {"Serai":>9} {"Xen":>9} {"Serai/Xen":>9} '
                 f'{"of best":>7} {"bare":>8} {"Serai/bare":>10}  least-most: Serai, Xen, bare']
        section = None
        for name, row in self.rows.items():
            if row['section'] != section:
                section = row['section']
                lines.append(f'{section}: {SECTIONS[section]}')
            ours, theirs, bare = (row[kind] for kind in KINDS)
            spreads = ', '.join(filter(None, map(spread, (ours, theirs, bare))))
            lines.append(f'  {name:42} {row["unit"]:7} {median(ours):>9} {median(theirs):>9} '
                         f'{ratio(ours, theirs):>9} '
                         f'{ratio(best(row["unit"], ours), best(row["unit"], theirs)):>7} '
                         f'{median(bare):>8} {ratio(ours, bare):>10}  '
                         f'{spreads}'.rstrip())
        lines.append('A unit with "+": more is better, else less.  "of best": the ratio of the best rounds.')
        return '\n'.join(lines)


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.table = Table()
        self.started = time.monotonic()
        self.hosts = {}
        self.program = build_program(work)
        self.initramfs = build_initramfs(work, self.program)
        self.rounds = options.rounds
        self.clock = ['-icount', 'shift=1'] if options.icount else []

    def say(self, text):
        print(f'[{time.monotonic() - self.started:5.0f} s] {text}', flush=True)

    def host(self, kind):
        log = TOP / f'build/system-logs/bench-{kind}.log'
        return hosts.Host(kind, image=self.image, memory=MACHINE_MIB, dom0_memory=DOM0_MIB, log=log,
                          qemu_args=self.clock)

    def boot(self):
        """Boot in turns; the last of each stay."""
        self.image = host_image.build(hosts.packages(), self.say)
        rounds = self.options.boots if 'boot' in self.options.sections else 1
        for number in range(1, rounds + 1):
            for kind in self.options.kinds:
                self.say(f'boot {number} of {rounds}: {kind}')
                host = self.host(kind)
                try:
                    host.boot(1800)
                except BaseException:
                    host.kill()
                    raise
                if 'boot' in self.options.sections:
                    for name, seconds in host.marks.items():
                        self.table.add(f'boot to {name}', 's', kind, seconds)
                if number == rounds:
                    self.hosts[kind] = host
                else:
                    host.kill()
        for host in self.hosts.values():
            host.put(self.program, '/root/bench')
            host.put(HERE / 'dom0-bench.py', '/root/dom0-bench.py')
            host.put(self.initramfs, '/var/lib/libvirt/images/bench-initrd')
            self.in_dom0(host, 'prepare')

    def in_dom0(self, host, *arguments):
        """One round of dom0-bench.py; its numbers, a dict."""
        try:
            output = host.run('python3 -B /root/dom0-bench.py ' + ' '.join(map(str, arguments)), timeout=3600)
        finally:
            for other in self.hosts.values():   # nobody waits for a full pipe
                other.pump()
        return json.loads(output.splitlines()[-1])

    def turns(self, section, rounds, *arguments):
        """ROUNDS of SECTION on each host in turns: yields (kind, numbers)."""
        for number in range(1, rounds + 1):
            for kind, host in self.hosts.items():
                self.say(f'{section}, {number} of {rounds}: {kind}')
                try:
                    yield kind, self.in_dom0(host, section, *arguments)
                except hosts.CommandFailed as error:
                    self.say(f'failed: {error}')
                    self.failed = True

    failed = False

    def life(self):
        for kind, numbers in self.turns('life', self.rounds):
            for name, seconds in numbers.items():
                self.table.add(name, 's', kind, seconds)

    def packed(self):
        for kind, numbers in self.turns('packed', 1):
            for name, seconds in numbers.items():
                self.table.add(name, 's', kind, seconds)

    def many(self):
        for kind, numbers in self.turns('many', 1, self.options.guests):
            for name, value in numbers.items():
                unit = 'KiB' if 'memory' in name else 'x' if ' over ' in name else 's'
                self.table.add(name, unit, kind, value)

    def guest(self):
        bare = self.bare_guest()
        try:
            for number in range(self.rounds):
                for kind, numbers in self.turns('guest', 1, 1):
                    for name, values in numbers.items():
                        self.table.add(name, IN_GUEST[name], kind, *values)
                self.say('guest: bare')
                bare.send('bench micro\n')
                bare.expect('bench: status 0', 900)
            for name, value in re.findall(r'^bench: (\S+) ([\d.]+)$', bare.text, re.M):
                if name in IN_GUEST:
                    self.table.add(name, IN_GUEST[name], 'bare', float(value))
        finally:
            bare.kill()

    def bare_guest(self):
        """The guest's kernel and initramfs on QEMU itself."""
        machine = qemu.Qemu(['-m', 96, '-cpu', qemu.CPU, '-nodefaults', '-no-reboot', '-kernel',
                             linux.Kernel().bzimage, '-initrd', self.initramfs, '-append', 'console=ttyS0',
                             *self.clock],
                            TOP / 'build/system-logs/bench-guest-bare.log')
        machine.expect('bench: ready', 900)
        return machine

    def start_counts(self):
        for kind, numbers in self.turns('counts', 1):
            for name, count in numbers.items():
                self.table.add(name, 'count', kind, count)

    def guest_counts(self):
        for kind in self.options.kinds + ['bare']:
            self.say(f'instructions in dom0: {kind}')
            self.count(kind, script='bench count', store=None, console='', memory=768)

    def io_counts(self):
        initrd = tiny.guest_initramfs(linux.Kernel(), IO_SCRIPT, {'bin/bench': self.program})
        for kind in self.options.kinds:
            self.say(f'instructions for I/O of a guest: {kind}')
            self.count(kind, {'boot/io-initrd': initrd, 'etc/io.cfg': IO_GUEST}, script=DOM0_IO_SCRIPT)

    def count(self, kind, files=(), **arguments):
        """Rows of what a tiny dom0, or a guest there, says to have counted."""
        log = self.work / f'count-{kind}'
        machine = tiny.Tiny(kind, files={'/usr/bin/bench': self.program, **dict(files)},
                            qemu_args=hypervisor_ops.counting(log), **arguments)
        with machine:
            output = machine.done(1800)
            hypervisor_ops.end(machine)
        text = log.read_text()
        for number, name, batch in re.findall(r'bench: counted (\d+) (\S+) (\d+)', output):
            inside = int(re.search(rf'^count {number} (\d+)', text, re.M).group(1))
            others = map(int, re.search(rf'^more {number} (\d+) (\d+)', text, re.M).groups())
            for what, value in zip(('hypervisor', 'machine', 'entries'), (inside, *others)):
                if kind != 'bare' or what == 'machine':
                    self.table.add(f'{name}: {what}', 'count', kind, value / int(batch))

    def operations(self):
        for kind in self.options.kinds:
            self.say(f'operations: {kind}')
            for name, count in hypervisor_ops.operations(kind).items():
                self.table.add(name, 'count', kind, count)
        for kind in self.options.kinds:
            for name, kib in hypervisor_ops.own_memory(kind).items():
                self.table.add(name, 'KiB', kind, kib)

    def store(self):
        self.say('store')
        tools = cache.unpacked(['xen-utils-4.17']) / 'usr/lib/xen-4.17/bin'
        found = self.work / 'store.json'
        cache.run([sys.executable, HERE / 'store-bench.py', TOP / 'build', tools,
                   '0.05' if self.options.quick else '0.5', found])
        for name, unit, values in json.loads(found.read_text()):
            others = [value for daemon, value in values.items() if daemon != 'serai']
            self.table.add(f'store {name}', unit, 'serai', values['serai'])
            self.table.add(f'store {name}', unit, 'xen', (max if '+' in unit else min)(others))

    def run(self):
        chosen = set(self.options.sections)
        if chosen & set(ON_HOSTS):
            chosen.add('boot')
        try:
            for section in SECTIONS:
                self.table.section = section
                if section in chosen:
                    getattr(self, section.replace('-', '_'))()
                if section == ON_HOSTS[-1]:
                    self.end_hosts()
        finally:
            self.end_hosts()

    def end_hosts(self):
        while self.hosts:
            self.hosts.popitem()[1].kill()


def main():
    sections = '\n'.join(f'  {name:13} {what}' for name, what in SECTIONS.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog='sections:\n' + sections,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='few repetitions')
    parser.add_argument('--icount', action='store_true', help='the emulated clock counts instructions')
    parser.add_argument('--sections', default=','.join(SECTIONS), help='some of them, with commas')
    parser.add_argument('--kinds', default='serai,xen', help='serai, xen, or both (the default)')
    parser.add_argument('--rounds', type=int, help='how often each of life and guest is done')
    parser.add_argument('--boots', type=int, help='how often each host is booted')
    parser.add_argument('--guests', type=int, help='how many are "many"')
    parser.add_argument('--json', type=pathlib.Path, default=TOP / 'build/system-bench.json',
                        help='where the raw values go')
    options = parser.parse_args()
    options.sections = options.sections.split(',')
    options.kinds = options.kinds.split(',')
    if set(options.sections) - set(SECTIONS) or set(options.kinds) - {'serai', 'xen'}:
        parser.error('there is no such section, or no such kind')
    for name, full, quick in (('rounds', 5, 1), ('boots', 3, 1), ('guests', 20, 5)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)

    import tempfile
    with tempfile.TemporaryDirectory(prefix='serai-bench-') as directory:
        bench = Bench(options, pathlib.Path(directory))
        try:
            bench.run()
        except (KeyboardInterrupt, AssertionError, RuntimeError) as error:
            bench.failed = True
            print(f'{str(error) or "interrupted"}\nThe table is not whole.')
    print(bench.table.text())
    load = os.getloadavg()
    took = time.monotonic() - bench.started
    print(f'{took:.0f} s; load of this machine at the end: {load[0]:.1f}, {load[1]:.1f}')
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({'load': load, 'rows': bench.table.rows}, indent=1) + '\n')
    print(f'raw values: {options.json}')
    return 1 if bench.failed else 0


if __name__ == '__main__':
    sys.exit(main())
