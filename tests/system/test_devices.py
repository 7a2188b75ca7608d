# SPDX-License-Identifier: LGPL-2.1-or-later
"""Devices of a guest that the host's other tests do not have: disks in other forms than raw, a CD-ROM whose
medium changes, devices that another program takes, block devices that two guests want, several consoles, and
the console daemon killed while the guest writes.

    SERAI_HOST=serai pytest tests/system/test_devices.py      # or xen: our driver on Debian's Xen

The tests run in the order they stand here, on one guest.
"""

import os
import pathlib
import re
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from test_driver_pv import (GUEST, IMAGES, Console, booted, created, held_after_first,     # noqa: E402
                            leftovers, renamed)

pytestmark = pytest.mark.by_name
LOG = '/var/log/libvirt/devices-console.log'
DISKS = f'''
    <disk type='file'>
      <driver name='qemu' type='qcow2'/>
      <source file='{IMAGES}/devices.qcow2'/>
      <target dev='xvda' bus='xen'/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <source file='{IMAGES}/first.iso'/>
      <target dev='xvdc' bus='xen'/>
      <readonly/>
    </disk>
'''
CONSOLES = f'''
    <console type='pty'>
      <log file='{LOG}' append='off'/>
      <target type='xen' port='0'/>
    </console>
    <console type='pty'>
      <target type='xen' port='1'/>
    </console>
'''
LINES = 4000
# Flooded: more than the log and one of its old parts take (LOG_SIZE_MAX of libxl/consoled/log.h is 2 MiB).
FLOOD_MIB = 5


@pytest.fixture(scope='module')
def host():
    with booted('devices', memory=3072) as machine:
        yield machine


@pytest.fixture(scope='module')
def xml(host, tmp_path_factory):
    """The guest's XML; its images are made: a qcow2 on a raw base, and two media."""
    host.run(f'cd {IMAGES} && printf "base of the disk" > base.raw && truncate -s 16M base.raw && '
             'qemu-img create -q -f qcow2 -F raw -b base.raw devices.qcow2 && '
             'for m in first second; do printf "%s medium" $m > $m.iso && truncate -s 2M $m.iso; done')
    text = re.sub(r'<disk .*?</disk>', DISKS.strip(), GUEST, flags=re.S)
    text = text.replace("<console type='pty'/>", CONSOLES)
    path = tmp_path_factory.mktemp('devices') / 'devices.xml'
    path.write_text(renamed(text, 'devices', '51'))
    return path


@pytest.fixture(scope='module')
def before(host, xml):
    return held_after_first(host, xml, 'devices')


@pytest.fixture
def console(host):
    terminal = Console(host, 'devices')
    yield terminal
    terminal.close()


def test_it_starts(host, before, xml):
    created(host, xml, 'devices')


def test_a_qcow2_disk_is_read_and_written(host, console):
    assert 'base of the disk' in console.run('head -c 16 /dev/xvda')
    console.run('printf "written by the guest" | dd of=/dev/xvda bs=512 seek=2048 conv=fsync 2>/dev/null')
    console.run('echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/xvda bs=512 skip=2048 count=1 2>/dev/null | '
                'grep -q "written by the guest"')
    # It is in the overlay, and the base is as it was.
    host.run(f'cmp -n 512 -i 1M:0 {IMAGES}/base.raw /dev/zero')
    host.run(f'qemu-img convert -U -f qcow2 -O raw {IMAGES}/devices.qcow2 /root/now.raw && '
             'dd if=/root/now.raw bs=512 skip=2048 count=1 2>/dev/null | grep -q "written by the guest"; '
             's=$?; rm -f /root/now.raw; exit $s', timeout=600)


def file_source(form):
    return 'file', f"<driver name='qemu' type='{form}'/><source file='{IMAGES}/other.{form}'/>"


def nbd_source(server):
    return 'network', f"<driver name='qemu' type='raw'/><source protocol='nbd' name='disk'>{server}</source>"


SERVE = f'qemu-nbd -f raw -t -x disk --fork --pid-file=/run/other.pid {{}} {IMAGES}/other.raw'
# {form: (what makes or serves the image of 16 MiB, the disk's type and source, how the image is looked at)}
FORMS = {
    'vmdk': (f'qemu-img create -q -f vmdk {IMAGES}/other.vmdk 16M', *file_source('vmdk'), 'vmdk'),
    'vhd': (f'qemu-img create -q -f vpc -o force_size=on {IMAGES}/other.vpc 16M', *file_source('vpc'), 'vpc'),
    'nbd': (SERVE.format('-b 127.0.0.1 -p 10809'),
            *nbd_source("<host name='127.0.0.1' port='10809'/>"), 'raw'),
    'nbd-unix': (SERVE.format('-k /run/other.sock'),
                 *nbd_source("<host transport='unix' socket='/run/other.sock'/>"), 'raw'),
}


