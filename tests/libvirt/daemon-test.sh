#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Debian's own libvirtd, unmodified, with the driver at the default path and no environment variable, driven by
# Debian's own virsh, virt-install and virt-xml, by the programs of clients.sh, with secrets (secrets.sh) and
# with virtlockd (locks.sh).
#
#     daemon-test.sh SHIM MODULE LIBRARY MODULE_DIRECTORY KERNEL
#
# Everything happens in a mount and network namespace of its own: the daemon's directories are empty
# ones and the host's daemon, networks and files are not touched.  The hypervisor is pretended, so a
# restart of the daemon finds an empty machine, as after a reboot of the host.

set -u

if [ "${SERAI_IN_NAMESPACE:-}" != 1 ]; then
    if [ "$(id -u)" != 0 ] || ! unshare -mn true 2> /dev/null; then
        echo "1..0 # SKIP needs root and namespaces"
        exit 0
    fi
    for tool in libvirtd virsh virt-install virt-xml ip; do
        command -v "$tool" > /dev/null || { echo "1..0 # SKIP needs $tool"; exit 0; }
    done
    SERAI_IN_NAMESPACE=1 exec unshare -mn --propagation private "$0" "$@"
fi

shim=$(readlink -f "$1")
module=$(readlink -f "$2")
library=$(readlink -f "$3")
module_directory=$4
kernel=$(readlink -f "$5")

script=$(readlink -f "$0")
work=$(mktemp -d)
drivers=$(dirname "$(find /usr/lib -path '*libvirt/connection-driver/libvirt_driver_network.so' | head -n 1)")
daemon=
locker=
count=0

