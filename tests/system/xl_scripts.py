# SPDX-License-Identifier: LGPL-2.1-or-later
"""Short hotplug scripts for xl's disks and network cards.

Xen's own start dozens of programs, and xl gives them 40 seconds whatever else the machine does: too little
for an emulated host that is busy.  A disk takes `script=quick-block, target=FILE`, a card `script=quick-vif`.
"""

SCRIPTS = {
    'quick-block': '''\
#!/bin/sh -e
case $1 in
add)
    node=$(losetup -f --show "$(xenstore-read "$XENBUS_PATH/params")")
    xenstore-write "$XENBUS_PATH/node" "$node" "$XENBUS_PATH/physical-device" "$(stat -c %t:%T "$node")" \\
        "$XENBUS_PATH/hotplug-status" connected ;;
remove)
    losetup -d "$(xenstore-read "$XENBUS_PATH/node")" ;;
esac
''',
    'quick-vif': '''\
#!/bin/sh -e
case $1 in
online|add)
    ip link set "$vif" master br0 up
    xenstore-write "$XENBUS_PATH/hotplug-status" connected ;;
esac
'''}


def install(host):
    for name, text in SCRIPTS.items():
        host.run(f'cat > /etc/xen/scripts/{name} && chmod 755 /etc/xen/scripts/{name}', input=text)
