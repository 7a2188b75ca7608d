#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Does each entry of the driver ask whether the caller may, before it does anything?

    acl-test.py DRIVER_FOLDER

libvirt generates a check for each call, named after it.  An entry must call its own, or be a call of another
entry of the table and nothing else, and of the driver's functions call none before it that does anything.
Connections are not asked about what they are, and libvirt's helpers for devices of the node ask by
themselves.
"""

import pathlib
import re
import sys

# What libvirt itself has no check for, or checks in the helper that the entry hands on to.
WITHOUT = {"connectURIProbe", "connectClose", "connectIsEncrypted", "connectIsSecure", "connectIsAlive"}
BY_HELPER = {
    "nodeDeviceDetachFlags": "virDomainDriverNodeDeviceDetachFlags",
    "nodeDeviceReset": "virDomainDriverNodeDeviceReset",
}
# What finds out whom to ask about.
HARMLESS = {"xenDomainObjFromDomain", "xenPostParseString"}


def functions(folder):
    """The functions of the driver, name to body."""
    found = {}
    for path in folder.glob("*.c"):
        text = path.read_text(encoding="utf-8")
        found.update(re.findall(r"^(\w+)\([^;{]*?\)\n\{(.*?)^\}", text, re.M | re.S))
    return found


def too_early(body):
    """What is called in BODY, where nobody was asked yet, or None."""
    calls = set(re.findall(r"\b((?:xen|serai_)\w+)\(", body)) - HARMLESS
    return f"calls {', '.join(sorted(calls))} before it asks" if calls else None


def reason(entry, body, table):
    """What is wrong with an entry, or None."""
    check = f"vir{entry[0].upper()}{entry[1:]}".lower()
    # Some are spelled otherwise than their calls (OpenGraphicsFD and Fd), some handed to a shared function.
    for asked in re.finditer(r"\b(vir\w+?)(?:EnsureACL|CheckACL)\b", body):
        if asked.group(1).lower() == check:
            return too_early(body[:asked.start()])
    if entry in BY_HELPER:
        before, helper, _ = body.partition(BY_HELPER[entry])
        return too_early(before) if helper else f"does not call {BY_HELPER[entry]}"
    statements = [line.strip() for line in body.strip().split(";") if line.strip()]
    other = re.match(r"return (\w+)\(", statements[-1])
    if other and other.group(1) in table.values() and len(statements) == 1:
        return None
    return "asks for no right of its own"


def main():
    folder = pathlib.Path(sys.argv[1])
    text = (folder / "driver.c").read_text(encoding="utf-8")
    rows = re.search(r"static virHypervisorDriver \w+ = \{(.*?)^\};", text, re.M | re.S).group(1)
    table = dict(re.findall(r"^\s+\.(\w+) = (xen\w+)", rows, re.M))
    bodies = functions(folder)
    failures = 0
    print(f"1..{len(table)}")
    for number, (entry, function) in enumerate(table.items(), 1):
        wrong = None if entry in WITHOUT else reason(entry, bodies[function], table)
        print(f"{'not ok' if wrong else 'ok'} {number} - {entry}" + (f": {wrong}" if wrong else ""))
        failures += wrong is not None
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