def written_read_and_unplugged(host, console, device, name, words):
    """The disk of 16 MiB that was plugged in as NAME carries WORDS, until the XML in DEVICE is unplugged."""
    console.wait_for(f'[ -b /dev/{name} ]')
    assert '32768' in console.run(f'cat /sys/block/{name}/size')
    console.run(f'printf "{words}" | dd of=/dev/{name} bs=512 seek=4096 conv=fsync 2>/dev/null')
    console.run('echo 3 > /proc/sys/vm/drop_caches; '
                f'dd if=/dev/{name} bs=512 skip=4096 count=1 2>/dev/null | grep -q "{words}"')
    host.virsh(f'detach-device devices {device} --live', timeout=600)
    console.wait_for(f'[ ! -b /dev/{name} ]')


@pytest.mark.parametrize('form', FORMS)
def test_a_disk_of_another_form_is_hot_plugged_written_and_unplugged(host, console, tmp_path, form):
    made, kind, source, kept = FORMS[form]
    host.run(f'truncate -s 16M {IMAGES}/other.raw && {made}')
    device = tmp_path / 'disk.xml'
    device.write_text(f"<disk type='{kind}' device='disk'>{source}<target dev='xvde' bus='xen'/></disk>")
    host.virsh(f'attach-device devices {device} --live', timeout=600)
    written_read_and_unplugged(host, console, device, 'xvde', 'written to another form')
    host.run('[ ! -e /run/other.pid ] || kill $(cat /run/other.pid); rm -f /run/other.sock; '
             f'qemu-img convert -f {kept} -O raw {IMAGES}/other.{kept} /root/now.raw && '
             'dd if=/root/now.raw bs=512 skip=4096 count=1 2>/dev/null | grep -q "written to another form"; '
             f's=$?; rm -f /root/now.raw {IMAGES}/other.*; exit $s', timeout=600)


SECRET = '7a0b5e30-6a1c-4e0e-9f53-1d2c3b4a5968'


def test_an_encrypted_disk_is_opened_by_a_secret_of_libvirt(host, console, tmp_path):
    image, word = f'{IMAGES}/locked.qcow2', 'open-sesame-51'
    host.run(f'qemu-img create -q --object secret,id=s,data={word} -f qcow2 '
             f'-o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 {image} 16M')
    secret, device = tmp_path / 'secret.xml', tmp_path / 'locked.xml'
    secret.write_text(f"<secret ephemeral='no' private='yes'><uuid>{SECRET}</uuid>"
                      f"<usage type='volume'><volume>{image}</volume></usage></secret>")
    device.write_text(f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
                      f"<source file='{image}'/><target dev='xvdf' bus='xen'/><encryption format='luks'>"
                      f"<secret type='passphrase' uuid='{SECRET}'/></encryption></disk>")
    host.virsh(f'secret-define {secret}')
    for given in ('wrong-word', word):
        (tmp_path / 'word').write_text(given)
        host.virsh(f'secret-set-value {SECRET} --file {tmp_path}/word --plain')
        status, said = host.virsh(f'attach-device devices {device} --live', timeout=600, check=False)
        if given == word and not status:
            break
        assert status and 'xvdf' in said and SECRET in said, said
        if 'No crypto library' in said:
            host.virsh(f'secret-undefine {SECRET}')
            host.run(f'rm -f {image}')
            pytest.skip('this QEMU for Xen was built without what LUKS needs, and says so')
        assert given != word, said
    # Neither the passphrase nor the contents are where they must not be.
    host.run(f'! xenstore-ls | grep -q {word} && '
             f'for p in $(pgrep qemu); do ! grep -qa {word} /proc/$p/cmdline || exit 1; done')
    written_read_and_unplugged(host, console, device, 'xvdf', 'read by nobody else')
    host.run(f'! grep -qa "read by nobody else" {image}')
    host.virsh(f'secret-undefine {SECRET}')
    host.run(f'rm -f {image}')


