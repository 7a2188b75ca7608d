# SPDX-License-Identifier: LGPL-2.1-or-later
"""The packages on a Debian that knew nothing of them: installed, upgraded, a kernel more and less, purged.

Most is shown in a chroot, in seconds.  What needs the machine is shown on it, once, by the tests marked
`booted`: from Debian without hypervisor, by way of a reboot, to Domain-0, and back.
"""

import os
import pathlib
import re
import subprocess
import time

import pytest

import fresh
import host as hosts

TOP = pathlib.Path(__file__).resolve().parents[2]
OURS = ['serai-hypervisor', 'serai-daemons', 'libvirt-daemon-driver-serai', 'libserai-1.0-0',
        'gir1.2-serai-1.0']
PURGE = f'apt-get purge -y --autoremove {" ".join(OURS)} 2>&1'
PACKAGES = "dpkg-query -W -f '${binary:Package} ${Version} ${Status}\\n'"

MAY = os.geteuid() == 0 and subprocess.run(['unshare', '--mount', 'chroot', '/', 'true'],
                                           capture_output=True).returncode == 0
pytestmark = pytest.mark.skipif(not MAY, reason='making a system in a chroot needs root with mounts of its own')


@pytest.fixture(scope='session')
def to_install(request):
    """The packages of a host; a directory of packages made before may be named, as for the system tests."""
    if os.environ.get('SERAI_DEBS'):
        debs = {p.name.split('_')[0]: p for p in hosts.packages()}
    else:
        debs = request.getfixturevalue('debs')
    return [debs[name] for name in OURS]


@pytest.fixture(scope='module')
def story(to_install):
    """Everything that happens in the chroot, in order, with what was seen between the steps."""
    seen = {}
    with fresh.Chroot() as system:
        def look(when):
            seen[when] = {'menu': menu(system), 'files': system.files(), 'packages': system.run(PACKAGES),
                          'units': system.run('systemctl list-unit-files --no-legend')}
        look('before')
        seen['install'] = system.install(to_install)
        look('installed')
        add_kernel(system, '9.9.9-test', 'CONFIG_XEN_DOM0=y')
        add_kernel(system, '9.9.9-nodom0', '# CONFIG_XEN_DOM0 is not set')
        look('more kernels')
        for version in ('9.9.9-test', '9.9.9-nodom0'):
            system.run(f'dpkg -P linux-image-{version} 2>&1')
        look('fewer kernels')
        renewed_without_grub_s_hooks(system, seen, look)
        seen['upgrade'] = system.install(to_install)
        look('upgraded')
        seen['purge'] = system.run(PURGE)
        look('purged')
    return seen


def renewed_without_grub_s_hooks(system, seen, look):
    """Kernels come and go where GRUB lacks its own hooks, so that ours has to renew the menu."""
    hooks = [system.root / f'etc/kernel/{kind}.d/zz-update-grub' for kind in ('postinst', 'postrm')]
    words = system.root / 'etc/default/grub.d/test.cfg'
    words.write_text('GRUB_CMDLINE_SERAI="in-every-entry"\nGRUB_CMDLINE_SERAI_DEFAULT="not-to-recover"\n')
    for hook in hooks:
        hook.rename(system.root / 'root' / f'{hook.parent.name}-zz-update-grub')
    add_kernel(system, '9.9.8-test', 'CONFIG_XEN_DOM0=y')
    look('a kernel by our hook')
    words.unlink()
    system.run('dpkg -P linux-image-9.9.8-test 2>&1')
    look('no kernel by our hook')
    for hook in hooks:
        (system.root / 'root' / f'{hook.parent.name}-zz-update-grub').rename(hook)


def menu(system):
    return (system.root / 'boot/grub/grub.cfg').read_text()


