#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Instructions per hypervisor operation and the hypervisor's own memory, Serai beside Debian's Xen, counted exactly.

Usage: hypervisor-ops.py --serai IMAGE --kernel GUEST-BENCH --memory-kernel GUEST-OWN-MEMORY --plugin PLUGIN.so
                         [--xen XEN] [--cpu MODEL]

Boots each hypervisor in QEMU (TCG, -icount) with the bench kernel as its dom0 and prints one table; then in a
machine of 4 GiB with a kernel that adds up what neither dom0 nor the free lists have.
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
    15: "multicall of 32 null calls", 16: "page fault and back (with iret)", 17: "event channel unmask", 18: "set_timer",
    19: "wake another vCPU and wait, twice", 20: "grant copy of 64 bytes", 21: "pin and unpin a 4-level tree",
}


MEMORY_NAMES = {"own": "the hypervisor's own, of 4 GiB (KiB)", "table": "  frame table (KiB)", "rest": "  the rest (KiB)"}


def boot(hypervisor, kernel, cpu, options, memory, extra=()):
    """Runs one hypervisor with a test kernel to its end; returns the console's text."""
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "hypervisor")
        opener = gzip.open if hypervisor.endswith(".gz") else open
        with opener(hypervisor, "rb") as source, open(image, "wb") as target:
            shutil.copyfileobj(source, target)
        command = ["timeout", "300", "qemu-system-x86_64", "-accel", "tcg", "-cpu", cpu, "-m", memory,
                   "-display", "none", "-no-reboot", "-net", "none", "-monitor", "none", "-serial", "stdio", *extra,
                   "-kernel", image, "-initrd", kernel, "-append", options]
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
        return "".join(console)


def count(hypervisor, kernel, plugin, cpu, options):
    """Returns ({operation: instructions}, console text)."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "plugin.log")
        console = boot(hypervisor, kernel, cpu, options, "512",
                       ["-icount", "shift=0,sleep=off", "-plugin", plugin, "-d", "plugin", "-D", log])
        counts = {}
        if os.path.exists(log):
            with open(log) as text:
                for match in re.finditer(r"^count (\d+) (\d+) (\d+)$", text.read(), re.M):
                    counts[int(match[1])] = int(match[2])
        return counts, console


def own_memory(hypervisor, kernel, cpu, options):
    """Returns ({row of MEMORY_NAMES: KiB}, console text)."""
    console = boot(hypervisor, kernel, cpu, options, "4096")
    match = re.search(r"own (\d+) KiB: frame table (\d+) KiB, the rest (\d+) KiB", console)
    return dict(zip(MEMORY_NAMES, map(int, match.groups()))) if match else {}, console


def print_row(name, columns, key):
    ours, theirs = (column.get(key) for column in columns)
    ratio = f"{ours / theirs:7.2f}" if ours and theirs else "      -"
    print(f"{name:38} {ours if ours is not None else '-':>9} {theirs if theirs is not None else '-':>9} {ratio}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serai", required=True)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--memory-kernel", required=True)
    parser.add_argument("--plugin", required=True)
    parser.add_argument("--xen", help="Debian's Xen; without it the installed one")
    parser.add_argument("--cpu", default="max,-smap")
    arguments = parser.parse_args()
    xen = arguments.xen or next((p for p in ["/boot/xen-4.17-amd64.gz"] if os.path.exists(p)), None)

    columns, memory, failed = [], [], False
    for name, image, options in (("Serai", arguments.serai, ""), ("Xen", xen, "dom0_mem=128M bootscrub=0")):
        if image is None:
            print("Debian's Xen is not installed: no comparison", file=sys.stderr)
            columns.append({})
            memory.append({})
            continue
        counts, console = count(image, arguments.kernel, arguments.plugin, arguments.cpu,
                                f"console=com1 dom0_max_vcpus=2 {options}")
        if "Test result: SUCCESS" not in console:
            print(f"the bench kernel did not end well on {name}:\n{console[-3000:]}", file=sys.stderr)
            failed = True
        columns.append(counts)
        kib, console = own_memory(image, arguments.memory_kernel, arguments.cpu, f"console=com1 {options} dom0_mem=64M")
        if not kib:
            print(f"the memory of {name} was not told:\n{console[-3000:]}", file=sys.stderr)
            failed = True
        memory.append(kib)

    print(f"{'instructions in the hypervisor':38} {'Serai':>9} {'Xen':>9} {'ratio':>7}")
    for number, name in NAMES.items():
        print_row(name, columns, number)
    for key, name in MEMORY_NAMES.items():
        print_row(name, memory, key)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
