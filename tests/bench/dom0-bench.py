#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The part of system-bench.py that runs in dom0, so that what it times is what libvirt's clients there see.

The client is virsh, one process for each operation: what virsh itself takes is part of each time, and about
what `virsh list` takes.  Each call does one round of one section and prints its numbers as one line of JSON:

    prepare             the guest's disk, the server for its network
    life                virsh define, start, ..., undefine of one guest
    packed              start with the kernel as Debian ships it, packed
    many COUNT          paused guests, one after the other: their start, and what they cost in memory
    guest ROUNDS        in a running guest: system calls and so on, disk, network
    counts              what one start does: processes, system calls, hypercalls, requests to the store
"""

import collections
import json
import os
import pathlib
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import tty
import xml.etree.ElementTree as ElementTree

import libvirt

IMAGES = '/var/lib/libvirt/images'
PORT = 7777
GUEST_MIB = 96
GUEST = '''
<domain type='xen'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os>
    <type>linux</type>
    <kernel>{images}/{kernel}</kernel>
    <initrd>{images}/bench-initrd</initrd>
    <cmdline>console=hvc0 earlyprintk=xen bench.ip=10.0.2.{address}</cmdline>
  </os>
  <devices>
    <disk type='file'>
      <driver name='file' type='raw'/>
      <source file='{images}/{disk}.img'/>
      <target dev='xvda' bus='xen'/>
    </disk>
    <interface type='bridge'>
      <source bridge='br0'/>
      <mac address='00:16:3e:00:01:{number:02x}'/>
    </interface>
    <console type='pty'/>
  </devices>
</domain>
'''
DISK_MIB = 64


def guest_xml(number=1, kernel='guest-kernel'):
    return GUEST.format(name=f'bench{number}', memory=GUEST_MIB, images=IMAGES, kernel=kernel, number=number,
                        address=100 + number, disk='bench' if number == 1 else f'bench{number}')


class Virsh:
    """Seconds of each command of virsh, by name; a call returns its own."""

    def __init__(self):
        self.values = {}

    def __call__(self, command, *arguments):
        begin = time.monotonic()
        result = subprocess.run(['virsh', '-q', '-c', 'xen:///system', command, *arguments], text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seconds = self.values[f'virsh {command}'] = time.monotonic() - begin
        if result.returncode:
            raise RuntimeError(f'virsh {command} ended with {result.returncode}: {result.stdout}')
        return seconds

    def define(self, number=1, kernel='guest-kernel'):
        """Define guest NUMBER; its name."""
        path = pathlib.Path('/tmp/bench.xml')
        path.write_text(guest_xml(number, kernel))
        self('define', str(path))
        return f'bench{number}'


class Console:
    """The terminal that libvirt names for a guest's console."""

    def __init__(self, domain):
        console = ElementTree.fromstring(domain.XMLDesc()).find('.//devices/console')
        path = console.get('tty') or console.find('source').get('path')
        self.file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.file, termios.TCSANOW)
        self.text, self.first = '', None

    def expect(self, pattern, timeout=900):
        """Wait for PATTERN; return what came before it, and the time at which it was there."""
        limit = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.text)
            if found:
                before, self.text = self.text[:found.start()], self.text[found.end():]
                return before, time.monotonic()
            if time.monotonic() > limit:
                raise RuntimeError(f'the guest did not say {pattern!r} but: {self.text[-1500:]}')
            if select.select([self.file], [], [], 1)[0]:
                self.text += os.read(self.file, 65536).decode(errors='replace')
                self.first = self.first or time.monotonic()

    def run(self, command, timeout=900):
        """A command in the guest: its lines "bench: NAME VALUE" as a dict."""
        os.write(self.file, command.encode() + b'\n')
        output, _ = self.expect(r'bench: status 0', timeout)
        return {name: float(value) for name, value in re.findall(r'bench: (\S+) ([\d.]+)\r?\n', output)}

    def close(self):
        os.close(self.file)


