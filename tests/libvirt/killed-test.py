#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kill the driver at each system call of each call that changes something, and look at what is left.

    killed-test.py [--every N] [CALL ...]

The driver runs embedded in a process of its own, on a pretend machine, below a fresh directory.  strace kills
that process as it enters one system call: for every call of libvirt, for every system call that changes a
file or a link between the beginning and the end of it, in turn.  Another process then opens the driver below
the same directory, as after a crash of the daemon, and must find each domain whole, in the old or in the new
state, able to start, and no file that belongs to none.  `--every N` takes each Nth only.

The pretend machine dies with its process, so this is about files; tests/system kills libvirtd over living
guests.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

NAME = 'victim'
# Those by which something outside of the process changes.
SYSCALLS = ('openat', 'write', 'pwrite64', 'fsync', 'fdatasync', 'ftruncate', 'rename', 'renameat',
            'renameat2',
            'unlink', 'unlinkat', 'mkdir', 'rmdir', 'symlink', 'link', 'fchmod', 'chmod', 'fchown', 'chown')
BEGIN, END = '/serai-call-begins', '/serai-call-ends'


def xml(name=NAME, memory=64):
    return f'''<domain type='xen'><name>{name}</name><uuid>5e1a1000-0000-4000-8000-000000000001</uuid>
<memory unit='MiB'>{memory}</memory><vcpu>2</vcpu>
<os><type>linux</type><kernel>{os.environ["SERAI_TEST_KERNEL"]}</kernel></os><devices/></domain>'''


DISK = ("<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/>"
        "<target dev='xvdb' bus='xen'/></disk>")
CDROM = ("<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{}'/>"
         "<target dev='xvdc' bus='xen'/></disk>")
NIC = "<interface type='bridge'><mac address='00:16:3e:00:00:01'/><source bridge='br0'/></interface>"


