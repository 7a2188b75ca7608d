#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares serai-xenstored with the two store daemons of Debian's Xen, in one run, and prints a table.

Usage: store-bench.py BUILD-DIRECTORY XEN-BIN-DIRECTORY [SECONDS-PER-CASE]

XEN-BIN-DIRECTORY holds Debian's xenstored and oxenstored (/usr/lib/xen-4.17/bin of xen-utils-4.17).  They
run on this machine without a hypervisor, on a small preloaded library.  Everything happens in a mount
namespace of its own, because oxenstored has a fixed socket path.  Run as root.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NODES = ["10", "1000", "100000"]


def start(arguments, environment, socket):
    process = subprocess.Popen(arguments, env={**os.environ, **environment},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        if os.path.exists(socket) or process.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    if process.poll() is not None:
        sys.exit(f"{arguments[0]} ended with {process.returncode}")
    return process


def daemons(build, xen, work):
    """Name, arguments, environment and socket of each daemon."""
    shim = f"{build}/tests/bench/libstore-no-xen.so"
    for name, content in (("kva", b"\0" * 4096), ("port", b"1")):
        with open(f"{work}/{name}", "wb") as file:
            file.write(content)
    # Limits that would end the bench early are lifted for oxenstored; the C daemon has none for sockets.
    with open(f"{work}/oxenstored.conf", "w") as file:
        file.write(f"quota-activate = false\nxenstored-kva = {work}/kva\nxenstored-port = {work}/port\n"
                   "conflict-rate-limit-is-aggregate = false\n")
    yield ("serai", [f"{build}/xenstore/serai-xenstored", "-f", "--bare", "-r", f"{work}/serai", "-s", f"{work}/state"],
           {}, f"{work}/serai/socket")
    os.makedirs(f"{work}/c", exist_ok=True)
    yield ("xenstored", [f"{xen}/xenstored", "-N", "-I", "-W", "100000", "--pid-file", f"{work}/c/pid"],
           {"LD_PRELOAD": shim, "XENSTORED_RUNDIR": f"{work}/c"}, f"{work}/c/socket")
    yield ("oxenstored", [f"{xen}/oxenstored", "--no-fork", "--no-access-log", "--config-file",
                          f"{work}/oxenstored.conf", "--pid-file", f"{work}/oxpid"],
           {"LD_PRELOAD": shim}, "/run/xenstored/socket")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if os.environ.get("STORE_BENCH_UNSHARED") != "1":
        os.environ["STORE_BENCH_UNSHARED"] = "1"
        os.execvp("unshare", ["unshare", "-m", sys.executable, os.path.abspath(__file__)] + sys.argv[1:])
    build, xen = map(os.path.abspath, sys.argv[1:3])
    seconds = sys.argv[3] if len(sys.argv) > 3 else "0.5"
    os.makedirs("/run/xenstored", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/xenstored"], check=True)
    os.makedirs("/var/log/xen", exist_ok=True)
    results = {}
    names = []
    # Also the states go there, since a real one lies in /run; and it all goes with the namespace.
    with tempfile.TemporaryDirectory(dir="/run/xenstored") as work:
        for name, arguments, environment, socket in daemons(build, xen, work):
            names.append(name)
            # Memory is looked at in a daemon that did nothing before, as freed memory would hide the growth.
            for only, nodes, time_each in (("memory", NODES[-1:], "0.01"), (None, NODES, seconds)):
                process = start(arguments, environment, socket)
                bench = subprocess.run([f"{build}/tests/bench/store-bench", socket, str(process.pid), time_each]
                                       + nodes, stdout=subprocess.PIPE, text=True)
                process.send_signal(signal.SIGKILL)
                process.wait()
                shutil.rmtree(f"{work}/state", ignore_errors=True)
                if os.path.exists(socket):
                    os.unlink(socket)
                if bench.returncode:
                    print(f"{name}: the bench ended early")
                for line in bench.stdout.splitlines():
                    case, count, rate, cpu = line.split()
                    if (case == "memory") == (only == "memory"):
                        results[case, int(count), name] = (float(rate), float(cpu))
    rows = sorted({key[:2] for key in results}, key=lambda row: (row[0], row[1]))
    print("requests per second (CPU microseconds of the daemon for each)")
    print(f"{'case':13} {'nodes':>7}" + "".join(f" {name:>20}" for name in names)
          + "   rate and CPU against the better of the others")
    for case, nodes in rows:
        cells = [results.get((case, nodes, name)) for name in names]
        line = f"{case:13} {nodes:7}"
        if case == "memory":
            line += "".join(f" {cell[0]:14.0f} B/node" if cell else f" {'-':>20}" for cell in cells)
            others = [cell[0] for cell in cells[1:] if cell]
            if cells[0] and others:
                line += f"   {min(others) / cells[0][0]:.1f}x"
        else:
            line += "".join(f" {cell[0]:11.0f} ({cell[1]:6.2f})" if cell else f" {'-':>20}" for cell in cells)
            others = [cell for cell in cells[1:] if cell]
            if cells[0] and others:
                rate = cells[0][0] / max(cell[0] for cell in others)
                cpu = min(cell[1] for cell in others) / cells[0][1]
                line += f"   {rate:.1f}x {cpu:.1f}x"
        print(line)


if __name__ == "__main__":
    main()
