# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Disks of running domains are locked by virtlockd, and who may only look changes nothing: read by
# daemon-test.sh at its end, whose functions it uses, while no domain runs.

kill "$daemon"
wait "$daemon" 2> /dev/null
rm -f /run/libvirt/libvirt-sock* /run/libvirtd.pid
echo 'lock_manager = "lockd"' >> /etc/libvirt/libxl.conf
virtlockd > "$work/virtlockd.log" 2>&1 &
locker=$!
for _ in $(seq 50); do [ -S /run/libvirt/virtlockd-sock ] && break; sleep 0.2; done
start_daemon

truncate -s 1M /var/lib/libvirt/images/locked.img
for name in first second; do
    cat > "$work/$name.xml" <<XML
<domain type='xen'><name>$name</name><memory unit='MiB'>64</memory>
  <os><type>linux</type><kernel>$kernel</kernel></os>
  <devices><disk type='file'>
    <driver name='qemu' type='raw'/><source file='/var/lib/libvirt/images/locked.img'/>
    <target dev='xvda' bus='xen'/>
  </disk></devices></domain>
XML
    check "define $name" virsh define "$work/$name.xml"
done
cat > "$work/third.xml" <<XML
<domain type='xen'><name>third</name><memory unit='MiB'>64</memory>
  <os><type>linux</type><kernel>$kernel</kernel></os></domain>
XML
check "a third has none" virsh create "$work/third.xml"
check "the first has its disk" virsh start first
refuse "the second does not get it" "locked.img" virsh start second
says "the second does not run" "shut off" virsh domstate second
refuse "nor when it tries again: being refused gives nobody's lock back" "locked.img" virsh start second
check "suspend" virsh suspend first
refuse "a paused domain keeps its disk" "locked.img" virsh start second
refuse "nor can it be attached elsewhere" "locked.img" virsh attach-disk third \
    /var/lib/libvirt/images/locked.img xvdb --driver qemu --subdriver raw --live
check "resumed" virsh resume first
# The lock outlives the daemon, and so does who holds it.
kill -9 "$daemon"
wait "$daemon" 2> /dev/null
rm -f /run/libvirt/libvirt-sock* /run/libvirtd.pid
start_daemon
check "the daemon found its guest gone, and gave the disk back" virsh start second
check "the second ends" virsh destroy second
check "the first gets it again" virsh start first
check "the first ends" virsh destroy first
check "the second gets it then" virsh start second

refuse "who may only look starts nothing" "read only access" virsh -r start first
refuse "who may only look reads no memory" "read only access" virsh -r setmem second 32M
says "who may only look sees" "second *running" virsh -r list

check "destroy second" virsh destroy second
for name in first second; do check "undefine $name" virsh undefine "$name"; done
check "virtlockd has not died" kill -0 "$locker"
kill "$locker"
locker=
