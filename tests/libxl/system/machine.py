# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine in QEMU whose dom0 has a shell on the serial line."""

import os
import re
import select
import subprocess
import time


class Failure(Exception):
    pass


class Machine:
    def __init__(self, hypervisor, kernel, initrd, log, memory=1536, dom0_memory=900, cpus=1, options=""):
        append = "console=com1 com1=115200,8n1 dom0_mem=%dM,max:%dM loglvl=all guest_loglvl=all noreboot " \
                 "spec-ctrl=eager-fpu %s" % (dom0_memory, dom0_memory, options)
        self.log = open(log, "wb")
        self.buffer = b""
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,+svm,-smap", "-smp", str(cpus), "-m", str(memory),
             "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot", "-net", "none",
             "-kernel", hypervisor, "-initrd", "%s console=hvc0 rdinit=/init net.ifnames=0,%s" % (kernel, initrd),
             "-append", append],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)

    def read(self, timeout):
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        if ready:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise Failure("the machine ended")
            self.log.write(data)
            self.log.flush()
            self.buffer += data

    def expect(self, pattern, timeout):
        """Waits for a pattern; returns what came before it and the match."""
        end = time.monotonic() + timeout
        regex = re.compile(pattern.encode())
        while True:
            match = regex.search(self.buffer)
            if match:
                before = self.buffer[:match.start()]
                self.buffer = self.buffer[match.end():]
                return before.decode(errors="replace"), match
            if time.monotonic() > end:
                raise Failure("%r did not come in %d s; last: %r" % (pattern, timeout, self.buffer[-2000:]))
            self.read(0.5)

    def run(self, command, timeout=120):
        """Runs a command in dom0's shell: its output and its exit status."""
        text = (command + "\necho \"@@\"\"RC $?\"\n").encode()
        # The hypervisor's serial driver keeps 128 bytes that nobody has read yet and drops the rest.
        for i in range(0, len(text), 40):
            self.process.stdin.write(text[i:i + 40])
            self.process.stdin.flush()
            self.read(0.02)
        out, match = self.expect(r"@@RC (\d+)\r*\n", timeout)
        return out.replace("\r", ""), int(match.group(1))

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
