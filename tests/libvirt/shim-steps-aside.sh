#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A shim without a build for the running libvirt must load, say one line, and let libvirt go on.
#
#     shim-steps-aside.sh SHIM

set -u
shim=$(readlink -f "$1")
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
mkdir "$directory/drivers" "$directory/none" "$directory/root"
cp "$shim" "$directory/drivers/libvirt_driver_xen.so"

echo 1..3
LIBVIRT_DRIVER_DIR=$directory/drivers SERAI_LIBVIRT_DRIVER_DIR=$directory/none \
    virsh -c "xen:///embed?root=$directory/root" uri > "$directory/out" 2> "$directory/err"
code=$?

# libvirt finds no driver for the URI and says so; it neither crashes nor opens one.
if [ $code -eq 1 ]; then echo "ok 1 - no driver is registered"; else echo "not ok 1 - exit code $code"; fi
lines=$(grep -c '^serai: ' "$directory/err")
if [ "$lines" -eq 1 ]; then echo "ok 2 - one line says why"; else echo "not ok 2 - $lines lines"; fi
if nm -D --undefined-only "$shim" | grep -q 'LIBVIRT_PRIVATE'; then
    echo "not ok 3 - the shim needs private symbols"
else
    echo "ok 3 - the shim needs public symbols only"
fi
