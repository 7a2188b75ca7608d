# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many guests: twenty with disks and network at once, and 200 that come and go without leaving anything.

Half of the guests are made by virsh, half by Debian's xl, on one host.  Each of the twenty writes random data
to its disk, reads it back past its cache, pings dom0 and streams the disk to it, again and again until all
have done so while all the others ran.  Dom0 then compares what it received with the image files.
"""

import itertools
import re
import time

import pytest

import host as hosts
import linux
import tiny
import xl_scripts

pytestmark = [pytest.mark.scale, pytest.mark.by_name]
IMAGES = '/var/lib/libvirt/images'
PORT = 9000
DATA_MIB = 4

# In each guest, until dom0 says "stop"; what was wrong is told with the data.
GUEST = f'''
number=$(sed 's/.*guest.ip=10.0.2.\\([0-9]*\\).*/\\1/' /proc/cmdline)
round=0
while :; do
    round=$((round + 1))
    wrong=nothing
    dd if=/dev/urandom of=/tmp/data bs=1M count={DATA_MIB} 2>/dev/null
    sum=$(sha256sum < /tmp/data)
    dd if=/tmp/data of=/dev/xvda bs=64k conv=fsync 2>/dev/null || wrong=write
    echo 3 > /proc/sys/vm/drop_caches
    [ "$(dd if=/dev/xvda bs=1M count={DATA_MIB} 2>/dev/null | sha256sum)" = "$sum" ] || wrong=disk
    tries=0
    until ping -c 1 -W 10 10.0.2.15 >/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 30 ] || {{ wrong=ping; break; }}
    done
    {{ echo "$number $round $wrong ${{sum%% *}}"; dd if=/dev/xvda bs=1M count={DATA_MIB} 2>/dev/null; }} \\
        | nc 10.0.2.15 {PORT} | grep -q stop && break
done &
'''

# In dom0: takes each guest's stream, and writes a line about it.
RECEIVER = f'''
import hashlib, os, socketserver
class Take(socketserver.StreamRequestHandler):
    def handle(self):
        number, count, wrong, told = self.rfile.readline().decode().split()
        data = self.rfile.read({DATA_MIB} << 20)
        if hashlib.sha256(data).hexdigest() != told:
            wrong = f"stream-of-{{len(data)}}-bytes"
        stop = os.path.exists('/run/stop')
        with open('/run/received', 'a') as f:
            print(number, count, told, wrong, int(stop), file=f)
        self.wfile.write(b'stop' if stop else b'taken')
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64
open('/run/received', 'w').close()
Server(('10.0.2.15', {PORT}), Take).serve_forever()
'''

VIRSH = '''
<domain type='xen'>
  <name>{name}</name>
  <memory unit='MiB'>96</memory>
  <vcpu>1</vcpu>
  <os>
    <type>linux</type>
    <kernel>{images}/scale-kernel</kernel>
    <initrd>{images}/{initrd}</initrd>
    <cmdline>console=hvc0 quiet guest.ip=10.0.2.{number}</cmdline>
  </os>
  <devices>
    <disk type='file'>
      <driver name='phy'/>
      <source file='{images}/{name}.img'/>
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
XL = '''
name = "{name}"
type = "pv"
kernel = "{images}/scale-kernel"
ramdisk = "{images}/{initrd}"
extra = "console=hvc0 quiet guest.ip=10.0.2.{number}"
memory = 96
vcpus = 1
disk = ["format=raw, vdev=xvda, access=rw, script=quick-block, target={images}/{name}.img"]
vif = ["mac=00:16:3e:00:01:{number:02x}, bridge=br0, script=quick-vif"]
'''

# Everything a domain could leave behind, one "name value" a line.  Caches are dropped first, so that what is
# counted as dom0's memory is what somebody holds.  Of a daemon only what is its own counts: the store's
# journal, a file that is mapped, grows to 8 MiB before it is written anew.
MEASURE = r'''
sync; echo 3 > /proc/sys/vm/drop_caches
echo "free_memory $(xl info free_memory)"
echo "domains $(xl list | tail -n +2 | wc -l)"
echo "store $(xenstore-ls -f | grep -v '^/local/domain/0/memory\|^/tool/\|/backend/[a-z]* = ' | wc -l)"
echo "vifs $(ls /sys/class/net | grep -c '^vif')"
echo "loops $(losetup -a | wc -l)"
echo "block $(ls /sys/bus/xen-backend/devices | wc -l)"
echo "xl $(pgrep -xc xl)"
xl debug-keys m
xl dmesg | sed -n 's/.*memory: \([0-9]*\) of .* frames free; heap \([0-9]*\) pages.*/\1 \2/p' | tail -n 1 |
    while read frames heap; do echo "free_frames $frames"; echo "heap_pages $heap"; done
echo "evtchns $(/usr/lib/xen-4.17/bin/lsevtchn 0 | wc -l)"
awk '/^MemAvailable/ { print "available_kib " $2 } /^SUnreclaim/ { print "slab_kib " $2 }' /proc/meminfo
for d in libvirtd serai-xenstored serai-consoled oxenstored xenconsoled; do
    p=$(pidof -s $d) || continue
    echo "fds_$d $(ls /proc/$p/fd | wc -l)"
    awk -v d=$d '/^RssAnon/ { print "own_kib_" d " " $2 }' /proc/$p/status
done
'''
# These may grow by this much over all cycles; everything else must be what it was.
SLACK = {'free_frames': 32, 'heap_pages': 32, 'available_kib': 24 << 10, 'slab_kib': 8 << 10,
         'fds_libvirtd': 2, 'own_kib_libvirtd': 8 << 10, 'own_kib_serai-xenstored': 1 << 10,
         'own_kib_serai-consoled': 1 << 10, 'own_kib_oxenstored': 4 << 10, 'own_kib_xenconsoled': 1 << 10}


@pytest.fixture(scope='module')
def host(kind, stock, host_image_directory, tmp_path_factory):
    work = tmp_path_factory.mktemp('scale')
    initrd = work / 'initrd'
    initrd.write_bytes(tiny.guest_initramfs(linux.Kernel(), GUEST))
    log = hosts.TOP / f'build/system-logs/scale-{kind}.log'
    files = {f'{IMAGES}/scale-initrd': initrd, f'{IMAGES}/scale-kernel': linux.Kernel().elf}
    with hosts.Host(kind, stock=stock, memory=4096, image=host_image_directory, log=log, files=files) as h:
        yield h.boot(1800)


@pytest.fixture(scope='module')
def guests(request):
    """Who there is: (tool, name, last number of the address), each tool in its turn."""
    return [(tool, f'{tool}-{n}', n) for n, tool in
            zip(range(101, 101 + request.config.getoption('--guests')), itertools.cycle(('virsh', 'xl')))]


def text(template, name, number, initrd='scale-initrd'):
    return template.format(name=name, number=number, images=IMAGES, initrd=initrd)


def create(host, tool, name, number, initrd='scale-initrd'):
    if tool == 'virsh':
        host.connect().createXML(text(VIRSH, name, number, initrd))
    else:
        host.run(f'cat > /run/{name}.cfg; xl create -q /run/{name}.cfg', timeout=900,
                 input=text(XL, name, number, initrd))


def destroy(host, tool, name):
    if tool == 'virsh':
        host.connect().lookupByName(name).destroy()
    else:
        host.run(f'xl destroy {name}', timeout=900)


def settled(host):
    """What dom0 holds, once the kernel has taken all backends away."""
    host.run('for i in $(seq 600); do [ -z "$(ls /sys/bus/xen-backend/devices; losetup -a)" ] && exit 0; '
             'sleep 0.5; done; ls /sys/bus/xen-backend/devices; losetup -a; exit 1', timeout=900)
    return {name: int(value) for name, value in map(str.split, host.run(MEASURE, timeout=900).splitlines())}


def compare(before, after):
    """What became worse, as text."""
    def worse(name):
        if name in ('free_memory', 'free_frames', 'available_kib'):
            return before[name] - after[name]
        return after[name] - before[name]

    return ', '.join(f'{name}: {before[name]} before, {after[name]} after' for name in before
                     if worse(name) > SLACK.get(name, 0))


@pytest.fixture(scope='module')
def disks(host, guests):
    xl_scripts.install(host)
    host.run('; '.join(f'truncate -s 16M {IMAGES}/{name}.img' for _, name, _ in guests))


@pytest.fixture(scope='module')
def before(host, guests, disks):
    """What dom0 holds after the first guest of each tool: both have loaded and opened what they keep."""
    for tool, name, number in guests[:2]:
        create(host, tool, name, number, 'guest-initrd')
        destroy(host, tool, name)
    return settled(host)


def received(host):
    """What dom0 has received: {guest's number: [(sum, was it told to stop), ...]}."""
    found = {}
    for line in host.run('cat /run/received').splitlines():
        number, _, total, wrong, stop = line.split()
        assert wrong == 'nothing', line
        found.setdefault(int(number), []).append((total, stop == '1'))
    return found


def wait_for_all(host, guests, ready, timeout=3600):
    """Until READY(what was received from a guest) is true of every guest."""
    limit = time.monotonic() + timeout
    while True:
        now = received(host)
        late = [name for _, name, number in guests if not ready(number, now.get(number, []))]
        if not late:
            return now
        assert time.monotonic() < limit, f'no word from {late}\n{host.run("xl list; cat /run/received")}'
        host.pump(5)


def test_twenty_guests_work_at_once(host, guests, before):
    host.run('cat > /run/receiver.py', input=RECEIVER)
    host.run('systemd-run --quiet --unit=receiver --collect python3 /run/receiver.py')
    for guest in guests:
        create(host, *guest)

    # From here all of them run: each must get through one more whole round.
    start = {number: len(rounds) for number, rounds in received(host).items()}
    wait_for_all(host, guests, lambda number, rounds: len(rounds) >= start.get(number, 0) + 2)
    listed = host.run('xl list')
    assert all(re.search(rf'^{name} ', listed, re.M) for _, name, _ in guests), listed

    # What each has written last must be in its image file.
    host.run('touch /run/stop')
    last = wait_for_all(host, guests, lambda number, rounds: rounds and rounds[-1][1])
    for tool, name, number in guests:
        found = host.run(f'head -c {DATA_MIB << 20} {IMAGES}/{name}.img | sha256sum').split()[0]
        assert found == last[number][-1][0], f'the disk of {name}'
        destroy(host, tool, name)
    host.run('systemctl stop receiver')


def test_the_twenty_left_nothing(host, before):
    assert not compare(before, settled(host))


def test_two_hundred_come_and_go(request, host, guests, before):
    """Destroyed at every age: just made, in the middle of the kernel's start, with devices connected."""
    cycles = range(request.config.getoption('--cycles'))
    for cycle, (tool, name, number) in zip(cycles, itertools.cycle(guests)):
        create(host, tool, name, number, 'guest-initrd')
        host.pump(0)
        time.sleep(cycle % 10 * 0.5)
        destroy(host, tool, name)
    after = settled(host)
    print(f'before: {before}\nafter:  {after}')
    assert not compare(before, after)
