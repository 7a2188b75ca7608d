#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares serai-xenstored with the two store daemons of Debian's Xen, in one run.

Usage: store-bench.py BUILD-DIRECTORY XEN-BIN-DIRECTORY SECONDS-PER-CASE [JSON-FILE]

XEN-BIN-DIRECTORY holds Debian's xenstored and oxenstored (/usr/lib/xen-4.17/bin of xen-utils-4.17).  They
run on this machine without a hypervisor, as ours does, on a small preloaded library.  Everything happens in a
mount namespace of its own, because oxenstored has a fixed socket path.  Run as root.  Prints all there is,
with 10 and 100,000 nodes and what a store could reach at best; with JSON-FILE it writes there the rows of
system-bench.py's table instead, of 1,000 nodes: [name, unit, {daemon: value}].
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NODES = ["10", "1000", "100000"]
DOMAINS = "500"
FLOOR = ["sync-read", "sync-write", "sync-list", "sync-tx-empty"]
COUNTED = ["sync-read", "sync-write", "sync-list", "sync-tx-empty", "sync-tx-contended", "sync-watch",
           "sync-watch-10000"]


def start(arguments, environment, socket):
    process = subprocess.Popen(arguments, env={**os.environ, **environment},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
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
    yield ("serai", [f"{build}/xenstore/serai-xenstored", "-f", "-r", f"{work}/serai", "-s", f"{work}/state"],
           {"LD_PRELOAD": shim}, f"{work}/serai/socket")
    os.makedirs(f"{work}/c", exist_ok=True)
    yield ("xenstored", [f"{xen}/xenstored", "-N", "-I", "-W", "100000", "--pid-file", f"{work}/c/pid"],
           {"LD_PRELOAD": shim, "XENSTORED_RUNDIR": f"{work}/c"}, f"{work}/c/socket")
    yield ("oxenstored", [f"{xen}/oxenstored", "--no-fork", "--no-access-log", "--config-file",
                          f"{work}/oxenstored.conf", "--pid-file", f"{work}/oxpid"],
           {"LD_PRELOAD": shim}, "/run/xenstored/socket")


def bench(build, socket, pid, *arguments):
    """The lines of store-bench: {(case, nodes): (number, number)}."""
    run = subprocess.run([f"{build}/tests/bench/store-bench", socket, str(pid), *map(str, arguments)],
                         stdout=subprocess.PIPE, text=True)
    if run.returncode:
        print(f"{socket}: the bench ended early")
    lines = [line.split() for line in run.stdout.splitlines()]
    return {(case, int(nodes)): (float(first), float(second)) for case, nodes, first, second in lines}


def timed(build, work, daemon, seconds):
    """Rates and times.  Memory is looked at in a fresh daemon, as memory freed before hides the growth."""
    _, arguments, environment, socket = daemon
    results = {}
    for kind, words in (("memory", ["0.01", NODES[-1]]), ("idle-domain", ["domains", DOMAINS]),
                        (None, [seconds, *NODES])):
        process = start(arguments, environment, socket)
        lines = bench(build, socket, process.pid, *words)
        end(process, work, socket)
        results |= {key: value for key, value in lines.items()
                    if key[0] == kind or (kind is None and key[0] != "memory")}
    return results


def floor(build, work, seconds):
    """Rate and time of a server that only sends back what it gets: {case: (rate, time)}."""
    socket = f"{work}/echo"
    process = start([f"{build}/tests/bench/store-bench", "echo", socket], {}, socket)
    results = {}
    for case in FLOOR:
        results |= {key[0]: value for key, value in
                    bench(build, socket, process.pid, f"{seconds}:{case}", NODES[0]).items()}
    end(process, work, socket)
    return results


def end(process, work, socket, number=signal.SIGKILL):
    process.send_signal(number)
    process.wait()
    shutil.rmtree(f"{work}/state", ignore_errors=True)
    if os.path.exists(socket):
        os.unlink(socket)


def system_calls(build, work, daemon, words):
    _, arguments, environment, socket = daemon
    preload = [f"-E{name}={value}" for name, value in environment.items()]
    process = start(["strace", "-f", "-c", "-o", f"{work}/calls", *preload, *arguments], {}, socket)
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        pid = int(file.read().split()[0])
    count = bench(build, socket, pid, *words)
    os.kill(pid, signal.SIGKILL)
    end(process, work, socket, 0)
    with open(f"{work}/calls") as file:
        return int(file.read().split("\n")[-2].split()[3]), count


def instructions(build, work, daemon, words):
    _, arguments, environment, socket = daemon
    process = start(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                     f"--log-file={work}/grind", *arguments], environment, socket)
    count = bench(build, socket, process.pid, *words)
    end(process, work, socket, signal.SIGTERM)
    with open(f"{work}/grind") as file:
        return int(re.search(r"Collected : (\d+)", file.read()).group(1)), count


