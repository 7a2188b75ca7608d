#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one test kernel as dom0 and says how it ended, as TAP.

Usage: run.py NAME HYPERVISOR KERNEL|- [--options TEXT] [--expect TEXT] [--cpu MODEL] [--memory MIB] [--smp N]

The kernel ends with "Test result: WORD"; SUCCESS passes, SKIP skips, all else fails.  With --expect it is enough, and needed, that
the console shows that text: for boots that are meant to be refused.  A kernel of - boots without a module.
"""

import argparse
import subprocess
import sys
import threading

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("name")
parser.add_argument("hypervisor")
parser.add_argument("kernel")
parser.add_argument("--options", default="")
parser.add_argument("--expect")
parser.add_argument("--cpu", default="max,-smap")
parser.add_argument("--memory", default="256")
parser.add_argument("--smp", default="1")
arguments = parser.parse_args()

command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", arguments.cpu, "-m", arguments.memory, "-smp", arguments.smp,
           "-display", "none", "-no-reboot", "-net", "none", "-monitor", "none", "-serial", "stdio",
           "-kernel", arguments.hypervisor, "-append", f"console=com1 noreboot loglvl=all guest_loglvl=all {arguments.options}"]
if arguments.kernel != "-":
    command += ["-initrd", arguments.kernel]
process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace")
watchdog = threading.Timer(100, process.kill)
watchdog.start()
verdict, console = None, []
for line in process.stdout:
    console.append(line.rstrip())
    if arguments.expect:
        if arguments.expect in line:
            verdict = "ok"
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
