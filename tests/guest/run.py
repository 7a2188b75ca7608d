#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one test kernel as dom0 and says how it ended, as TAP.

Usage: run.py NAME HYPERVISOR KERNEL|- [--options TEXT] [--expect TEXT] [--cpu MODEL] [--memory MIB] [--smp N]
              [--machine NAME] [--monitor COMMAND] [--stick FUNCTION] [--qemu WORD] [--ends reset|halt]

The kernel ends with "Test result: WORD"; SUCCESS passes, SKIP skips, all else fails.  With --expect it is enough, and needed, that
the console shows that text: for boots that are meant to be refused.  A kernel of - boots without a module.

When the kernel says "resting", --monitor gives QEMU a command, and --stick makes a function of the hypervisor an endless loop.
--ends checks what comes after the expected text: without noreboot a reset, with it a halt.
"""

import argparse
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading

import gdb

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("name")
parser.add_argument("hypervisor")
parser.add_argument("kernel")
parser.add_argument("--options", default="")
parser.add_argument("--expect")
parser.add_argument("--cpu", default="max,-smap")
parser.add_argument("--memory", default="256")
parser.add_argument("--smp", default="1")
parser.add_argument("--machine", default="pc")
parser.add_argument("--monitor")
parser.add_argument("--stick")
parser.add_argument("--qemu", action="append", default=[])
parser.add_argument("--ends", choices=["reset", "halt"], default=None)
arguments = parser.parse_args()

work = tempfile.TemporaryDirectory(prefix="serai-guest-")
monitor, stub = (str(pathlib.Path(work.name) / name) for name in ("monitor", "gdb"))
noreboot = "" if arguments.ends == "reset" else "noreboot "
command = ["qemu-system-x86_64", "-accel", "tcg", "-machine", arguments.machine, "-cpu", arguments.cpu, "-m", arguments.memory,
           "-smp", arguments.smp, "-display", "none", "-no-reboot", "-net", "none", "-serial", "stdio",
           "-monitor", f"unix:{monitor},server=on,wait=off", *arguments.qemu,
           "-kernel", arguments.hypervisor, "-append", f"console=com1 {noreboot}loglvl=all guest_loglvl=all {arguments.options}"]
if arguments.stick:
    command += ["-gdb", f"unix:{stub},server=on,wait=off"]
if arguments.kernel != "-":
    command += ["-initrd", arguments.kernel]
process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace")
watchdog = threading.Timer(300, process.kill)
watchdog.start()
kept = []       # connections that stay open to the end


def told_to_rest():
    if arguments.monitor:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(monitor)
        connection.sendall(arguments.monitor.encode() + b"\n")
        kept.append(connection)
    if arguments.stick:
        kept.append(gdb.make_stuck(stub, arguments.hypervisor, arguments.stick))


def ends_as_it_should():
    """After the expected text: QEMU ends (-no-reboot), or stays and says that the machine is halted."""
    if arguments.ends == "halt":
        return any("the machine is halted" in line for line in process.stdout)
    rest = process.stdout.read()
    return "the machine reboots" in rest and process.wait() == 0 and watchdog.is_alive()


verdict, console = None, []
for line in process.stdout:
    console.append(line.rstrip())
    if "resting" in line:
        told_to_rest()
    if arguments.expect:
        if arguments.expect in line:
            verdict = "ok" if not arguments.ends or ends_as_it_should() else None
            break
        if "Test result:" in line:
            break
    elif "Test result:" in line:
        word = line.split("Test result:")[1].split()[0]
        verdict = {"SUCCESS": "ok", "SKIP": "skip"}.get(word)
        break
    if "PANIC" in line and not arguments.expect:
        break
watchdog.cancel()
process.kill()
process.wait()

print("1..1")
if verdict == "ok":
    print(f"ok 1 - {arguments.name}")
elif verdict == "skip":
    print(f"ok 1 - {arguments.name} # SKIP {console[-1]}")
else:
    print(f"not ok 1 - {arguments.name}")
    for line in console[-40:]:
        print(f"# {line}")
sys.exit(0 if verdict else 1)
