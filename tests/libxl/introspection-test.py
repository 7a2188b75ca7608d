#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The library from Python, by introspection: what a language binding needs is in the comments and types."""

import sys

try:
    import gi
    gi.require_version("Serai", "1.0")
    from gi.repository import GLib, Serai
except (ImportError, ValueError) as error:
    print("1..0 # SKIP %s" % error)
    sys.exit(0)

count = 0


def check(name, ok):
    global count
    count += 1
    print("%sok %d %s" % ("" if ok else "not ", count, name))
    if not ok:
        sys.exit(1)


host = Serai.Host.open("fake")
info = host.get_info()
check("facts of a host are read", info.version_major == 4 and info.scheduler == "credit2")
domains = host.list_domains()
check("a list has typed elements", len(domains) == 1 and domains[0].domid == 0)
config = Serai.Config.from_data("[domain]\nname=x\nuuid=6f1c9c5e-0000-4000-8000-000000000001\nmax_memory_kib=8192\n"
                                "max_vcpus=1\nkernel=/nonexistent\n")
check("text becomes a description", config.name == "x" and config.max_memory_kib == 8192)
try:
    Serai.Domain.create_sync(host, config, None, None)
    check("a kernel that is not there is an error", False)
except GLib.Error as error:
    check("a kernel that is not there is an error with its code",
          error.matches(GLib.quark_from_string("serai-error-quark"), Serai.Error.INVALID_KERNEL))
check("nothing is left of it", len(host.list_domains()) == 1)
print("1..%d" % count)
