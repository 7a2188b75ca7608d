# SPDX-License-Identifier: LGPL-2.1-or-later
"""One QEMU process whose first serial port is a log, a conversation and a judge."""

import atexit
import os
import pathlib
import re
import select
import subprocess
import time

QEMU = os.environ.get('SERAI_QEMU', 'qemu-system-x86_64')

# PV guests under TCG need SMAP off: a ring-3 iretq would read its stack as a supervisor access.
CPU = 'max,-smap'


class Timeout(AssertionError):
    """What was expected on the console did not come in time."""


class Ended(AssertionError):
    """QEMU ended while something was still expected of it."""


class Qemu:
    """Starts QEMU with ARGS; what the serial port says goes to LOG and to expect().

    The limits given to expect() are there to end a hung test; they are not a measurement.
    """

    def __init__(self, args, log, accel='tcg'):
        self.log = pathlib.Path(log)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log = open(self.log, 'wb', buffering=0)
        self._errors = open(str(self.log) + '.qemu', 'wb')
        self.text = ''
        self._seen = 0
        self.started = time.monotonic()
        argv = [QEMU, '-accel', accel, '-display', 'none', '-monitor', 'none', '-no-user-config',
                '-serial', 'stdio', *[str(a) for a in args]]
        (self.log.parent / (self.log.name + '.command')).write_text(' '.join(argv) + '\n')
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self._errors, start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)
        atexit.register(self.kill)

    def seconds(self):
        return time.monotonic() - self.started

    def pump(self, wait=0.0):
        """Take what the serial port has to say; False when QEMU closed it."""
        ready, _, _ = select.select([self.process.stdout], [], [], wait)
        if not ready:
            return True
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            return False
        self._log.write(data)
        self.text += data.decode('utf-8', 'replace').replace('\r', '')
        return True

    def expect(self, pattern, timeout=300):
        """Wait until the regular expression PATTERN has come after the last match; return the match."""
        limit = time.monotonic() + timeout
        compiled = re.compile(pattern, re.MULTILINE)
        while True:
            match = compiled.search(self.text, self._seen)
            if match:
                self._seen = match.end()
                return match
            left = limit - time.monotonic()
            if left <= 0:
                raise Timeout(f'no /{pattern}/ within {timeout} s; see {self.log}\n{self.tail()}')
            if not self.pump(min(left, 1.0)):
                self.process.wait()
                raise Ended(f'QEMU ended before /{pattern}/; see {self.log}\n{self.tail()}')

    def send(self, text):
        """Type TEXT, slowly enough for a small receive ring at the other end."""
        data = text.encode()
        for at in range(0, len(data), 16):
            self.process.stdin.write(data[at:at + 16])
            self.process.stdin.flush()
            self.pump(0.02)

    def tail(self, lines=25):
        errors = pathlib.Path(self._errors.name).read_text(errors='replace')
        return '\n'.join(self.text.splitlines()[-lines:]) + ('\n' + errors if errors else '')

    def wait(self, timeout=60):
        """Wait for QEMU to end by itself; return its status."""
        limit = time.monotonic() + timeout
        while self.pump(0.5):
            if time.monotonic() > limit:
                raise Timeout(f'QEMU still runs after {timeout} s; see {self.log}\n{self.tail()}')
        return self.process.wait()

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self._log.close()
        self._errors.close()
        atexit.unregister(self.kill)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()


def free_port():
    """A TCP port on loopback that nobody listens on now."""
    import socket
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def split_arguments(words):
    """A command line as (what is ours, what follows "--")."""
    at = words.index('--') if '--' in words else len(words)
    return words[:at], words[at + 1:]
