# SPDX-License-Identifier: LGPL-2.1-or-later
"""In dom0: a guest is taken through its life by libvirt, and libvirtd is killed in the middle, many times.

    kill-libvirtd.py KILLS SEED XML DISK SAVE

XML defines the guest, which has the disk xvda and one NIC; DISK is plugged into it as xvdb; SAVE is where it
is saved.  Which operation comes next is chosen among those that its state allows, the least often killed
first; the moment is anywhere in the time that the operation takes.  After each kill the daemon is started
again and must find what the hypervisor has: the same domains, as they are, with the same devices.  An
operation that is not killed must succeed.  One line is printed for each kill; the last one is "done".
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import libvirt

KILLS, SEED = int(sys.argv[1]), int(sys.argv[2])
XML, DISK, SAVE = open(sys.argv[3]).read(), sys.argv[4], sys.argv[5]
NAME = re.search('<name>(.*)</name>', XML).group(1)
# How long the slowest host may take for anything.
LONG = 900
# How long libvirt may take to see what the hypervisor has, once it answers.
AGREE = 300
EXTRA_DISK = f"""<disk type='file'><driver name='qemu' type='raw'/><source file='{DISK}'/>
    <target dev='xvdb' bus='xen'/></disk>"""
EXTRA_NIC = """<interface type='bridge'><source bridge='br0'/>
    <mac address='00:16:3e:00:00:72'/></interface>"""
LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
# "connected", "closing" and "closed" of enum xenbus_state.
CONNECTED, CLOSED = '4', ('5', '6')


def store(*arguments):
    """A command of xenstore-utils; None when there is no such node."""
    result = subprocess.run([f'xenstore-{arguments[0]}', *arguments[1:]], capture_output=True, text=True)
    return result.stdout.strip() if result.returncode == 0 else None


def until(what, test, seconds=LONG):
    limit = time.monotonic() + seconds
    while True:
        found = test()
        if found:
            return found
        if time.monotonic() > limit:
            raise SystemExit(f'after {seconds} s still not: {what}')
        time.sleep(0.3)


def connect():
    def attempt():
        try:
            connection = libvirt.open('xen:///system')
            connection.listAllDomains()
            return connection
        except libvirt.libvirtError:
            return None
    return until('libvirtd answers', attempt)


class Facts:
    """What libvirt says of the guest, compared with what the hypervisor and the store say."""

    def __init__(self, connection):
        self.domain = next((d for d in connection.listAllDomains() if d.name() == NAME), None)
        self.defined = self.domain is not None and bool(self.domain.isPersistent())
        self.active = self.domain is not None and bool(self.domain.isActive())
        state = self.domain.state() if self.domain else (None, None)
        self.running = state[0] == libvirt.VIR_DOMAIN_RUNNING
        self.paused = state[0] == libvirt.VIR_DOMAIN_PAUSED
        self.asleep = state == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SAVE]
        self.managed = self.defined and bool(self.domain.hasManagedSaveImage())
        self.saved = os.path.exists(SAVE)
        xml = self.domain.XMLDesc() if self.active else ''
        self.disks, self.nics = xml.count('<disk '), xml.count('<interface ')
        self.has_disk, self.has_nic = 'xvdb' in xml, '00:16:3e:00:00:72' in xml
        self.id = self.domain.ID() if self.active else None

    def truth(self, connection):
        """What is wrong, as text."""
        ours = sorted(i for i in connection.listDomainsID() if i)
        there = sorted(int(i) for i in (store('list', '/local/domain') or '').split() if i != '0')
        if ours != there:
            return f'libvirt has domains {ours}, the store {there}'
        for kind, count in (('vbd', self.disks), ('vif', self.nics)):
            home = f'/local/domain/0/backend/{kind}/{self.id}'
            found = (store('list', home) if self.active else '') or ''
            if len(found.split()) != count:
                return f'libvirt has {count} {kind}, the store {len(found.split())}'
            if any(store('read', f'{home}/{device}/state') in CLOSED for device in found.split()):
                return f'a {kind} was detached by half'
        if self.asleep:
            return 'the guest sleeps and nobody saves it'
        if self.active and self.managed:
            return 'the guest runs and has a managed save image'
        return ''

    def __str__(self):
        return (f'defined={self.defined:d} active={self.id or 0} running={self.running:d} '
                f'asleep={self.asleep:d} managed={self.managed:d} saved={self.saved:d} '
                f'disks={self.disks} nics={self.nics}')


def ready(domain_id):
    """Waits until the guest's kernel has connected its disk and NIC, so that it can be asked for things."""
    home = f'/local/domain/{domain_id}'

    def test():
        nodes = [f'{home}/device/{kind}/{device}/state' for kind in ('vbd', 'vif')
                 for device in (store('list', f'{home}/device/{kind}') or '').split()]
        return nodes and all(store('read', node) == CONNECTED for node in nodes)
    until(f'guest {domain_id} is up', test)


