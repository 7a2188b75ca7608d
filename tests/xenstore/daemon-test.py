#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon as a process: started like systemd starts it, killed, restarted, updated, with clients that stay.

Usage: daemon-test.py SERAI-XENSTORED
"""
import array
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

READ, TRANSACTION_START, TRANSACTION_END, WATCH, WRITE, CONTROL = 2, 6, 7, 4, 11, 0
WATCH_EVENT, ERROR = 15, 16


class Client:
    """A conversation over a socket; any answer that does not fit raises."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(100)
        self.next = 1
        self.events = []

    def send(self, kind, payload, tx=0, part=None):
        data = struct.pack('<IIII', kind, self.next, tx, len(payload)) + payload
        self.next += 1
        self.socket.sendall(data[:part])
        return data[part:] if part else b''

    def exactly(self, count):
        data = b''
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            assert more, 'the daemon closed the connection'
            data += more
        return data

    def receive(self):
        while True:
            kind, number, _, length = struct.unpack('<IIII', self.exactly(16))
            payload = self.exactly(length)
            if kind == WATCH_EVENT:
                self.events.append(payload)
                continue
            assert number == self.next - 1, f'answer {number} to request {self.next - 1}'
            return payload if kind != ERROR else b'!' + payload

    def ask(self, kind, payload, tx=0):
        self.send(kind, payload, tx)
        return self.receive()


class Manager:
    """What systemd is to the daemon: the notification socket and the store of descriptors."""

    def __init__(self, daemon, directory, bound=False):
        self.daemon, self.directory = daemon, directory
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f'{directory}/notify')
        self.notify.settimeout(0.1)
        self.kept = []
        self.said = []
        self.heard = 0
        self.ended = False
        # Nobody waits for the service manager: it always listens.
        self.ear = threading.Thread(target=self.listen)
        self.ear.start()
        self.process = None
        if bound:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f'{directory}/socket')
            listener.listen()
            self.kept.append(('serai-xenstored.socket', listener.detach()))

    def start(self, *more):
        names, passed = [name for name, _ in self.kept], [fd for _, fd in self.kept]
        environment = {**os.environ, 'NOTIFY_SOCKET': f'{self.directory}/notify', 'WATCHDOG_USEC': '300000'}
        if passed:
            environment |= {'LISTEN_FDS': str(len(passed)), 'LISTEN_FDNAMES': ':'.join(names)}

        def child():
            # Out of the way first, as none may be overwritten before it is in its place.
            moved = [os.dup2(fd, 200 + i) for i, fd in enumerate(passed)]
            for i, fd in enumerate(moved):
                os.dup2(fd, 3 + i)
            os.environ['LISTEN_PID'] = str(os.getpid())
        # The process must know its own number, which only a shell can put there.
        command = ['/bin/sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh', self.daemon, '--foreground', '--bare',
                   '--run-dir', self.directory, '--state-dir', f'{self.directory}/state', *more]
        self.process = subprocess.Popen(command, env=environment, preexec_fn=child, close_fds=False,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.wait_for('READY=1')

    def take(self):
        """One message of the daemon; descriptors go in or out of the store."""
        data, ancillary, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(16))
        text = data.decode()
        name = next((line[7:] for line in text.splitlines() if line.startswith('FDNAME=')), None)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array('i')
                fds.frombytes(content)
                self.kept.append((name, fds[0]))
        if text.startswith('FDSTOREREMOVE=1'):
            for entry in [entry for entry in self.kept if entry[0] == name]:
                os.close(entry[1])
                self.kept.remove(entry)
        self.said.append(text)

    def listen(self):
        while not self.ended:
            try:
                self.take()
            except TimeoutError:
                pass

    def wait_for(self, what):
        """Waits for a message that was not waited for before."""
        end = time.monotonic() + 100
        while time.monotonic() < end:
            while self.heard < len(self.said):
                self.heard += 1
                if what in self.said[self.heard - 1]:
                    return
            time.sleep(0.01)
        raise TimeoutError(what)

    def drain(self):
        """What was said before now is heard after this."""
        time.sleep(0.3)

    def stop(self, number):
        self.drain()
        self.process.send_signal(number)
        self.process.wait()
        self.process.stderr.close()

    def client(self):
        return Client(f'{self.directory}/socket')

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.ended = True
        self.ear.join()
        for _, fd in self.kept:
            os.close(fd)
        self.notify.close()


def prepared(manager):
    """A client in the middle of everything: a watch, a transaction, half a request."""
    client = manager.client()
    assert client.ask(WRITE, b'/a\x001') == b'OK\0'
    assert client.ask(WATCH, b'/a\0token\0') == b'OK\0'
    tx = int(client.ask(TRANSACTION_START, b'\0')[:-1])
    assert client.ask(WRITE, b'/a\x002', tx) == b'OK\0'
    rest = client.send(READ, b'/a\0', part=11)
    return client, tx, rest