def started(connection, virsh):
    """Define and start a guest and follow its console to its first program; returns (name, console)."""
    name = virsh.define()
    begin = time.monotonic()
    virsh('start', name)
    console = Console(connection.lookupByName(name))
    console.expect(r'\n')
    virsh.values['virsh start to first output'] = console.first - begin
    virsh.values['virsh start to first program'] = console.expect('bench: first program')[1] - begin
    console.expect('bench: ready')
    return name, console


def clean(connection):
    """What a section that failed has left."""
    for domain in connection.listAllDomains():
        if domain.name().startswith('bench'):
            if domain.isActive():
                domain.destroy()
            domain.undefine()


def life(connection):
    """One guest from its definition to its end."""
    virsh, saved = Virsh(), f'{IMAGES}/bench.save'
    name, console = started(connection, virsh)
    virsh('list')
    virsh('dumpxml', name)
    virsh('suspend', name)
    virsh('resume', name)
    console.run('true')
    console.close()
    virsh('save', name, saved)
    virsh('restore', saved)
    console = Console(connection.lookupByName(name))
    console.run('true')
    console.close()
    virsh('destroy', name)
    virsh('undefine', name)
    os.unlink(saved)
    return virsh.values


def packed(_):
    """The kernel as Debian ships it: the first start must unpack it, the second may remember."""
    values = {}
    for which in ('first', 'next'):
        virsh = Virsh()
        name = virsh.define(kernel='guest-vmlinuz')
        values[f'virsh start --paused, packed kernel, {which}'] = virsh('start', name, '--paused')
        virsh('destroy', name)
        virsh('undefine', name)
    return values


def dom0_used():
    """KiB of dom0's memory that would not be given back when asked."""
    os.sync()
    pathlib.Path('/proc/sys/vm/drop_caches').write_text('3')
    fields = dict(re.findall(r'(\w+): +(\d+)', pathlib.Path('/proc/meminfo').read_text()))
    return int(fields['MemTotal']) - int(fields['MemAvailable'])


def many(connection, count):
    """COUNT guests, paused, so that the last is started beside others but on an idle machine."""
    virsh, names = Virsh(), []
    for number in range(1, count + 1):
        path = pathlib.Path(guest_xml(number).split("source file='")[1].split("'")[0])
        if not path.exists():
            path.write_bytes(b'')
            os.truncate(path, DISK_MIB << 20)
        names.append(virsh.define(number))
    virsh('start', names[0], '--paused')    # what is cached once is cached
    virsh('destroy', names[0])
    time.sleep(1)
    used, free, rows = dom0_used(), connection.getFreeMemory(), ('the 1st', f'the {count}th')
    times = [virsh('start', name, '--paused') for name in names]
    values = {f'virsh start --paused, {row}': seconds for row, seconds in zip(rows, (times[0], times[-1]))}
    values[f'{rows[1]} over {rows[0]}'] = times[-1] / times[0]
    time.sleep(1)
    values['dom0 memory per guest'] = (dom0_used() - used) / count
    taken = (free - connection.getFreeMemory()) / 1024
    values['hypervisor memory per guest'] = taken / count - GUEST_MIB * 1024
    values[f'virsh destroy, of {count}'] = virsh('destroy', names[-1])
    clean(connection)
    return values


def guest(connection, rounds):
    """In a guest: lists of values by name."""
    values = collections.defaultdict(list)
    _, console = started(connection, Virsh())
    try:
        for _ in range(rounds):
            for command in ('bench micro', 'bench disk /dev/xvda', f'bench net 10.0.2.15 {PORT}'):
                for name, value in console.run(command).items():
                    values[name].append(value)
    finally:
        console.close()
        clean(connection)
    return values


# --- counts ---

STORE_OPERATIONS = 32       # types of requests that the protocol has, and some


def store_requests(data):
    """The number of requests in a stream of bytes to the store (xs_wire.h: type, id, transaction, length)."""
    count = at = 0
    while at + 16 <= len(data):
        kind, _, _, length = struct.unpack_from('<IIII', data, at)
        if kind >= STORE_OPERATIONS or length > 4096:
            break
        count, at = count + 1, at + 16 + length
    return count