# What another program does: as xl detaches a device of its own guests, and without a word to the guest.
POLITELY = '''xenstore-write {back}/online 0 {back}/state 5
for i in $(seq 60); do [ "$(xenstore-read {back}/state)" = 6 ] && break; sleep 1; done
xenstore-rm {front} && xenstore-rm {back}'''
RUDELY = 'xenstore-rm {back}'
# {form: (backend, frontend, how it is taken, the device)}
TAKEN = {
    'raw': ('vbd', 'vbd', POLITELY,
            f"<disk type='file'><driver name='qemu' type='raw'/><source file='{IMAGES}/taken.raw'/>"
            "<target dev='xvdg' bus='xen'/></disk>"),
    'qcow2': ('qdisk', 'vbd', RUDELY,
              f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{IMAGES}/taken.qcow2'/>"
              "<target dev='xvdg' bus='xen'/></disk>"),
    'nic': ('vif', 'vif', RUDELY,
            "<interface type='bridge'><source bridge='br0'/><mac address='00:16:3e:00:00:59'/></interface>"),
}


@pytest.fixture
def removed(host):
    """What libvirt's event of a device that went away tells of: (domain, alias)."""
    import libvirt
    seen, connection = [], host.connect()
    number = connection.domainEventRegisterAny(
        None, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
        lambda _connection, domain, alias, _opaque: seen.append((domain.name(), alias)), None)
    yield seen
    connection.domainEventDeregisterAny(number)


@pytest.mark.parametrize('form', TAKEN)
def test_a_device_that_another_program_takes_leaves_the_guest(host, console, removed, tmp_path, form):
    backend, frontend, how, text = TAKEN[form]
    host.run(f'truncate -s 16M {IMAGES}/taken.raw && qemu-img create -q -f qcow2 {IMAGES}/taken.qcow2 16M')
    device = tmp_path / 'taken.xml'
    device.write_text(text)
    domid = host.virsh('domid devices').strip()
    there = '"$(ls -d /dev/xvdg /sys/class/net/eth1 2>/dev/null)"'
    xml, held = host.virsh('dumpxml devices'), None
    for taken in (False, True):
        host.virsh(f'attach-device devices {device} --live', timeout=600)
        console.run(f'for i in $(seq 60); do [ {there} ] && exit 0; sleep 1; done; exit 1', 600)
        if taken:
            number = host.run(f'xenstore-list /local/domain/0/backend/{backend}/{domid}').split()[-1]
            # Xen's own tool leaves alone what it has not attached.
            xl = f'xl {"network" if form == "nic" else "block"}-detach devices {number}'
            assert host.run(xl, check=False)[0]
            host.run(how.format(back=f'/local/domain/0/backend/{backend}/{domid}/{number}',
                                front=f'/local/domain/{domid}/device/{frontend}/{number}'), timeout=600)
        else:
            host.virsh(f'detach-device devices {device} --live', timeout=600)
        limit = time.monotonic() + 120
        while (host.virsh('dumpxml devices') != xml or len(removed) <= taken or
               (held and leftovers(host) != held)):
            assert time.monotonic() < limit, (removed, held, leftovers(host), host.virsh('dumpxml devices'))
            time.sleep(2)
        held = leftovers(host)
        console.run(f'for i in $(seq 60); do [ {there} ] || exit 0; sleep 1; done; exit 1', 600)
        # The images are locked no more.
        for image in 'raw', 'qcow2':
            host.run(f'qemu-io -f {image} -c "write 0 512" {IMAGES}/taken.{image}')
    assert [name for name, _ in removed] == 2 * ['devices'] and len(set(removed)) == 1, removed
    host.run(f'rm -f {IMAGES}/taken.*')


def test_a_block_device_belongs_to_one_guest(host, tmp_path):
    host.run(f'cd {IMAGES} && truncate -s 16M lv0 lv1')
    nodes = [host.run(f'losetup -f --show {IMAGES}/lv{i}').strip() for i in range(2)]
    host.run(f'qemu-img create -q -f qcow2 {nodes[1]} 8M')
    disks = {}
    for i, form in (0, 'raw'), (1, 'qcow2'), (0, 'qcow2'), (1, 'raw'):
        disks[i, form] = tmp_path / f'{form}-{i}.xml'
        disks[i, form].write_text(f"<disk type='block'><driver name='qemu' type='{form}'/>"
                                  f"<source dev='{nodes[i]}'/><target dev='xvd{'hi'[i]}' bus='xen'/></disk>")
    mine = disks[0, 'raw'], disks[1, 'qcow2']
    other = tmp_path / 'other.xml'
    other.write_text(renamed(re.sub(r'<disk .*?</disk>', '', GUEST, flags=re.S), 'other', '5a'))
    host.virsh(['create', str(other), '--paused'], timeout=600)
    for disk in mine:
        host.virsh(f'attach-device devices {disk} --live', timeout=600)
    # Whoever serves it here, and whoever would there.
    for disk in disks.values():
        status, said = host.virsh(f'attach-device other {disk} --live', timeout=600, check=False)
        assert status and 'in use by' in said, said
    for disk in mine:
        host.virsh(f'detach-device devices {disk} --live', timeout=600)
        host.virsh(f'attach-device other {disk} --live', timeout=600)
    host.virsh('destroy other')
    assert not re.search(r'/serai/block/\S', host.run('xenstore-ls -f'))
    host.run(f'losetup -d {" ".join(nodes)} && rm {IMAGES}/lv0 {IMAGES}/lv1')


