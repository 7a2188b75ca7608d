# SPDX-License-Identifier: LGPL-2.1-or-later
"""The few words of gdb's remote protocol that a test needs to change a program in QEMU."""

import socket
import subprocess
import time


class Remote:
    """QEMU's stub at the socket PATH (-gdb unix:PATH,server=on,wait=off)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(100):
            try:
                self.socket.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.1)
        self.socket.settimeout(100)
        self.data = b''

    def send(self, text):
        body = text.encode()
        self.socket.sendall(b'$' + body + b'#%02x' % (sum(body) & 255))

    def receive(self):
        while True:
            start = self.data.find(b'$')
            end = self.data.find(b'#', start)
            if start >= 0 and end >= 0 and len(self.data) >= end + 3:
                body, self.data = self.data[start + 1:end], self.data[end + 3:]
                self.socket.sendall(b'+')
                return body.decode()
            more = self.socket.recv(4096)
            if not more:
                raise EOFError('QEMU closed the connection')
            self.data += more

    def ask(self, text, want=None):
        self.send(text)
        answer = self.receive()
        while want is not None and answer.startswith('T'):
            answer = self.receive()     # the stop that the connection itself caused
        if want is not None and answer != want:
            raise RuntimeError(f'{text}: {answer}')
        return answer


def symbol(elf, name):
    """The address of the symbol NAME in the program ELF."""
    for line in subprocess.run(['nm', elf], capture_output=True, text=True, check=True).stdout.splitlines():
        words = line.split()
        if words[-1] == name:
            return int(words[0], 16)
    raise KeyError(name)


def make_stuck(path, elf, name):
    """The next CPU that enters the function NAME of ELF stays at its first instruction for ever."""
    remote, address = Remote(path), symbol(elf, name)
    remote.ask('?')
    remote.ask(f'Z0,{address:x},1', 'OK')
    remote.ask('c')
    remote.ask(f'z0,{address:x},1', 'OK')
    remote.ask(f'M{address:x},2:ebfe', 'OK')
    remote.send('c')
    return remote