def goes_on(client, tx, rest):
    client.socket.sendall(rest)
    assert client.receive() == b'1'
    assert client.ask(TRANSACTION_END, b'T\0', tx) == b'OK\0'
    assert client.ask(READ, b'/a\0') == b'2'
    assert client.events == [b'/a\0token\0', b'/a\0token\0'], client.events


def clients_outlive_a_kill(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start()
        state = prepared(manager)
        manager.stop(signal.SIGKILL)
        manager.start()
        goes_on(*state)


def clients_outlive_a_restart(daemon, directory):
    with Manager(daemon, directory, bound=True) as manager:
        manager.start()
        state = prepared(manager)
        manager.stop(signal.SIGTERM)
        assert manager.process.returncode == 0
        manager.start()
        goes_on(*state)


def clients_outlive_an_update(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start()
        state = prepared(manager)
        other = manager.client()
        pid = manager.process.pid
        assert other.ask(CONTROL, b'live-update\0-f\0/nonexistent\0') != b'OK\0'
        assert other.ask(CONTROL, b'live-update\0-f\0' + daemon.encode() + b'\0') == b'OK\0'
        assert other.ask(CONTROL, b'live-update\0-s\0-t\x0060\0-F\0') == b'OK\0'
        manager.wait_for('READY=1')
        goes_on(*state)
        assert other.ask(READ, b'/a\0') == b'2'
        assert manager.process.pid == pid and manager.process.poll() is None
        # New connections come through the listener that stayed open.
        assert manager.client().ask(READ, b'/a\0') == b'2'


def update_to_nothing_changes_nothing(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start()
        state = prepared(manager)
        other = manager.client()
        broken = f'{directory}/broken'
        with open(broken, 'w') as file:
            file.write('not a program')
        os.chmod(broken, 0o755)
        assert other.ask(CONTROL, b'live-update\0-f\0' + broken.encode() + b'\0') == b'OK\0'
        assert other.ask(CONTROL, b'live-update\0-s\0') == b'OK\0'
        goes_on(*state)


def closed_clients_are_forgotten(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start()
        for _ in range(20):
            client = manager.client()
            client.ask(READ, b'/\0')
            client.socket.close()
        manager.drain()
        assert not [name for name, _ in manager.kept if name.startswith('client')], manager.kept
        assert len(os.listdir(f'/proc/{manager.process.pid}/fd')) < 30


def watchdog_is_fed(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start()
        manager.wait_for('WATCHDOG=1')
        manager.wait_for('WATCHDOG=1')


def damaged_state_is_kept_and_said(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start()
        manager.client().ask(WRITE, b'/a\x001')
        manager.stop(signal.SIGTERM)
        with open(f'{directory}/state/state', 'r+b') as file:
            file.seek(100)
            file.write(b'damage')
        manager.start()
        assert manager.client().ask(READ, b'/a\0') == b'!ENOENT\0'
        manager.process.terminate()
        manager.process.wait()
        said = manager.process.stderr.read().decode()
        manager.process.stderr.close()
        assert 'damaged' in said and 'sum' in said, said
        assert os.path.exists(f'{directory}/state/state.damaged.0')


def state_of_another_version_is_refused_and_left(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start()
        manager.client().ask(WRITE, b'/a\x001')
        manager.stop(signal.SIGTERM)
        state = f'{directory}/state/state'
        with open(state, 'rb') as file:
            good = file.read()
        command = [daemon, '-f', '-D', '-r', directory, '-s', f'{directory}/state']
        assert subprocess.run([*command, '--check'], timeout=100).returncode == 0
        newer = good[:8] + struct.pack('<I', 99) + good[12:]
        with open(state, 'wb') as file:
            file.write(newer)
        refused = subprocess.run(command, capture_output=True, text=True, timeout=100)
        # The unit does not start it again after this status.
        assert refused.returncode == 78, refused
        assert 'format 99' in refused.stderr and 'Start the version that wrote it' in refused.stderr, refused.stderr
        with open(state, 'rb') as file:
            assert file.read() == newer
        assert subprocess.run([*command, '--check'], capture_output=True, timeout=100).returncode == 1
        with open(state, 'wb') as file:
            file.write(good)
        manager.start()
        assert manager.client().ask(READ, b'/a\0') == b'1'


def update_to_one_that_cannot_go_on_changes_nothing(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start()
        state = prepared(manager)
        other = manager.client()
        older = f'{directory}/older'
        with open(older, 'w') as file:
            file.write('#!/bin/sh\nexit 1\n')
        os.chmod(older, 0o755)
        assert other.ask(CONTROL, b'live-update\0-f\0' + older.encode() + b'\0') == b'OK\0'
        assert other.ask(CONTROL, b'live-update\0-s\0') == b'OK\0'
        goes_on(*state)
        manager.stop(signal.SIGTERM)


def limits_come_from_the_command_line(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start('--quota', 'nodes=77', '-Q', 'watch-nb=0')
        client = manager.client()
        said = client.ask(CONTROL, b'quota\0').decode()
        assert 'nodes              77\n' in said and 'watches            0\n' in said, said
    for wrong in ('nonsense=1', 'nodes=many', 'nodes'):
        refused = subprocess.run([daemon, '-f', '-D', '--quota', wrong], capture_output=True, timeout=100)
        assert refused.returncode == 2 and wrong.split('=')[0].encode() in refused.stderr, refused


def two_daemons_do_not_share_a_state(daemon, directory):
    with Manager(daemon, directory) as manager:
        manager.start()
        second = subprocess.run([daemon, '-f', '-D', '-r', f'{directory}/other', '-s', f'{directory}/state'],
                                capture_output=True, timeout=100)
        assert second.returncode == 1 and b'busy' in second.stderr.lower(), second
        assert manager.client().ask(READ, b'/tool\0') == b''


def accesses_are_logged_when_asked_for(daemon, directory):
    """By domain, with what was answered; before and after nothing is said."""
    with Manager(daemon, directory) as manager:
        manager.start()
        client = manager.client()
        assert client.ask(WRITE, b'/before\0x') == b'OK\0'
        assert client.ask(CONTROL, b'log\x000\0on\0')[:2] == b'OK'
        assert client.ask(WRITE, b'/a\0x') == b'OK\0'
        assert client.ask(READ, b'/missing\0') == b'!ENOENT\0'
        assert client.ask(CONTROL, b'log\x000\0off\0')[:2] == b'OK'
        assert client.ask(READ, b'/after\0') == b'!ENOENT\0'
        manager.process.terminate()
        said = [line for line in manager.process.communicate()[1].decode().splitlines() if 'access:' in line]
    assert any('domain 0 socket 1 tx 0: WRITE /a' in line for line in said), said
    assert any('READ /missing: ENOENT' in line for line in said), said
    assert not any('/before' in line or '/after' in line for line in said), said


def supervisor_brings_it_back(daemon, directory):
    process = subprocess.Popen([daemon, '-f', '-D', '--supervise', '-r', directory, '-s', f'{directory}/state'],
                               stdout=subprocess.DEVNULL)
    try:
        while not os.path.exists(f'{directory}/socket'):
            time.sleep(0.02)
        time.sleep(0.1)
        client = Client(f'{directory}/socket')
        for number in range(20):
            assert client.ask(WRITE, b'/n\0%d' % number) == b'OK\0'
            with open(f'/proc/{process.pid}/task/{process.pid}/children') as file:
                os.kill(int(file.read().split()[0]), signal.SIGKILL)
            assert client.ask(READ, b'/n\0') == b'%d' % number
    finally:
        process.terminate()
        process.wait()
    assert process.returncode == 0


def tools_of_debian(daemon, directory):
    if not shutil.which('xenstore-ls'):
        return 'xenstore-utils is not installed'
    with Manager(daemon, directory) as manager:
        manager.start()
        environment = {**os.environ, 'XENSTORED_PATH': f'{directory}/socket', 'XENSTORED_RUNDIR': directory}

        def tool(*words):
            return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100, check=True).stdout
        tool('xenstore-write', '/a/b', 'one', '/a/c', 'two')
        assert tool('xenstore-read', '/a/b', '/a/c') == 'one\ntwo\n'
        assert tool('xenstore-list', '/a') == 'b\nc\n'
        tool('xenstore-chmod', '/a/b', 'n0', 'r5')
        assert '/a/b = "one"   (n0,r5)\n' in tool('xenstore-ls', '-fp', '/a')
        for number in range(3000):
            if number % 100 == 0:
                tool('xenstore-write', *[w for n in range(number, number + 100) for w in (f'/big/child-{n}', 'x')])
        assert len(tool('xenstore-list', '/big').split()) == 3000
        tool('xenstore-rm', '/a', '/big')
        assert tool('xenstore-list', '/') == 'tool\n'
    return None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    tests = [clients_outlive_a_kill, clients_outlive_a_restart, clients_outlive_an_update,
             update_to_nothing_changes_nothing, closed_clients_are_forgotten, watchdog_is_fed,
             damaged_state_is_kept_and_said, state_of_another_version_is_refused_and_left,
             update_to_one_that_cannot_go_on_changes_nothing, limits_come_from_the_command_line,
             two_daemons_do_not_share_a_state,
             accesses_are_logged_when_asked_for, supervisor_brings_it_back,
             tools_of_debian]
    print(f'1..{len(tests)}')
    failed = 0
    for number, test in enumerate(tests, 1):
        with tempfile.TemporaryDirectory() as directory:
            try:
                skipped = test(os.path.abspath(sys.argv[1]), directory)
            except Exception as error:                      # whatever it was, the next test may tell more
                failed += 1
                print(f'# {type(error).__name__}: {error}')
                print(f'not ok {number} - {test.__name__}', flush=True)
            else:
                print(f'ok {number} - {test.__name__}' + (f' # SKIP {skipped}' if skipped else ''), flush=True)
    return failed != 0


if __name__ == '__main__':
    sys.exit(main())
