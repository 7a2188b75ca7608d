#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plays a conversation to serai-xenstored and to both daemons of Debian's Xen; prints where they differ.

Before, xenstore-utils fills each with the same nodes; what xenstore-ls prints of them must be the same.

Usage: store-compare.py BUILD-DIRECTORY XEN-BIN-DIRECTORY CONVERSATION

The conversation is one of tests/xenstore, of the control domain alone; conversation-test.c tells what its
lines mean.  Run as root.
"""
import difflib
import importlib.util
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = {name: number for number, name in enumerate(
    "CONTROL DIRECTORY READ GET_PERMS WATCH UNWATCH TRANSACTION_START TRANSACTION_END INTRODUCE RELEASE "
    "GET_DOMAIN_PATH WRITE MKDIR RM SET_PERMS WATCH_EVENT ERROR "
    "IS_DOMAIN_INTRODUCED RESUME SET_TARGET".split())}
TYPES |= {"RESET_WATCHES": 21, "DIRECTORY_PART": 22, "GET_FEATURE": 23, "SET_FEATURE": 24, "GET_QUOTA": 25,
          "SET_QUOTA": 26}
NAMES = {number: name for name, number in TYPES.items()}


class Talk:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.kept = {}

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError("the connection was closed")
            data += more
        return data

    def play(self, line):
        """What comes back: the answer first, then the events before and after it."""
        name, _, payload = line.partition(" ")
        tx = 0
        found = re.match(r"tx=\$(\d) ?", payload)
        if found:
            tx, payload = int(self.kept.get(found[1], "4000000000")), payload[found.end():]
        data = payload.replace("|", "\0").encode()
        # A request that is answered at once follows, so that events before its answer belong to the first.
        self.socket.sendall(struct.pack("<IIII", TYPES[name], 1, tx, len(data)) + data
                            + struct.pack("<IIII", TYPES["GET_DOMAIN_PATH"], 2, 0, 2) + b"0\0")
        answer, events = "nothing", []
        while True:
            kind, number, _, length = struct.unpack("<IIII", self.exactly(16))
            text = self.exactly(length).decode(errors="replace").replace("\0", "|")
            text = NAMES.get(kind, str(kind)) + (" " + text if text else "")
            if kind == TYPES["WATCH_EVENT"]:
                events.append(text)
            elif number == 2:
                return [answer, *events]
            else:
                answer = text


def conversation(path):
    """Pairs of a request, with its line's number, and what is expected, the answer first."""
    pairs = []
    with open(path) as file:
        for number, line in enumerate(file.read().splitlines(), 1):
            if line.startswith("c> "):
                pairs.append((number, line[3:], []))
            elif line.startswith("c< "):
                pairs[-1][2].append(line[3:])
    return [(number, line, sorted(expected, key=lambda text: text.startswith("WATCH_EVENT")))
            for number, line, expected in pairs]


def same(expected, seen, kept):
    """Whether one text is what was expected: * is a number, $N is kept."""
    pattern = re.sub(r"\\\$(\d)", r"(?P<k\1>[^|]*)", re.escape(expected).replace(r"\*", r"\d+"))
    found = re.fullmatch(pattern, seen)
    if found:
        kept.update({name[1:]: value for name, value in found.groupdict().items()})
    return bool(found)


def differences(path, socket_path):
    talk, result = Talk(socket_path), []
    for number, line, expected in conversation(path):
        try:
            seen = talk.play(line)
        except (EOFError, OSError) as error:
            result.append((number, line, expected, [str(error)]))
            break
        if len(seen) != len(expected) or not all(same(e, s, talk.kept) for e, s in zip(expected, seen)):
            result.append((number, line, expected, seen))
    return result


def listing(socket_path):
    """What Debian's tools say of a store that they have filled: lines in the order of their names."""
    environment = {**os.environ, "XENSTORED_PATH": socket_path}

    def tool(*words):
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    for home in ("/local/domain/7", "/local/domain/0/backend/vbd/7/51712", "/vm/aa-bb", "/libxl/7"):
        nodes = {"": "", "name": "guest 7", "empty": "", "long": "x" * 1900,
                 "odd": "tab\\x09quote\\x22back\\x5c", "deep/er/and/deeper": "1", "a@b_c-D": "=1",
                 **{f"n{i}": str(i) for i in range(60)}}
        for name, value in nodes.items():
            tool("xenstore-write", "/".join(filter(None, (home, name))), value)
        tool("xenstore-chmod", f"{home}/name", "n7", "r0", "b8")
        tool("xenstore-chmod", "-r", f"{home}/deep", "r7")
    tool("xenstore-rm", "/local/domain/7/n5", "/vm/aa-bb/deep/er/and")
    # Its own nodes: oxenstored names its program there, and shows the special watches as nodes.
    lines = [sorted(line for line in tool("xenstore-ls", *options).splitlines()
                    if not line.startswith(("/tool/xenstored ", "/@"))) for options in (["-f"], ["-fp"])]
    lines += [sorted(tool("xenstore-list", "/libxl/7").splitlines()), tool("xenstore-read", "/vm/aa-bb/odd")]
    tool("xenstore-rm", "/local", "/vm", "/libxl")
    return lines


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    if os.environ.get("STORE_BENCH_UNSHARED") != "1":
        os.environ["STORE_BENCH_UNSHARED"] = "1"
        os.execvp("unshare", ["unshare", "-m", sys.executable, os.path.abspath(__file__)] + sys.argv[1:])
    spec = importlib.util.spec_from_file_location("store_bench", f"{HERE}/store-bench.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    build, xen, path = map(os.path.abspath, sys.argv[1:])
    os.makedirs("/run/xenstored", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/xenstored"], check=True)
    os.makedirs("/var/log/xen", exist_ok=True)
    wrong, listings = 0, {}
    with tempfile.TemporaryDirectory(dir="/run/xenstored") as work:
        for name, arguments, environment, socket_path in bench.daemons(build, xen, work):
            process = bench.start(arguments, environment, socket_path)
            listings[name] = listing(socket_path)
            found = differences(path, socket_path)
            bench.end(process, work, socket_path)
            print(f"{name}: {len(found)} of {len(conversation(path))} requests answered otherwise")
            for number, line, expected, seen in found:
                print(f"  {number}: {line}\n      expected {expected}\n      answered {seen}")
            wrong += len(found) if name == "serai" else 0
    for name in ("xenstored", "oxenstored"):
        same_lines = listings["serai"] == listings[name]
        wrong += not same_lines
        print(f"xenstore-ls: {len(listings[name][0])} nodes of {name}, "
              + ("the same" if same_lines else "not the same"))
        for ours, theirs in zip(listings["serai"], listings[name]):
            if ours != theirs:
                print("\n".join(difflib.unified_diff(theirs, ours, name, "serai", lineterm="", n=0)))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
