#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""serai-xenstored below Debian's tools, kernels and guests, in QEMU.

Usage: store-on-xen.py [serai|xen] [--kills N] [--cycles N] [--daemon FILE] [--client FILE]

In a tiny dom0 whose store is ours: `xl create` of a guest with a disk and a network card; xenstore-utils;
the daemon killed again and again, and updated in place, under disk traffic, pings and clients that check
each answer, in the guest, in dom0's kernel and on a socket; then domains made and destroyed, after which
the store has as many nodes as before.  Skips, with the reason, when QEMU or a package is missing.
"""
import argparse
import os
import pathlib
import signal
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import linux                                                            # noqa: E402
import tiny                                                             # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]

GUEST_INIT = '''\
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in $(cat /etc/module-order); do insmod /lib/modules/$m; done
i=0
while [ $i -lt 100 ] && ! { [ -b /dev/xvda ] && [ -e /sys/class/net/eth0 ]; }; do usleep 100000; i=$((i + 1)); done
address=192.168.200.2
for word in $(cat /proc/cmdline); do case $word in guest.ip=*) address=${word#guest.ip=} ;; esac; done
ip addr add $address/24 dev eth0
ip link set eth0 up
httpd -h /tmp
mkdir -p /dev/xen
[ -e /dev/xen/xenbus ] || mknod /dev/xen/xenbus c 10 $(awk '$2 == "xen/xenbus" { print $1 }' /proc/misc)
store-client /dev/xen/xenbus data/client 2>&1 | tee /tmp/client.log &
say() { echo "guest: $*"; echo "$*" >> /tmp/disk.log; }
round=0
while :; do
    round=$((round + 1))
    dd if=/dev/urandom of=/tmp/block bs=64k count=4 2>/dev/null
    dd if=/tmp/block of=/dev/xvda bs=64k count=4 seek=$((round % 16 * 4)) oflag=direct 2>/dev/null ||
        say "disk write FAILED"
    dd if=/dev/xvda of=/tmp/back bs=64k count=4 skip=$((round % 16 * 4)) iflag=direct 2>/dev/null ||
        say "disk read FAILED"
    cmp -s /tmp/block /tmp/back || say "disk DIFFERS"
    say "disk round $round"
    usleep 100000
done
'''

GUEST_CONFIG = '''\
name = "guest"
type = "pv"
kernel = "/boot/guest-kernel"
ramdisk = "/boot/store-guest-initrd"
extra = "console=hvc0 quiet"
memory = 128
vcpus = 1
disk = [ "format=raw, vdev=xvda, access=rw, script=store-test-block, target=/run/disk.img" ]
vif = [ "mac=00:16:3e:00:00:01, bridge=xenbr0, script=/etc/xen/scripts/store-test-vif" ]
'''

EMPTY_CONFIG = '''\
name = "empty"
type = "pv"
kernel = "/boot/empty"
memory = 8
vcpus = 1
'''

BLOCK_SCRIPT = '''\
#!/bin/sh
case $1 in
add)
    losetup /dev/loop0 /run/disk.img
    xenstore-write "$XENBUS_PATH/physical-device" 7:0
    xenstore-write "$XENBUS_PATH/hotplug-status" connected ;;
remove)
    losetup -d /dev/loop0 ;;
esac
'''

VIF_SCRIPT = '''\
#!/bin/sh
case $1 in
online|add)
    ip link set "$vif" master xenbr0 up
    xenstore-write "$XENBUS_PATH/hotplug-status" connected ;;
esac
'''

SCRIPT = '''\
fail() { echo "FAILURE: $*"; cat /tmp/*.log; grep -v "disk round" /var/log/xen/console/guest-guest.log; exit 1; }
count() { xenstore-ls -f / | wc -l; }
rounds() { grep -c "disk round" /var/log/xen/console/guest-guest.log; }
daemon() { # the child of the two; another one looks at the state before an update
    for p in $(pidof serai-xenstored); do
        grep -q -e --check /proc/$p/cmdline && continue
        parent=$(awk '/^PPid/ { print $2 }' /proc/$p/status)
        [ "$(cat /proc/$parent/comm)" = serai-xenstored ] && echo $p
    done
}
answers() { grep "rounds right" $1 | tail -n 1 | sed 's/.*client: \\([0-9]*\\) rounds.*/\\1/'; }

echo "step: utilities"
xenstore-write /test/a 1 /test/b 2 || fail write
[ "$(xenstore-read /test/b)" = 2 ] || fail read
xenstore-exists /test/a || fail exists
xenstore-chmod /test/a n0 r5 || fail chmod
xenstore-ls -p /test | grep -q "n0,r5" || fail ls
(xenstore-watch -n 3 /test/a > /tmp/watch.log 2>&1; echo "watch ended $?" >> /tmp/watch.log) &
usleep 300000
xenstore-write /test/a x || fail write

echo "step: a guest with disk and network"
dd if=/dev/zero of=/run/disk.img bs=1M count=8 2>/dev/null
before=$(count)
xl create /etc/store-guest.cfg || fail create
wait-guest guest "disk round 2" 120 > /dev/null || fail "the guest does no disk traffic"
wait-guest guest "rounds right\\|WRONG" 120 > /dev/null || fail "the guest's client does nothing"
ping -c 2 -W 5 192.168.200.2 > /tmp/ping0.log || fail "no ping"
ping -i 0.2 192.168.200.2 > /tmp/ping.log 2>&1 &
pinger=$!
store-client /dev/xen/xenbus /test/kernel > /tmp/kernel.log 2>&1 &
clients=$!
store-client /run/xenstored/socket /test/socket > /tmp/socket.log 2>&1 &
clients="$clients $!"

echo "step: kills"
i=0
while [ $i -lt @KILLS@ ]; do
    pid=$(daemon)
    kill -9 $pid || fail "no daemon"
    usleep $((100000 + i * 37000 % 400000))
    i=$((i + 1))
done
xl list guest || fail "xl list after the kills"
echo "step: update in place"
pid=$(daemon)
xenstore-control live-update -F /usr/bin/serai-xenstored || fail live-update
[ "$(daemon)" = $pid ] || fail "the update changed the process"
sleep 3
xenstore-write /test/a y || fail write
sleep 1
grep -q "watch ended 0" /tmp/watch.log || fail "the watch set before the kills did not fire after them"
reached=$(rounds) inside=$(answers /var/log/xen/console/guest-guest.log)
answered=$(answers /tmp/kernel.log) told=$(answers /tmp/socket.log)
goes_on() { # COMMAND COUNT WHAT: the command's number grows beyond the count
    left=600
    until [ $(eval $1) -gt $2 ]; do
        left=$((left - 1))
        [ $left -gt 0 ] || fail "$3 stands still"
        usleep 100000
    done
}
goes_on rounds $((reached + 3)) "the guest's disk"
goes_on "answers /tmp/kernel.log" $answered "the client on the kernel's ring"
goes_on "answers /tmp/socket.log" $told "the client on a socket"
goes_on "answers /var/log/xen/console/guest-guest.log" $inside "the client in the guest"
kill -INT $pinger; sleep 1
kill $clients || fail "a client ended"
tail -n 3 /tmp/ping.log; cat /tmp/kernel.log | tail -n 1; cat /tmp/socket.log | tail -n 1
tail -n 4 /var/log/xen/console/guest-guest.log
# The last one may have been under way when ping was told to stop.
sed -n 's/.*seq=\\([0-9]*\\) .*/\\1/p' /tmp/ping.log | awk '$1 != NR - 1 { exit 1 }' || fail "pings were lost"
awk '/packets transmitted/ { exit $1 - $4 > 1 }' /tmp/ping.log || fail "the last pings were lost"
grep -E "WRONG|FAILED|DIFFERS" /tmp/*.log /var/log/xen/console/guest-guest.log && fail "a client got a wrong answer"
xl destroy guest || fail destroy
sleep 1
xenstore-rm /test
now=$(count)
echo "nodes before the guest: $before, after: $now"

echo "step: cycles"
xl create -p /etc/empty.cfg && xl destroy empty || fail "one empty domain"
before=$(count)
i=0
while [ $i -lt @CYCLES@ ]; do
    xl create -p -q /etc/empty.cfg > /dev/null && xl destroy empty || fail "cycle $i"
    i=$((i + 1))
    [ $((i % 10)) = 0 ] && echo "$i cycles, $(count) nodes"
done
sleep 1
now=$(count)
echo "nodes before @CYCLES@ domains: $before, after: $now"
[ $before = $now ] || { xenstore-ls -f /; fail "nodes are left"; }
xenstore-control check
xenstore-control counters | head -n 1
xenstore-control check | grep -q " 0 domains wrong" || fail check
dmesg | grep -iE "segfault|xenbus.*(error|fail)|unknown id" && fail "the kernel complains"
echo "step: done"
'''


def empty_kernel():
    """The smallest PV kernel that xl builds a domain from: it is never run."""
    base, code, page = 0xffffffff80000000, 0x1000, 0x1000

    def note(kind, data):
        return struct.pack('<III', 4, len(data), kind) + b'Xen\0' + data + b'\0' * (-len(data) % 4)

    def number(value):
        return struct.pack('<Q', value)
    notes = (note(6, b'empty\0') + note(5, b'xen-3.0\0') + note(8, b'generic\0') + note(3, number(base))
             + note(4, number(0)) + note(1, number(base + page)) + note(2, number(base + 2 * page))
             + note(9, b'yes\0') + note(10, b'!writable_page_tables|pae_pgdir_above_4gb\0'))
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1' + b'\0' * 9, 2, 62, 1, base + page, 64, 0, 0, 64,
                         56, 2, 64, 0, 0)
    load = struct.pack('<IIQQQQQQ', 1, 7, code, base + page, page, 0x2000, 0x2000, 0x1000)
    notes_at = 0x400
    notes_header = struct.pack('<IIQQQQQQ', 4, 4, notes_at, 0, 0, len(notes), len(notes), 4)
    image = (header + load + notes_header).ljust(notes_at, b'\0') + notes
    return image.ljust(code, b'\0') + (b'\xf4\xeb\xfd').ljust(0x2000, b'\0')


def guest_initramfs(client):
    tree = linux.Initramfs()
    tiny.busybox_tree(tree)
    tiny.add_modules(tree, linux.Kernel(), tiny.GUEST_MODULES)
    tree.file('init', GUEST_INIT, 0o755)
    tree.program('bin/store-client', client)
    return tiny.zlib_gzip(tree.archive())


def main():
    parser = argparse.ArgumentParser(description='serai-xenstored below real guests')
    parser.add_argument('kind', nargs='?', default='xen', choices=['serai', 'xen'])
    parser.add_argument('--kills', type=int, default=10)
    parser.add_argument('--cycles', type=int, default=20)
    parser.add_argument('--daemon', default=str(TOP / 'build/xenstore/serai-xenstored'))
    parser.add_argument('--client', default=str(TOP / 'build/tests/xenstore/store-client'))
    parser.add_argument('--log', default=None, help='keep the console here')
    options = parser.parse_args()
    # QEMU must not outlive a run that is cut short.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for needed in (options.daemon, options.client):
        if not os.path.exists(needed):
            print(f'SKIP: {needed} is not built')
            return 77
    try:
        hypervisor = tiny.hypervisor(options.kind)
        initrd = guest_initramfs(options.client)
    except (FileNotFoundError, RuntimeError) as error:
        print(f'SKIP: {error}')
        return 77
    script = SCRIPT.replace('@KILLS@', str(options.kills)).replace('@CYCLES@', str(options.cycles))
    files = {'boot/store-guest-initrd': initrd, 'boot/empty': empty_kernel(), 'etc/store-guest.cfg': GUEST_CONFIG,
             'etc/empty.cfg': EMPTY_CONFIG, 'etc/store-test-block': BLOCK_SCRIPT, 'etc/store-test-vif': VIF_SCRIPT}
    prepare = ('for s in block vif; do cp /etc/store-test-$s /etc/xen/scripts/store-test-$s; '
               'chmod 755 /etc/xen/scripts/store-test-$s; done\n')
    with tiny.Tiny(options.kind, script=script, prepare=prepare, files=files,
                   programs={'usr/bin/serai-xenstored': options.daemon, 'usr/bin/store-client': options.client},
                   store='/usr/bin/serai-xenstored --foreground --supervise', log=options.log) as machine:
        del hypervisor
        try:
            output = machine.done(timeout=600 + 10 * options.cycles)
        except AssertionError as error:
            print(error)
            return 1
    print(output)
    return 0 if 'step: done' in output else 1


if __name__ == '__main__':
    sys.exit(main())