def steps():
    """{call: (what comes before it, the call)}; both get the connection and the directory."""
    import libvirt as v
    config, live = v.VIR_DOMAIN_AFFECT_CONFIG, v.VIR_DOMAIN_AFFECT_LIVE
    both = config | live

    def domain(c):
        return c.lookupByName(NAME)

    def image(root, name='disk'):
        path = pathlib.Path(root) / name
        path.write_bytes(bytes(65536))
        return str(path)

    def defined(c, root):
        c.defineXML(xml())

    def running(c, root):
        c.defineXML(xml()).create()

    def suspended(c, root):
        running(c, root)
        domain(c).suspend()

    def with_devices(c, root):
        running(c, root)
        for device in DISK.format(image(root)), CDROM.format(image(root, 'disc')), NIC:
            domain(c).attachDeviceFlags(device, config if 'cdrom' in device else both)

    def with_disc(c, root):
        c.defineXML(xml().replace('<devices/>', f'<devices>{CDROM.format(image(root))}</devices>')).create()

    def saved(c, root):
        running(c, root)
        domain(c).managedSave(0)

    def saved_to_image(c, root):
        running(c, root)
        domain(c).save(f'{root}/image')

    def autostarted(c, root):
        defined(c, root)
        domain(c).setAutostart(1)

    def nothing(c, root):
        pass

    return {
        'define': (nothing, lambda c, root: c.defineXML(xml())),
        'redefine': (defined, lambda c, root: c.defineXML(xml(memory=96))),
        'undefine': (defined, lambda c, root: domain(c).undefine()),
        'undefine-running': (running, lambda c, root: domain(c).undefine()),
        'undefine-saved': (saved, lambda c, root:
                           domain(c).undefineFlags(v.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)),
        'rename': (defined, lambda c, root: domain(c).rename('renamed', 0)),
        'autostart': (defined, lambda c, root: domain(c).setAutostart(1)),
        'no-autostart': (autostarted, lambda c, root: domain(c).setAutostart(0)),

        'start': (defined, lambda c, root: domain(c).create()),
        'create': (nothing, lambda c, root: c.createXML(xml(), 0)),
        'destroy': (running, lambda c, root: domain(c).destroy()),
        'suspend': (running, lambda c, root: domain(c).suspend()),
        'resume': (suspended, lambda c, root: domain(c).resume()),
        'reset': (running, lambda c, root: domain(c).reset(0)),

        'save': (running, lambda c, root: domain(c).save(f'{root}/image')),
        'restore': (saved_to_image, lambda c, root: c.restore(f'{root}/image')),
        'save-image-define': (saved_to_image, lambda c, root: c.saveImageDefineXML(f'{root}/image', xml())),
        'managed-save': (running, lambda c, root: domain(c).managedSave(0)),
        'managed-save-define': (saved, lambda c, root: domain(c).managedSaveDefineXML(xml())),
        'managed-save-remove': (saved, lambda c, root: domain(c).managedSaveRemove(0)),
        'start-saved': (saved, lambda c, root: domain(c).create()),
        'start-force-boot': (saved, lambda c, root:
                             domain(c).createWithFlags(v.VIR_DOMAIN_START_FORCE_BOOT)),

        'attach-disk': (defined, lambda c, root:
                        domain(c).attachDeviceFlags(DISK.format(image(root)), config)),
        'attach-disk-live': (running, lambda c, root:
                             domain(c).attachDeviceFlags(DISK.format(image(root)), both)),
        'attach-nic-live': (running, lambda c, root: domain(c).attachDeviceFlags(NIC, both)),
        'detach-disk-live': (with_devices, lambda c, root:
                             domain(c).detachDeviceFlags(DISK.format(f'{root}/disk'), both)),
        'detach-nic-live': (with_devices, lambda c, root: domain(c).detachDeviceFlags(NIC, both)),
        'change-disc': (with_disc, lambda c, root:
                        domain(c).updateDeviceFlags(CDROM.format(image(root, 'other')), both)),
        'set-link': (with_devices, lambda c, root: domain(c).updateDeviceFlags(
            NIC.replace('</int', "<link state='down'/></int"), both)),
        'resize-disk': (with_devices, lambda c, root:
                        domain(c).blockResize('xvdb', 131072, v.VIR_DOMAIN_BLOCK_RESIZE_BYTES)),
        'limit-nic': (with_devices, lambda c, root:
                      domain(c).setInterfaceParameters('00:16:3e:00:00:01', {'outbound.peak': 99}, config)),

        'set-memory': (defined, lambda c, root: domain(c).setMemoryFlags(32 << 10, config)),
        'set-memory-live': (running, lambda c, root: domain(c).setMemoryFlags(32 << 10, both)),
        'set-max-memory': (defined, lambda c, root:
                           domain(c).setMemoryFlags(96 << 10, config | v.VIR_DOMAIN_MEM_MAXIMUM)),
        'memory-parameters': (running, lambda c, root:
                              domain(c).setMemoryParameters({'hard_limit': 96 << 10}, config)),
        'set-vcpus': (running, lambda c, root: domain(c).setVcpusFlags(1, both)),
        'set-vcpu': (running, lambda c, root: domain(c).setVcpu('1', 0, both)),
        'pin-vcpu': (running, lambda c, root: domain(c).pinVcpuFlags(0, (True,), both)),
        'scheduler': (running, lambda c, root:
                      domain(c).setSchedulerParametersFlags({'weight': 512}, config)),
        'lifecycle-action': (running, lambda c, root: domain(c).setLifecycleAction(
            v.VIR_DOMAIN_LIFECYCLE_CRASH, v.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART, both)),
        'set-title': (defined, lambda c, root: domain(c).setMetadata(
            v.VIR_DOMAIN_METADATA_TITLE, 'title', None, None, config)),
    }


def connect(root):
    import libvirt
    libvirt.registerErrorHandler(lambda context, error: None, None)
    libvirt.virEventRegisterDefaultImpl()
    return libvirt.open(f'xen:///embed?root={root}')


def child_call(root, call):
    before, function = steps()[call]
    connection = connect(root)
    before(connection, root)
    for marker in (BEGIN, END):
        try:
            os.rmdir(marker)
        except OSError:
            pass
        if marker == BEGIN:
            function(connection, root)


def files(root, *folders):
    return sorted(str(p.relative_to(root)) for f in folders for p in (root / f).rglob('*')
                  if p.is_file() or p.is_symlink())


