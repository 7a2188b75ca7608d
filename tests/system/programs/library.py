#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains made and changed by libserai alone, in dom0; test_library.py runs it.

    library.py create COUNT         domains f0 and so on, paused, each with a raw disk and a bridged NIC
    library.py share NUMBER OTHER   domain f and NUMBER with the disk of domain f and OTHER
    library.py destroy COUNT
    library.py id NAME
    library.py nic NAME link_down=1 rate_kib=1000
    library.py save NAME FILE       and let it go on
"""

import sys

import gi

gi.require_version('Serai', '1.0')
from gi.repository import Serai                                         # noqa: E402

IMAGES = '/var/lib/libvirt/images'
DOMAIN = '''[domain]
type=0
name=f{number}
uuid=6f1c9c5e-0000-4000-8000-0000000001{number:02d}
kernel={images}/guest-kernel
cmdline=console=hvc0
max_memory_kib=81920
max_vcpus=1
vcpus=1
[device 0]
kind=0
devid=-1
disk.target=xvda
disk.path={images}/f{image}.img
[device 1]
kind=1
devid=-1
nic.mac=00:16:3e:00:01:{number:02d}
nic.attach=1
nic.bridge=br0
nic.trusted=1
[device 2]
kind=2
devid=0
'''


def make(host, number, image):
    config = Serai.Config.from_data(DOMAIN.format(number=number, image=image, images=IMAGES))
    print('created', Serai.Domain.create_sync(host, config, None, None).get_id())


def create(host, count):
    for number in range(int(count)):
        with open(f'{IMAGES}/f{number}.img', 'wb') as image:
            image.truncate(16 << 20)
        make(host, number, number)


def share(host, number, other):
    make(host, int(number), int(other))


def destroy(host, count):
    for number in range(int(count)):
        host.lookup_by_name(f'f{number}').destroy_sync(None)


def domid(host, name):
    print(host.lookup_by_name(name).get_id())


def nic(host, name, *changes):
    domain = host.lookup_by_name(name)
    device = next(d for d in domain.list_devices() if d.kind == Serai.DeviceKind.NIC)
    for change in changes:
        key, value = change.split('=')
        setattr(device.nic, key, int(value))
    domain.update_device_sync(device, None)


def save(host, name, path):
    with open(path, 'wb') as image:
        host.lookup_by_name(name).save_sync(image.fileno(), None, Serai.SaveFlags.KEEP_RUNNING, None, None)


if __name__ == '__main__':
    commands = {'create': create, 'share': share, 'destroy': destroy, 'id': domid, 'nic': nic, 'save': save}
    commands[sys.argv[1]](Serai.Host.open(None), *sys.argv[2:])
