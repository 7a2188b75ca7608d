# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's kernel, taken apart: the image, its modules, and initramfs archives for it."""

import lzma
import os
import pathlib
import re
import shutil
import stat
import struct
import zlib

import cache


def kernel_package():
    """The name of the kernel package behind linux-image-amd64."""
    text = cache.run(['apt-cache', 'depends', 'linux-image-amd64'])
    for word in text.split():
        if word.startswith('linux-image-') and word != 'linux-image-amd64':
            return word
    raise RuntimeError('linux-image-amd64 depends on no kernel')


class Kernel:
    """Debian's kernel for amd64: .bzimage, .elf (the same, unpacked once), .modules()."""

    def __init__(self):
        package = kernel_package()
        self.version = package.removeprefix('linux-image-')
        tree = cache.unpacked([package])
        self.bzimage = tree / 'boot' / f'vmlinuz-{self.version}'
        self.elf = cache.entry(f'vmlinux-{self.version}-{cache.digest(self.bzimage)}',
                               lambda part: part.write_bytes(payload(self.bzimage.read_bytes())))
        self._modules = {_plain(p.name): p for p in (tree / 'lib/modules' / self.version).rglob('*.ko')}

    def modules(self, names):
        """The module files of NAMES and of what they need, in the order in which they can be loaded."""
        order = []

        def add(name):
            path = self._modules[_plain(name)]
            if path in order:
                return
            # Each module says itself what it needs, in its .modinfo section.
            needs = re.search(rb'\0depends=([^\0]*)\0', path.read_bytes())
            for other in filter(None, needs.group(1).decode().split(',')):
                add(other)
            order.append(path)

        for name in names:
            add(name)
        return order


def _plain(name):
    """A module's name as the kernel spells it."""
    return name.removesuffix('.ko').replace('-', '_')


def payload(image):
    """The ELF file that a bzImage carries (the boot protocol's payload_offset and payload_length)."""
    if image[0x202:0x206] != b'HdrS':
        raise ValueError('not a bzImage')
    setup = (image[0x1f1] or 4) + 1
    offset, length = struct.unpack_from('<II', image, 0x248)
    data = image[setup * 512 + offset:][:length]
    if data[:6] == b'\xfd7zXZ\0':
        return lzma.LZMADecompressor().decompress(data)
    if data[:2] == b'\x1f\x8b':
        return zlib.decompressobj(31).decompress(data)
    return cache.run(['zstd', '-dc'], input=data, text=False)


class Initramfs:
    """Collects files and writes them as a cpio archive in the "newc" form, without touching a disk."""

    def __init__(self):
        self._files = {}

    def directory(self, path, mode=0o755):
        path = path.strip('/')
        if path and path not in self._files:
            self.directory(os.path.dirname(path))
            self._files[path] = (stat.S_IFDIR | mode, b'', 0)

    def file(self, path, data, mode=0o644):
        """DATA is text, bytes or the path of a file whose mode is kept too."""
        if isinstance(data, pathlib.Path):
            mode = stat.S_IMODE(data.stat().st_mode)
            data = data.read_bytes()
        self.directory(os.path.dirname(path))
        self._files[path.strip('/')] = (stat.S_IFREG | mode, data.encode() if isinstance(data, str) else data, 0)

    def link(self, path, target):
        self.directory(os.path.dirname(path))
        self._files[path.strip('/')] = (stat.S_IFLNK | 0o777, target.encode(), 0)

    def device(self, path, major, minor, mode=0o600):
        self.directory(os.path.dirname(path))
        self._files[path.strip('/')] = (stat.S_IFCHR | mode, b'', (major, minor))

    def program(self, path, source, libraries=()):
        """An executable and the shared libraries it needs, looked for in LIBRARIES first."""
        self.file(path, pathlib.Path(source).read_bytes(), 0o755)
        for name, library in needed(source, libraries).items():
            if name not in self._files:
                self.file(name, library.read_bytes(), 0o755)

    def write(self, path):
        with open(path, 'wb') as f:
            f.write(self.archive())

    def archive(self):
        out = bytearray()
        for inode, (name, (mode, data, device)) in enumerate([*self._files.items(), ('TRAILER!!!', (0, b'', 0))]):
            major, minor = device or (0, 0)
            encoded = name.encode() + b'\0'
            fields = (inode + 1, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(encoded), 0)
            out += b'070701' + b''.join(b'%08X' % f for f in fields) + encoded
            out += bytes(-len(out) % 4) + data
            out += bytes(-len(out) % 4)
        return bytes(out)


def needed(program, libraries=()):
    """The shared libraries and the loader of PROGRAM: a dict from the path inside to the file here."""
    with open(program, 'rb') as f:
        if f.read(4) != b'\x7fELF':
            return {}
    env = {**os.environ, 'LD_LIBRARY_PATH': ':'.join(str(p) for p in libraries), 'LC_ALL': 'C'}
    found = {}
    for line in cache.run(['ldd', program], env=env).splitlines():
        words = line.split()
        if 'not found' in line:
            raise RuntimeError(f'{program} needs {words[0]}, which is not here')
        if '=>' in words and words[2].startswith('/'):
            found['lib/x86_64-linux-gnu/' + words[0]] = pathlib.Path(words[2])
        elif words and words[0].startswith('/'):
            found[words[0].strip('/')] = pathlib.Path(words[0])
    return found


def busybox():
    """A statically linked busybox."""
    return cache.unpacked(['busybox-static']) / 'bin/busybox'


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