def child_check(root):
    """After the kill: what is wrong, one line each."""
    import libvirt
    root = pathlib.Path(root)
    connection = connect(root)
    domains = [d for d in connection.listAllDomains() if d.ID() != 0]
    names = [d.name() for d in domains]
    if len(domains) > 1 or set(names) - {NAME, 'renamed'}:
        print(f'the domains are {names}')
    for path in files(root, 'etc', 'run', 'lib'):
        name = pathlib.Path(path).name
        expected = ([f'etc/{n}.xml' for n in names] + [f'etc/autostart/{n}.xml' for n in names] +
                    [f'lib/save/{d.name()}.save' for d in domains if d.hasManagedSaveImage()] +
                    ['run/driver.pid', 'run/autostarted', 'etc/autostarted'])
        if path not in expected:
            print(f'{path} belongs to nobody (the domains are {names}, {name})')
    for link in (root / 'etc/autostart').iterdir():
        if not link.exists():
            print(f'{link.name} is a link to nothing')
    for domain in domains:
        if domain.isActive():
            print('a domain of a dead machine runs')
        if not re.search(r'<memory unit=.KiB.>(65536|98304)</memory>', domain.XMLDesc(0)):
            print('the definition is neither the old nor the new one')
        try:
            domain.create()
            domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        except libvirt.libvirtError as error:
            print(f'it cannot start and end any more: {error}')
    left = [f for f in files(root, 'etc', 'run', 'lib') if 'driver.pid' not in f and 'autostarted' not in f]
    if left:
        print(f'after undefine there is {left}')


def run(mode, root, call='', wrapper=()):
    command = [*wrapper, sys.executable, '-B', __file__, mode, str(root), call]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def fresh(work):
    root = pathlib.Path(tempfile.mkdtemp(dir=work))
    (root / 'libxl.conf').write_text('hypervisor = "fake"\n')
    return root


def changes(work, call):
    """The system calls of CALL that change something, as (name, which of that name in its thread)."""
    root, log = fresh(work), work / 'trace'
    result = run('call', root, call,
                 ['strace', '-f', '-qq', '-o', str(log), '-e', 'trace=' + ','.join(SYSCALLS)])
    if result.returncode:
        raise RuntimeError(f'{call} fails without being killed: {result.stderr[-500:]}')
    counts, found, on = {}, [], False
    for line in log.read_text().splitlines():
        match = re.match(r'(\d+)\s+(\w+)\((.*)', line)
        if not match:
            continue
        thread, name, rest = match.groups()
        counts[thread, name] = counts.get((thread, name), 0) + 1
        if BEGIN in rest or END in rest:
            on = BEGIN in rest
        elif on and not (name == 'openat' and not re.search('O_CREAT|O_WRONLY|O_RDWR', rest)):
            found.append((name, counts[thread, name], rest[:60]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--every', type=int, default=1)
    parser.add_argument('calls', nargs='*')
    options = parser.parse_args()
    if not shutil.which('strace'):
        print('1..0 # SKIP strace is not installed')
        return 0
    calls = options.calls or list(steps())
    print(f'1..{len(calls)}', flush=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix='serai-killed-') as directory:
        work = pathlib.Path(directory)
        for number, call in enumerate(calls, 1):
            points = changes(work, call)
            wrong, killed = [], 0
            for name, which, what in points[::options.every]:
                root = fresh(work)
                result = run('call', root, call, ['strace', '-f', '-qq', '-o', '/dev/null', '-e',
                                                  f'trace={name}', '-e',
                                                  f'inject={name}:signal=KILL:when={which}'])
                killed += result.returncode != 0
                check = run('check', root)
                if check.returncode or check.stdout:
                    wrong.append(f'{name} {which} ({what}): {check.stdout or check.stderr[-400:]}')
                shutil.rmtree(root)
            good = points and killed and not wrong
            failed += not good
            print(f'{"ok" if good else "not ok"} {number} - {call}: '
                  f'killed {killed} times at {len(points)} places',
                  flush=True)
            for line in '\n'.join(wrong).splitlines():
                print('# ' + line, flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    if len(sys.argv) > 2 and sys.argv[1] == 'call':
        child_call(sys.argv[2], sys.argv[3])
    elif len(sys.argv) > 2 and sys.argv[1] == 'check':
        child_check(sys.argv[2])
    else:
        sys.exit(main())