READS = 'read,readv,recvfrom,recvmsg,recvmmsg'


def store_reads(text):
    """The number of requests that a store daemon read from its socket, from a trace in hexadecimal."""
    socket = ''.join(f'\\x{ord(c):02x}' for c in 'xenstored/socket')
    streams = collections.defaultdict(bytes)
    for line in text.splitlines():
        found = re.match(rf'(?:\d+ +)?(?:{READS.replace(",", "|")})\((\d+<[^"]*"[^"]*"\]>)', line)
        size = re.search(r'msg_len=(\d+)', line) or re.search(r' = (\d+)$', line)
        if found and size and socket in found.group(1):
            data = re.findall(r'"((?:\\x[0-9a-f]{2})*)"', line[found.end():])
            whole = bytes.fromhex(''.join(data).replace('\\x', ''))
            streams[found.group(1)] += whole[:int(size.group(1))]
    return sum(store_requests(data) for data in streams.values())


def stat(word):
    return int(re.search(rf'^{word} (\d+)', pathlib.Path('/proc/stat').read_text(), re.M).group(1))


class Trace:
    """What processes do while it is open: `with Trace([pid], option...) as trace: ...`, then trace.text."""

    def __init__(self, processes, *options):
        self.path = pathlib.Path(f'/tmp/bench-trace.{processes[0]}')
        self.command = ['strace', '-f', '-o', self.path, *options]
        for process in processes:
            self.command += ['-p', process]

    def __enter__(self):
        self.tracer = subprocess.Popen(self.command, stderr=subprocess.PIPE)
        self.tracer.stderr.readline()       # it says so when it is attached
        time.sleep(2)
        return self

    def __exit__(self, *exc):
        self.tracer.send_signal(signal.SIGINT)
        self.tracer.communicate()
        self.text = self.path.read_text(errors='replace')
        self.path.unlink()


def pids(name):
    return subprocess.run(['pidof', name], stdout=subprocess.PIPE, text=True).stdout.split()


def counts(connection):
    """What one start of a paused guest makes dom0 do."""
    daemon = pids('libvirtd')
    store = pids('serai-xenstored') or pids('oxenstored')
    domain = connection.defineXML(guest_xml())
    values = {}

    def start():
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)

    start()
    domain.destroy()
    before = stat('processes'), stat('ctxt')
    start()
    values['processes and threads made'] = stat('processes') - before[0]
    values['switches between threads'] = stat('ctxt') - before[1]
    domain.destroy()

    with Trace(daemon, '-c', '-U', 'calls') as trace:
        start()
    values['system calls of libvirtd'] = int(re.search(r'(\d+) *\S* *total', trace.text).group(1))
    domain.destroy()

    with Trace(daemon, '-e', 'trace=execve,ioctl', '-yy') as trace:
        start()
    values['programs executed'] = len(re.findall(r'execve(?:\(| resumed).* = 0$', trace.text, re.M))
    calls = re.findall(r'ioctl\(\d+</[^>]*xen/(?:privcmd|hypercall)', trace.text)
    values['hypercalls and mappings of libvirtd'] = len(calls)
    domain.destroy()

    with Trace(store, '-e', f'trace={READS}', '-yy', '-xx', '-s', '8192') as trace:
        start()
    values['requests to the store'] = store_reads(trace.text)
    domain.destroy()
    domain.undefine()
    return values


def prepare():
    disk = pathlib.Path(f'{IMAGES}/bench.img')
    if not disk.exists():
        disk.write_bytes(os.urandom(1 << 20) * DISK_MIB)
    subprocess.Popen(['/root/bench', 'serve', str(PORT)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True)
    return {}


def main():
    section, *arguments = sys.argv[1:]
    if section == 'prepare':
        values = prepare()
    else:
        connection = libvirt.open('xen:///system')
        clean(connection)
        values = {'life': life, 'packed': packed, 'many': many, 'guest': guest, 'counts': counts}[section](
            connection, *map(int, arguments))
    print(json.dumps(values))


if __name__ == '__main__':
    main()