def wait_for_medium(console, word):
    console.wait_for('echo 3 > /proc/sys/vm/drop_caches; head -c 13 /dev/xvdc 2>/dev/null '
                     f'| grep -q "^{word} medium"')


def test_a_cd_rom_changes_its_medium(host, console):
    assert 'first medium' in console.run('head -c 12 /dev/xvdc')
    assert console.run('dd if=/dev/zero of=/dev/xvdc count=1 2>/dev/null && exit 1; exit 0') is not None
    host.virsh(f'change-media devices xvdc {IMAGES}/second.iso --live', timeout=600)
    wait_for_medium(console, 'second')
    assert 'second.iso' in host.virsh('domblklist devices')
    host.virsh('change-media devices xvdc --eject --live', timeout=600)
    assert re.search(r'xvdc +-', host.virsh('domblklist devices'))
    host.virsh(f'change-media devices xvdc {IMAGES}/first.iso --insert --live', timeout=600)
    wait_for_medium(console, 'first')


def test_a_second_console_is_another_one(host, console):
    # hvc1 is the guest's device for it; what is written there must not be seen on the first.
    console.run('[ -c /dev/hvc1 ]')
    console.run('stty -F /dev/hvc1 raw -echo; '
                '(read -r line < /dev/hvc1; echo "heard $line" > /dev/hvc1) > /dev/null 2>&1 &')
    said = console.run('echo said on the second | tr a-z A-Z > /dev/hvc1')
    second = Console(host, 'devices', 'console1')
    try:
        second.expect('SAID ON THE SECOND', 120)
        os.write(second.terminal, b'a word\n')
        second.expect('heard a word', 120)
    finally:
        second.close()
    assert 'SAID' not in said


def kill_consoled(host):
    host.run('systemctl kill -s KILL serai-consoled; systemctl reset-failed serai-consoled; '
             'systemctl start serai-consoled')


def test_the_console_daemon_is_killed_and_no_byte_is_lost(host, console):
    os.write(console.terminal, f'i=0; while [ $i -lt {LINES} ]; do i=$((i + 1)); '
             'echo "line $i of the guest"; done; echo all-were-said\n'.encode())
    for _ in range(5):
        time.sleep(1)
        kill_consoled(host)
    host.run(f'for i in $(seq 600); do grep -q "^all-were-said" {LOG} && exit 0; sleep 1; done; exit 1',
             timeout=900)
    text = host.run(f'cat {LOG}').replace('\r', '')
    numbers = [int(n) for n in re.findall(r'^line (\d+) of the guest$', text, re.M)]
    assert numbers == list(range(1, LINES + 1)), f'{len(numbers)} lines, the first wrong one after ' \
        f'{next((a for a, b in zip(numbers, range(1, LINES + 1)) if a != b), "the end")}'


def test_a_flood_is_bounded_and_the_log_rotates(host):
    terminal = Console(host, 'devices')
    try:
        os.write(terminal.terminal, f'dd if=/dev/zero bs=64k count={FLOOD_MIB * 16} 2>/dev/null | '
                 'tr "\\0" x; echo; echo flood-has-ended\n'.encode())
        # Two consoles are not enough for a flood to keep others waiting: virsh answers all the while.
        for _ in range(3):
            assert 'running' in host.virsh('domstate devices')
    finally:
        terminal.close()
    host.run(f'for i in $(seq 1500); do tail -c 4000 {LOG} | grep -q "^flood-has-ended" && exit 0; sleep 1; '
             'done; exit 1', timeout=1800)
    sizes = {n: int(s) for s, n in map(str.split, host.run(f'stat -c "%s %n" {LOG}*').splitlines())}
    assert f'{LOG}.2' in sizes and f'{LOG}.4' not in sizes, sizes
    assert all(s <= (2 << 20) + 4096 for s in sizes.values()), sizes
    assert sum(sizes.values()) >= FLOOD_MIB << 20, sizes


def test_it_leaves_nothing(host, before):
    host.virsh('destroy devices')
    host.run(f'rm -f {LOG}*')
    limit = time.monotonic() + 120
    while leftovers(host) - before:
        assert time.monotonic() < limit, f'left behind: {sorted(leftovers(host) - before)}'
        time.sleep(2)