def save(f):
    f.domain.save(SAVE)


def restore(f):
    f.domain.connect().restore(SAVE)
    os.unlink(SAVE)


# name: (when it may be done, does it need the guest's kernel, how)
OPERATIONS = {
    'define': (lambda f: not f.active, False, lambda f: f.connection.defineXML(XML)),
    'start': (lambda f: f.defined and not f.active and not f.saved, False, lambda f: f.domain.create()),
    'suspend': (lambda f: f.running, False, lambda f: f.domain.suspend()),
    'resume': (lambda f: f.paused and not f.asleep, False, lambda f: f.domain.resume()),
    'attach-disk': (lambda f: f.running and not f.has_disk, True,
                    lambda f: f.domain.attachDeviceFlags(EXTRA_DISK, LIVE)),
    'detach-disk': (lambda f: f.running and f.has_disk, True,
                    lambda f: f.domain.detachDeviceFlags(EXTRA_DISK, LIVE)),
    'attach-nic': (lambda f: f.running and not f.has_nic, True,
                   lambda f: f.domain.attachDeviceFlags(EXTRA_NIC, LIVE)),
    'detach-nic': (lambda f: f.running and f.has_nic, True,
                   lambda f: f.domain.detachDeviceFlags(EXTRA_NIC, LIVE)),
    'setmem': (lambda f: f.running, True,
               lambda f: f.domain.setMemoryFlags(random.choice((96, 128)) << 10, LIVE)),
    'save': (lambda f: f.running and not f.saved, True, save),
    'restore': (lambda f: f.saved and not f.active and not f.managed, False, restore),
    'managedsave': (lambda f: f.running and not f.saved, True, lambda f: f.domain.managedSave()),
    'destroy': (lambda f: f.active and not f.saved, False, lambda f: f.domain.destroy()),
    'undefine': (lambda f: f.defined and not f.active and not f.saved, False,
                 lambda f: f.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)),
}


def daemon():
    return int(subprocess.run(['pidof', '-s', 'libvirtd'], capture_output=True, text=True, check=True).stdout)


def kill_and_start(pid):
    os.kill(pid, signal.SIGKILL)
    # systemd starts it again by itself, until it thinks that this happens too often.
    subprocess.run(['systemctl', 'reset-failed', 'libvirtd.service'], capture_output=True)
    subprocess.run(['systemctl', 'start', 'libvirtd.service'], capture_output=True)


def look():
    connection = connect()
    facts = Facts(connection)

    def test():
        nonlocal facts
        facts = Facts(connection)
        return not facts.truth(connection)
    try:
        until('libvirt and the hypervisor agree', test, AGREE)
    except SystemExit as error:
        raise SystemExit(f'{error}: {facts.truth(connection)}; {facts}') from None
    facts.connection = connection
    return facts


def main():
    random.seed(SEED)
    killed = dict.fromkeys(OPERATIONS, 0)
    takes = dict.fromkeys(OPERATIONS, 1.0)
    facts = look()
    while sum(killed.values()) < KILLS:
        name = min((n for n, (may, _, _) in OPERATIONS.items() if may(facts)),
                   key=lambda n: (killed[n], random.random()), default='destroy')
        _, needs_guest, do = OPERATIONS[name]
        if needs_guest:
            ready(facts.id)
        error = None

        def work():
            nonlocal error
            try:
                do(facts)
            except libvirt.libvirtError as e:
                error = e

        thread = threading.Thread(target=work, daemon=True)
        begin = time.monotonic()
        # One in three is left alone, so that life goes on; the first of its kind too, to be timed.
        if takes[name] == 1.0 or random.random() < 0.34:
            work()
            takes[name] = time.monotonic() - begin
            if error:
                raise SystemExit(f'{name} failed without a kill: {error}; {facts}')
            facts = look()
            continue
        # Looked for before, as that takes longer than many an operation.
        pid = daemon()
        delay = random.uniform(0, takes[name])
        thread.start()
        time.sleep(delay)
        kill_and_start(pid)
        killed[name] += 1
        thread.join(LONG)
        facts = look()
        print(f'{sum(killed.values())} {name} after {delay:.2f} of {takes[name]:.2f} s: '
              f'{"cut off" if error else "done"}; {facts}', flush=True)
        # The call failed after its image was whole, or the guest was there and the image not yet removed.
        if facts.active and facts.saved:
            os.unlink(SAVE)
            facts.saved = False

    if facts.active:
        facts.domain.destroy()
    facts = look()
    if facts.saved:
        os.unlink(SAVE)
    if facts.defined:
        facts.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
    print('done', killed, flush=True)


main()