def add_kernel(system, version, config):
    """A package that does what Debian's kernel packages do, around a copy of the kernel that is there."""
    build = system.root / 'root' / f'linux-image-{version}'
    (build / 'DEBIAN').mkdir(parents=True)
    (build / 'boot').mkdir()
    kernel = next((system.root / 'boot').glob('vmlinuz-*'))
    os.link(kernel, build / f'boot/vmlinuz-{version}')
    (build / f'boot/config-{version}').write_text(config + '\n')
    (build / 'DEBIAN/control').write_text(f'Package: linux-image-{version}\nVersion: 1\nArchitecture: amd64\n'
                                          'Maintainer: Test <test@test.invalid>\nDescription: a kernel\n')
    for script, hooks in (('postinst', 'postinst.d'), ('postrm', 'postrm.d')):
        path = build / 'DEBIAN' / script
        path.write_text(f'#!/bin/sh\nset -e\n[ "$1" = configure ] || [ "$1" = remove ] || exit 0\n'
                        f'export DEB_MAINT_PARAMS="$*"\n'
                        f'run-parts --report --exit-on-error --arg={version} --arg=/boot/vmlinuz-{version} '
                        f'/etc/kernel/{hooks}\n')
        path.chmod(0o755)
    # Its initial ramdisk is not what is tried here, and takes long to make.
    system.run(f'cd /root && dpkg-deb -b linux-image-{version} && '
               f'INITRD=No dpkg -i linux-image-{version}.deb 2>&1')


def test_apt_installs_them_without_complaint(story):
    assert not re.findall(r'^(?:E|W): .*|dpkg: (?:error|warning).*', story['install'], re.M)


def test_menu_gets_an_entry_that_boots_by_itself(story):
    assert 'serai' not in story['before']['menu']
    entries = re.findall(r"^menuentry '.*' .*\$menuentry_id_option '(\S+)'", story['installed']['menu'], re.M)
    assert 'serai' in entries
    assert re.search(r'^\s*set default="serai"$', story['installed']['menu'], re.M)


def test_a_kernel_that_can_be_dom0_gets_an_entry(story):
    assert '/boot/vmlinuz-9.9.9-test ' in hypervisor_modules(story['more kernels']['menu'])


def test_a_kernel_that_cannot_be_dom0_gets_none(story):
    assert '/boot/vmlinuz-9.9.9-nodom0 ' not in hypervisor_modules(story['more kernels']['menu'])


def test_a_removed_kernel_leaves_the_menu(story):
    assert '9.9.9' not in story['fewer kernels']['menu']
    assert story['fewer kernels']['menu'] == story['installed']['menu']


def test_our_hook_renews_the_menu_where_grub_has_none(story):
    assert '/boot/vmlinuz-9.9.8-test ' in hypervisor_modules(story['a kernel by our hook']['menu'])
    assert story['no kernel by our hook']['menu'] == story['installed']['menu']


def test_recovery_entries_lack_the_words_for_the_usual_ones(story):
    entry = r"^\s*menuentry '.*\$menuentry_id_option '(serai-\S+)' \{\n(?:.*\n)*?\s*multiboot2\s+(.*)"
    given = dict(re.findall(entry, story['a kernel by our hook']['menu'], re.M))
    usual, recovery = ([words.split() for name, words in given.items() if f'-{kind}-' in name]
                       for kind in ('advanced', 'recovery'))
    assert len(usual) == len(recovery) == 2     # of the kernel that was there and of the one that came
    assert all('in-every-entry' in words and 'not-to-recover' in words for words in usual)
    assert all('in-every-entry' in words and 'not-to-recover' not in words for words in recovery)


def hypervisor_modules(text):
    return '\n'.join(re.findall(r'^\s*module2\s+(?!--)(.*)$', text, re.M))


def test_an_upgrade_changes_nothing(story):
    assert changes(story['upgraded']['files'], story['installed']['files']) == []
    assert story['upgraded']['units'] == story['installed']['units']


def test_purging_gives_back_the_menu(story):
    assert story['purged']['menu'] == story['before']['menu']


def test_purging_gives_back_the_packages(story):
    assert story['purged']['packages'] == story['before']['packages']


def test_purging_gives_back_the_units(story):
    assert story['purged']['units'] == story['before']['units']


def test_purging_gives_back_every_file(story):
    assert changes(story['purged']['files'], story['before']['files']) == []


def changes(now, then):
    return sorted([f'more: {n}' for n in now if n not in then] +
                  [f'less: {n}' for n in then if n not in now] +
                  [f'other: {n}' for n in now if n in then and now[n] != then[n]])


# On the machine.

APART = ['/proc', '/sys', '/dev', '/run', '/tmp', '/root', '/var/cache', '/var/log', '/var/tmp',
         '/var/lib/apt', '/var/lib/dpkg', '/var/lib/systemd/timers', '/var/lib/systemd/random-seed']