def counted(measure, build, work, daemon, case):
    """What one operation of @case costs: the difference of a long and a short run, so that it is exact."""
    (few, few_count), (many, many_count) = (measure(build, work, daemon, [f"-{case}", rounds, "1000"])
                                            for rounds in ("10", "210"))
    return (many - few) / (many_count[case, 1000][0] - few_count[case, 1000][0])


def counts(build, work, every):
    """{(case, what): {daemon: of one operation}}, as far as the tools are there."""
    measures = (("system calls", system_calls, "strace"), ("user instructions", instructions, "valgrind"))
    return {(case, what): {daemon[0]: counted(measure, build, work, daemon, case) for daemon in every}
            for case in COUNTED for what, measure, tool in measures if shutil.which(tool)}


def print_counts(numbers, names):
    print("\nof the daemon for each operation, 1,000 nodes")
    for (case, what), values in numbers.items():
        cells = "".join(f" {name} {values[name]:.1f}" for name in names)
        better = min(values[name] for name in names[1:])
        print(f"{case:17} {what:18}{cells}   {better / values['serai']:.1f}x fewer than Debian's better",
              flush=True)


def rows(results, numbers):
    """What system-bench.py shows."""
    found = {}
    for (case, nodes, name), (first, second) in sorted(results.items()):
        if case in ("memory", "idle-domain"):
            what = "a node" if case == "memory" else "an idle domain"
            found.setdefault((f"memory of {what}", "B"), {})[name] = first
        elif nodes == 1000:
            found.setdefault((case, "1/s +"), {})[name] = first
            found.setdefault((f"{case}, CPU", "us"), {})[name] = second
    # A difference of two runs may drown in what a daemon does now and then.
    found |= {(f"{case}, {what}", "count"): values for (case, what), values in numbers.items()
              if min(values.values()) > 0}
    return [[name, unit, values] for (name, unit), values in found.items()]


def print_floor(results, floors):
    print("\nthe floor: a server of one client that receives and sends, below the same client."
          "\nCPU time of the better of Debian's over the floor's, which no store can exceed, and over ours")
    for case, (_, floor_cpu) in floors.items():
        ours, *others = (results[case, int(NODES[0]), name][1]
                         for name in ("serai", "xenstored", "oxenstored"))
        best = min(others)
        print(f"{case:17} floor {floor_cpu:6.2f}, serai {ours:6.2f}, the better of Debian's {best:6.2f}: "
              f"{best / floor_cpu:.1f}x at most, {best / ours:.1f}x ours", flush=True)


def print_times(results, names):
    print("requests per second (CPU microseconds of the daemon for each); bytes of memory")
    print(f"{'case':17} {'nodes':>7}" + "".join(f" {name:>20}" for name in names)
          + "   rate and CPU against the better of the others")
    for case, nodes in sorted({key[:2] for key in results}):
        cells = [results.get((case, nodes, name)) for name in names]
        line = f"{case:17} {nodes:7}"
        others = [cell for cell in cells[1:] if cell]
        if case in ("memory", "idle-domain"):
            line += "".join(f" {cell[0]:13.0f} B each" if cell else f" {'-':>20}" for cell in cells)
            if cells[0] and others:
                line += f"   {min(cell[0] for cell in others) / cells[0][0]:.1f}x"
        else:
            line += "".join(f" {cell[0]:11.0f} ({cell[1]:6.2f})" if cell else f" {'-':>20}" for cell in cells)
            if cells[0] and others:
                line += f"   {cells[0][0] / max(cell[0] for cell in others):.1f}x"
                line += f" {min(cell[1] for cell in others) / cells[0][1]:.1f}x"
        print(line)


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    if os.environ.get("STORE_BENCH_UNSHARED") != "1":
        os.environ["STORE_BENCH_UNSHARED"] = "1"
        os.execvp("unshare", ["unshare", "-m", sys.executable, os.path.abspath(__file__)] + sys.argv[1:])
    build, xen = map(os.path.abspath, sys.argv[1:3])
    seconds = sys.argv[3]
    os.makedirs("/run/xenstored", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/xenstored"], check=True)
    os.makedirs("/var/log/xen", exist_ok=True)
    # Also the states go there, since a real one lies in /run; and it all goes with the namespace.
    with tempfile.TemporaryDirectory(dir="/run/xenstored") as work:
        every = list(daemons(build, xen, work))
        names = [daemon[0] for daemon in every]
        results = {(*key, daemon[0]): value for daemon in every
                   for key, value in timed(build, work, daemon, seconds).items()}
        if len(sys.argv) == 5:
            with open(sys.argv[4], "w") as file:
                json.dump(rows(results, counts(build, work, every)), file)
            return
        print_times(results, names)
        print_floor(results, floor(build, work, seconds))
        print_counts(counts(build, work, every), names)


if __name__ == "__main__":
    main()