finish() {
    [ -n "$locker" ] && kill "$locker" 2> /dev/null
    [ -n "$daemon" ] && kill "$daemon" 2> /dev/null && wait "$daemon" 2> /dev/null
    for pid in $(cat /run/libvirt/network/*.pid 2> /dev/null); do kill "$pid" 2> /dev/null; done
    umount -l /usr/local /etc/libvirt /run /var/lib/libvirt /var/log/libvirt /var/cache/libvirt 2> /dev/null
    rm -rf "$work"
}
trap finish EXIT

check() { # NAME COMMAND...
    name=$1
    shift
    count=$((count + 1))
    if "$@" > "$work/out" 2>&1; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        sed 's/^/# /' "$work/out"
    fi
}

refuse() { # NAME TEXT COMMAND...
    name=$1
    text=$2
    shift 2
    count=$((count + 1))
    if "$@" > "$work/out" 2>&1; then
        echo "not ok $count - $name: it was done"
    elif grep -q -- "$text" "$work/out"; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name: the reason does not say '$text'"
        sed 's/^/# /' "$work/out"
    fi
}

says() { # NAME TEXT COMMAND...
    name=$1
    text=$2
    shift 2
    count=$((count + 1))
    if "$@" > "$work/out" 2>&1 && grep -q -- "$text" "$work/out"; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name: '$text' is not said"
        sed 's/^/# /' "$work/out"
    fi
}

skip() { # NAME WHY
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

start_daemon() {
    libvirtd > "$work/libvirtd.log" 2>&1 &
    daemon=$!
    for _ in $(seq 50); do
        virsh -c xen:///system uri > /dev/null 2>&1 && return
        kill -0 "$daemon" 2> /dev/null || break
        sleep 0.2
    done
    echo "Bail out! libvirtd does not answer"
    head -n 20 "$work/libvirtd.log" | sed 's/^/# /'
    exit 1
}

# Empty directories in place of the host's, and the driver where the stock one is.
ip link set lo up
for directory in /etc/libvirt /run /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p "$directory"
    mount -t tmpfs -o mode=755 none "$directory"
done
mkdir -p /var/lib/libvirt/images /run/lock
case $module_directory in
/usr/local/*) mount -t tmpfs -o mode=755 none /usr/local ;;
*) echo "1..0 # SKIP the build is not for a prefix below /usr/local"; exit 0 ;;
esac
# The module of a build tree looks for the library beside its own folder.
mkdir -p "$module_directory" "$(dirname "$module_directory")/libxl"
cp "$module" "$module_directory/"
cp "$library" "$(dirname "$module_directory")/libxl/$(objdump -p "$library" | sed -n 's/ *SONAME *//p')"
touch "$drivers/libvirt_driver_libxl.so"
mount --bind "$shim" "$drivers/libvirt_driver_libxl.so"
cat > /etc/libvirt/libvirtd.conf <<CONF
auth_unix_rw = "none"
auth_unix_ro = "none"
CONF
echo 'hypervisor = "fake"' > /etc/libvirt/libxl.conf
unset LIBVIRT_DRIVER_DIR SERAI_LIBVIRT_DRIVER_DIR
export LC_ALL=C HOME="$work"

truncate -s 8M /var/lib/libvirt/images/disk.img
start_daemon
echo "TAP version 13"
says "the default URI is ours" "^xen:///system" virsh uri
says "domain 0 is there" "Domain-0 *running" virsh list
says "version" "Xen 4.17" virsh version

virt-install --connect xen:///system --name one --memory 64 --vcpus 2 --paravirt --boot "kernel=$kernel" \
    --disk /var/lib/libvirt/images/disk.img --network none --graphics vnc --noautoconsole --import --print-xml \
    > "$work/one.xml" 2> "$work/out"
check "virt-install writes XML" grep -q "<domain type=.xen" "$work/one.xml"
check "define what virt-install writes" virsh define "$work/one.xml"
check "the definition is a file" test -f /etc/libvirt/libxl/one.xml
check "start" virsh start one
says "it runs" "one *running" virsh list
says "VNC has a port" "127.0.0.1:0" virsh vncdisplay one
check "suspend" virsh suspend one
says "it is paused" "paused" virsh domstate one
check "resume" virsh resume one
check "setvcpus" virsh setvcpus one 1 --live
check "setmem" virsh setmem one 32M --live
check "domstats" virsh domstats one
truncate -s 1M /var/lib/libvirt/images/b.img
check "attach-disk" virsh attach-disk one /var/lib/libvirt/images/b.img xvdb --driver qemu --subdriver raw \
    --live --config
says "the disk is listed" "xvdb" virsh domblklist one
check "detach-disk" virsh detach-disk one xvdb --live --config
check "attach-interface" virsh attach-interface one bridge br0 --mac 00:16:3e:00:00:07 --live
says "the interface is listed" "00:16:3e:00:00:07" virsh domiflist one
check "detach-interface" virsh detach-interface one bridge --mac 00:16:3e:00:00:07 --live
check "save" virsh save one /var/lib/libvirt/one.save
check "restore" virsh restore /var/lib/libvirt/one.save
check "managedsave" virsh managedsave one
says "managed save is shown" "Managed save: *yes" virsh dominfo one
check "start from the managed save" virsh start one
says "schedinfo" "weight *: 300" virsh schedinfo one --live weight=300
check "autostart" virsh autostart one
check "virt-xml edits" virt-xml --connect xen:///system one --edit --memory 48,maxmemory=64
check "virt-xml adds a disk" virt-xml --connect xen:///system one --add-device --disk /var/lib/libvirt/images/b.img,target.dev=xvdc
check "domxml-to-native" virsh domxml-to-native xen-xl --domain one

# Killed with a running domain.  The pretended machine is new afterwards, as after a reboot: the guest is gone and shown so.
kill -9 "$daemon"
wait "$daemon" 2> /dev/null
check "a status file is left" test -f /run/libvirt/libxl/one.xml
rm -f /run/libvirt/libvirt-sock* /run/libvirtd.pid
start_daemon
says "the guest that is gone is shut off" "shut off" virsh domstate one
check "no status file is left" test ! -e /run/libvirt/libxl/one.xml
check "it starts again" virsh start one
check "shutdown" virsh shutdown one
check "it goes" sh -c 'for _ in $(seq 50); do [ "$(virsh domstate one)" = "shut off" ] && exit 0; sleep 0.1; done; exit 1'
check "undefine" virsh undefine one
check "no file is left" sh -c '! ls /etc/libvirt/libxl/*.xml /run/libvirt/libxl/*.xml 2> /dev/null | grep .'

. "$(dirname "$script")/clients.sh"
. "$(dirname "$script")/secrets.sh"

# An isolated network of libvirt's own.
cat > "$work/net.xml" <<XML
<network><name>isolated</name><bridge name='virbr77'/></network>
XML
check "net-define" virsh net-define "$work/net.xml"
sed "s|<devices>|<devices><interface type='network'><source network='isolated'/></interface>|" "$work/one.xml" > "$work/two.xml"
check "define with a network" virsh define "$work/two.xml"
refuse "an inactive network fails the start with its name" "isolated" virsh start one
says "nothing runs" "shut off" virsh domstate one
if virsh net-start isolated > "$work/out" 2>&1; then
    check "start with a network" virsh start one
    says "its bridge is known" "virbr77" virsh dumpxml one
    mac=$(virsh domiflist one | sed -n 's/.* \([0-9a-f:]\{17\}\)$/\1/p')
    refuse "without a lease there is no name" "domain 'one' has no lease" virsh domhostname one
    # As dnsmasq's helper of libvirt writes it.
    mkdir -p /var/lib/libvirt/dnsmasq
    cat > /var/lib/libvirt/dnsmasq/virbr77.status <<LEASES
[ { "ip-address": "192.168.177.9", "mac-address": "$mac", "hostname": "from-the-lease",
    "expiry-time": $(($(date +%s) + 3600)) } ]
LEASES
    says "its lease has its name" "^from-the-lease" virsh domhostname one --source lease
    says "the name is found without being told where" "^from-the-lease" virsh domhostname one
    says "its lease has its address" "192.168.177.9" virsh domifaddr one
    check "the network has a port" sh -c 'virsh net-port-list isolated | grep -q -- -'
    check "destroy" virsh destroy one
    check "the port is given back" sh -c '! virsh net-port-list isolated | grep -q -- [0-9a-f]-[0-9a-f]'
else
    skip "a guest on a network of libvirt's" "none can be started here: $(grep . "$work/out" | tail -n 1)"
fi
refuse "a name that is taken is refused" "one" sh -c "sed 's|<uuid>.*</uuid>||' $work/one.xml > $work/dup.xml; virsh define $work/dup.xml"
check "undefine again" virsh undefine one
if command -v virtlockd > /dev/null; then
    . "$(dirname "$script")/locks.sh"
else
    skip "locked disks" "virtlockd is not installed"
fi
check "the daemon has not died" kill -0 "$daemon"
echo "1..$count"
