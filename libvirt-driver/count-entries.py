#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many of libvirt's hypervisor entries are filled: by us, by the stock Xen driver, by QEMU's.

    count-entries.py LIBVIRT_SOURCE [--list]

The entries are the fields of struct _virHypervisorDriver in the tree given; a driver fills those that its
table initializes.  Ours is read from driver.c, and a row counts only if its function is defined in
this folder, so a name in the table alone is not enough.
"""

import argparse
import pathlib
import re
import sys


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def entries(source):
    header = read(source / "src" / "driver-hypervisor.h")
    body = header[header.index("struct _virHypervisorDriver {"):]
    return re.findall(r"^\s+virDrv\w+ (\w+);", body, re.MULTILINE)


def table(text):
    """The rows of the one virHypervisorDriver initializer in a C file, as {entry: function}."""
    match = re.search(r"static virHypervisorDriver \w+ = \{(.*?)^\};", text, re.MULTILINE | re.DOTALL)
    if not match:
        sys.exit("no table of a hypervisor driver was found")
    return dict(re.findall(r"^\s+\.(\w+) = (\w+)", match.group(1), re.MULTILINE))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path, help="unpacked source of libvirt")
    parser.add_argument("--list", action="store_true", help="name each entry that QEMU fills and we do not")
    arguments = parser.parse_args()

    names = entries(arguments.source)
    here = pathlib.Path(__file__).resolve().parent
    defined = set()
    for path in here.glob("*.c"):
        defined.update(re.findall(r"^(\w+)\(", read(path), re.MULTILINE))

    ours = {entry for entry, function in table(read(here / "driver.c")).items() if function in defined}
    xen = set(table(read(arguments.source / "src" / "libxl" / "libxl_driver.c")))
    qemu = set(table(read(arguments.source / "src" / "qemu" / "qemu_driver.c")))

    known = set(names)
    print(f"entries of libvirt           {len(names)}")
    print(f"filled by this driver        {len(ours & known)}")
    print(f"filled by the stock driver   {len(xen & known)}")
    print(f"filled by the QEMU driver    {len(qemu & known)}")
    if arguments.list:
        for title, missing in (("stock Xen fills, we do not", xen - ours), ("QEMU fills, we do not", qemu - xen - ours)):
            print(f"\n{title}:")
            for name in names:
                if name in missing:
                    print(f"  {name}")


if __name__ == "__main__":
    main()
