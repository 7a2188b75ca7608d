#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Serai beside Debian's Xen, in one run: the same disk image, the same QEMU, one table.

Serai is all ours: hypervisor, store, library, driver.  Xen is Debian's 4.17 with Debian's store, toolstack
and libvirt driver.  Both hosts run side by side and do the same step in turns, so that what else the machine
does hits both.  What happens in dom0 is timed in dom0 (dom0-bench.py).  The operations in a guest are also
run on the bare QEMU with the same kernel.  Where a thing can be counted exactly, the count stands in the
table too: seconds of an emulated machine are worth little, their ratios more, counts most.

    system-bench.py                   about 25 minutes on two quiet CPUs
    system-bench.py --quick           about 8
    system-bench.py --sections life   only that; see below
    system-bench.py --icount          on a busy machine: the emulated clock counts instructions, 2 ns each, so
                                      that seconds hardly feel the load (but those of the boot, taken outside)

On a busy machine without --icount starts may fail on Xen: its tools give up on a hotplug script after 40 s.
^C ends it with the table of what was measured until then.

The raw values go to a file of JSON.  As root: the host image is made with mmdebstrap.
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
import host as hosts                                                    # noqa: E402
import image as host_image                                              # noqa: E402
import linux                                                            # noqa: E402
import qemu                                                             # noqa: E402
import tiny                                                             # noqa: E402

KINDS = ('serai', 'xen', 'bare')
SECTIONS = {
    'boot': 'from the start of QEMU to the login prompt of dom0',
    'life': 'virsh define, start, ..., destroy of one guest',
    'packed': 'start with a kernel as Debian packs it',
    'many': 'the 1st guest beside the last of many, and what each costs in memory',
    'guest': 'system calls, disk and network in a guest',
    'start-counts': 'what dom0 does for one start',
    'guest-counts': 'instructions of a system call, fork, ... by QEMU\'s TCG plugin, in the tiny dom0',
}
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


class Table:
    """Values by row and kind, in the order in which rows first came."""

    def __init__(self):
        self.rows = {}

    def add(self, name, unit, kind, *values):
        row = self.rows.setdefault(name, {'unit': unit, **{k: [] for k in KINDS}})
        row[kind] += [float(v) for v in values]

    @staticmethod
    def number(value):
        return f'{value:.0f}' if abs(value) >= 1000 else f'{value:.3g}'

    def cell(self, values):
        """median (least to most, of how many)"""
        if not values:
            return '-'
        text = self.number(statistics.median(values))
        if len(values) > 1:
            text += f' ({self.number(min(values))}-{self.number(max(values))}, {len(values)})'
        return text

    def text(self):
        lines = [f'{"median (least-most, runs)":36} {"":8} {"Serai":>26} {"Xen":>26} {"bare":>22}  Serai/Xen']
        for name, row in self.rows.items():
            ours, theirs = row['serai'], row['xen']
            ratio = '-'
            if ours and theirs and statistics.median(theirs):
                ratio = f'{statistics.median(ours) / statistics.median(theirs):.2f}'
            lines.append(f'{name:36} {row["unit"]:8} {self.cell(ours):>26} {self.cell(theirs):>26} '
                         f'{self.cell(row["bare"]):>22}  {ratio:>9}')
        lines.append('A unit with "+": more is better.')
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
                        self.table.add(f'boot: {name}', 's', kind, seconds)
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
                self.table.add(name, 'KiB' if 'memory' in name else 's', kind, value)

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
                self.table.add(f'one start: {name}', 'count', kind, count)

    def guest_counts(self):
        for kind in self.options.kinds + ['bare']:
            self.say(f'instructions in dom0: {kind}')
            for number, (name, batch, values) in self.counted(kind).items():
                for what, value in zip(('hypervisor', 'machine', 'entries'), values):
                    if kind != 'bare' or what == 'machine':
                        self.table.add(f'{name}: {what}', 'count', kind, value / batch)

    def counted(self, kind):
        """{mark: (operation, how often, (instructions in the hypervisor, in all, returns))}"""
        log = self.work / f'count-{kind}'
        plugin = TOP / 'build/tests/bench/count-plugin.so'
        machine = tiny.Tiny(kind, script='bench count', files={'/usr/bin/bench': self.program}, store=None,
                            console='', memory=768,
                            qemu_args=['-icount', 'shift=0,sleep=off', '-plugin', plugin, '-d', 'plugin',
                                       '-D', log])
        with machine:
            output = machine.done(1800)
            machine.process.terminate()         # the plugin reports when QEMU ends by itself
            machine.process.wait(60)
        text = log.read_text()
        found = {}
        for number, name, batch in re.findall(r'bench: counted (\d+) (\S+) (\d+)', output):
            inside = int(re.search(rf'^count {number} (\d+)', text, re.M).group(1))
            others = map(int, re.search(rf'^more {number} (\d+) (\d+)', text, re.M).groups())
            found[number] = name, int(batch), (inside, *others)
        return found

    def run(self):
        chosen = self.options.sections
        try:
            if any(s != 'guest-counts' for s in chosen):
                self.boot()
            for section in ('start-counts', 'life', 'packed', 'guest', 'many'):
                if section in chosen:
                    getattr(self, section.replace('-', '_'))()
        finally:
            for host in self.hosts.values():
                host.kill()
        if 'guest-counts' in chosen:
            self.guest_counts()


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
        except KeyboardInterrupt:
            bench.failed = True
            print('interrupted: the table is not whole')
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
