# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The start script of xen-utils would start a second store.
[Unit]
ConditionPathExists=!/usr/sbin/serai-xenstored
