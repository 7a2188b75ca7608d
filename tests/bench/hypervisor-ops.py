#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Instructions per hypervisor operation, Serai beside Debian's Xen, counted exactly.

Usage: hypervisor-ops.py --serai IMAGE --kernel GUEST-BENCH --plugin PLUGIN.so [--xen XEN] [--cpu MODEL]

Boots each hypervisor in QEMU (TCG, -icount) with the bench kernel as its dom0 and prints one table.
"""

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

NAMES = {
    1: "null hypercall", 2: "event send to self", 3: "yield", 4: "update_va_mapping (2)", 5: "mmu_update, 1 entry",
    6: "mmu_update, 32 entries", 7: "trapped PTE write", 8: "unpin and pin an L1 of 512", 9: "page fault to the guest kernel",
    10: "system call and back", 11: "iret", 12: "grant map", 13: "grant unmap", 14: "populate one page",
    15: "multicall of 32 null calls",
}


def count(hypervisor, kernel, plugin, cpu, options):
    """Runs one hypervisor; returns ({operation: instructions}, console text)."""
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "hypervisor")
        log = os.path.join(folder, "plugin.log")
        opener = gzip.open if hypervisor.endswith(".gz") else open
        with opener(hypervisor, "rb") as source, open(image, "wb") as target:
            shutil.copyfileobj(source, target)
        command = ["qemu-system-x86_64", "-accel", "tcg", "-icount", "shift=0,sleep=off", "-cpu", cpu, "-m", "512",
                   "-display", "none", "-no-reboot", "-net", "none", "-monitor", "none", "-serial", "stdio",
                   "-plugin", plugin, "-d", "plugin", "-D", log, "-kernel", image, "-initrd", kernel, "-append", options]
        command = ["timeout", "120"] + command
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
        console = []
        for line in process.stdout:
            console.append(line)
            if "Test result:" in line:
                break
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        counts = {}
        if os.path.exists(log):
            with open(log) as text:
                for match in re.finditer(r"^count (\d+) (\d+) (\d+)$", text.read(), re.M):
                    counts[int(match[1])] = int(match[2])
        return counts, "".join(console)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serai", required=True)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--plugin", required=True)
    parser.add_argument("--xen", help="Debian's Xen; without it the installed one")
    parser.add_argument("--cpu", default="max,-smap")
    arguments = parser.parse_args()
    xen = arguments.xen or next((p for p in ["/boot/xen-4.17-amd64.gz"] if os.path.exists(p)), None)

    columns, failed = [], False
    for name, image, options in (("Serai", arguments.serai, "console=com1"),
                                 ("Xen", xen, "console=com1 dom0_mem=128M")):
        if image is None:
            print("Debian's Xen is not installed: no comparison", file=sys.stderr)
            columns.append({})
            continue
        counts, console = count(image, arguments.kernel, arguments.plugin, arguments.cpu, options)
        if "Test result: SUCCESS" not in console:
            print(f"the bench kernel did not end well on {name}:\n{console[-3000:]}", file=sys.stderr)
            failed = True
        columns.append(counts)

    print(f"{'instructions in the hypervisor':34} {'Serai':>9} {'Xen':>9} {'ratio':>7}")
    for number, name in NAMES.items():
        ours, theirs = (column.get(number) for column in columns)
        ratio = f"{ours / theirs:7.2f}" if ours and theirs else "      -"
        print(f"{name:34} {ours if ours is not None else '-':>9} {theirs if theirs is not None else '-':>9} {ratio}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