FILES = ('find / -xdev \\( -path ' + ' -o -path '.join(APART) + ' \\) -prune -o '
         "-not -type d -printf '%p %M %l\\n' | sort")
UNITS = "systemctl list-unit-files --no-legend | sort; systemctl --failed --plain --no-legend"


@pytest.fixture(scope='module')
def machine(to_install, tmp_path_factory):
    """The machine that the tests below take along one after the other, in their order."""
    out = tmp_path_factory.mktemp('fresh')
    fresh.disk(out)
    log = TOP / 'build/system-logs/install.log'
    with hosts.Host('bare', image=out, reboots=True, memory=2048, log=log) as h:
        yield h


def reboot(host, kind):
    host.disconnect()
    host.run('sync; systemctl --no-block reboot', check=False)
    subprocess.run([str(host.ssh), '-O', 'exit', 'serai-host'], stdin=subprocess.DEVNULL, capture_output=True)
    host.kind = kind
    host.boot(timeout=3000)


def state(host):
    return {what: host.run(command, timeout=1500)
            for what, command in (('files', FILES), ('units', UNITS), ('packages', PACKAGES),
                                  ('menu', 'cat /boot/grub/grub.cfg'))}


@pytest.mark.booted
def test_installed_on_a_running_debian(machine, to_install):
    machine.boot(timeout=3000)
    machine.before = state(machine)
    machine.run('mkdir /root/debs')
    for deb in to_install:
        machine.put(deb, f'/root/debs/{deb.name}')
    machine.run(f'DEBIAN_FRONTEND=noninteractive {fresh.INSTALL} /root/debs/*.deb 2>&1', timeout=3000)
    assert machine.run('systemctl --failed --plain --no-legend') == ''
    # Debian's libvirtd ends when nobody needs it; with our driver and no hypervisor it must still start.
    assert machine.run('systemctl start libvirtd && systemctl is-active libvirtd').strip() == 'active'


@pytest.mark.booted
def test_after_a_reboot_virsh_lists_domain_0(machine):
    reboot(machine, 'serai')
    assert machine.run('cat /sys/hypervisor/type').strip() == 'xen'
    assert re.search(r'^\s*0\s+Domain-0\s+running', machine.run('virsh list', timeout=900), re.M)
    assert machine.run('systemctl --failed --plain --no-legend') == ''


@pytest.mark.booted
def test_a_guest_goes_on_while_the_packages_are_upgraded(machine):
    machine.put(TOP / 'examples/guest.xml', '/root/guest.xml')
    machine.run('virsh create /root/guest.xml', timeout=900)
    number = machine.run('virsh domid guest').strip()
    daemons = machine.run('pidof serai-xenstored; pidof serai-consoled; pidof libvirtd || true')
    machine.run(f'DEBIAN_FRONTEND=noninteractive {fresh.INSTALL} --reinstall /root/debs/*.deb 2>&1',
                timeout=3000)
    assert machine.run('systemctl --failed --plain --no-legend') == ''
    after = machine.run('pidof serai-xenstored; pidof serai-consoled; pidof libvirtd || true')
    assert not set(daemons.split()) & set(after.split()), 'a daemon was not restarted'
    assert machine.run('virsh domid guest', timeout=900).strip() == number
    # It still answers: the store and the console know it, and it powers off when it is asked to.
    machine.run('virsh shutdown guest', timeout=900)
    limit = time.monotonic() + 900
    while 'guest' in machine.run('virsh list --name', timeout=900).split():
        if time.monotonic() > limit:
            raise AssertionError('the guest does not hear that it is to shut down')
        time.sleep(2)


@pytest.mark.booted
def test_purged_the_machine_is_as_it_was(machine):
    machine.run(f'DEBIAN_FRONTEND=noninteractive {PURGE}', timeout=3000)
    reboot(machine, 'bare')
    assert machine.run('cat /sys/hypervisor/type 2>/dev/null || echo none').strip() == 'none'
    after = state(machine)
    for what in ('menu', 'packages', 'units'):
        assert after[what] == machine.before[what]
    assert sorted(set(after['files'].splitlines()) ^ set(machine.before['files'].splitlines())) == []
