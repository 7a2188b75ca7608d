# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Debian packages: they build from this tree, lintian is content, each holds what it should."""

import pathlib
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
HOLDS = {
    'serai-hypervisor': ['./boot/serai.gz', './etc/grub.d/20_linux_serai', './usr/lib/debug/boot/serai',
                         './usr/share/man/man7/serai.7.gz'],
    'libserai-1.0-0': ['./usr/lib/x86_64-linux-gnu/libserai-1.0.so.0'],
    'libserai-dev': ['./usr/lib/x86_64-linux-gnu/pkgconfig/serai-1.0.pc', './usr/include/serai-1.0/serai.h'],
    'gir1.2-serai-1.0': ['./usr/lib/x86_64-linux-gnu/girepository-1.0/Serai-1.0.typelib'],
    'serai-daemons': ['./usr/sbin/serai-xenstored', './usr/sbin/serai-consoled',
                      './lib/systemd/system/serai-xenstored.service',
                      './usr/share/man/man8/serai-xenstored.8.gz',
                      './usr/share/man/man8/serai-consoled.8.gz'],
    'libvirt-daemon-driver-serai': [
        './usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_libxl.so',
        './usr/share/man/man7/serai-libvirt.7.gz'],
}


@pytest.mark.parametrize('package', HOLDS)
def test_package_holds_what_it_should(debs, package):
    listing = subprocess.run(['dpkg-deb', '-c', debs[package]], capture_output=True, text=True,
                             check=True).stdout
    names = {line.split()[5] for line in listing.splitlines()}
    assert not [wanted for wanted in HOLDS[package] if wanted not in names]


def test_driver_takes_the_place_of_debians(debs):
    fields = subprocess.run(['dpkg-deb', '-f', debs['libvirt-daemon-driver-serai']],
                            capture_output=True, text=True, check=True).stdout
    for field in ('Provides', 'Conflicts', 'Replaces'):
        assert f'{field}: libvirt-daemon-driver-xen' in fields


def test_lintian_is_content(debs):
    changes = list((TOP / 'build/debs').glob('*.changes'))
    assert len(changes) == 1
    result = subprocess.run(['lintian', '--allow-root', '--tag-display-limit', '0', '--pedantic', '--fail-on',
                             'error,warning,info,pedantic', changes[0]], capture_output=True, text=True,
                            stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stdout + result.stderr
