#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boots that must be refused, as TAP: one sentence that says what to do, then a reboot or a halt.

Usage: refused.py HYPERVISOR KERNEL [CASE...].  From KERNEL, a test kernel, the broken modules are made.
"""

import concurrent.futures
import lzma
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def bzimage(payload, magic=b'HdrS', version=0x20f):
    """The parts of the Linux boot protocol that lead to a packed payload."""
    head = bytearray(5 * 512)
    head[0x1f1] = 4
    struct.pack_into('<4sH', head, 0x202, magic, version)
    struct.pack_into('<II', head, 0x248, 0, len(payload))
    return bytes(head) + payload


def packed(elf):
    """As Linux packs itself: XZ for x86, and the size after it."""
    filters = [{'id': lzma.FILTER_X86}, {'id': lzma.FILTER_LZMA2, 'preset': 1}]
    return lzma.compress(elf, check=lzma.CHECK_CRC32, filters=filters) + struct.pack('<I', len(elf))


def flipped(data, at):
    return data[:at] + bytes(b ^ 0x55 for b in data[at:at + 64]) + data[at + 64:]


def cases(kernel, directory):
    """(name, module or None, what the console must say, more words for run.py)"""
    elf = pathlib.Path(kernel).read_bytes()
    plain = elf.replace(b'Xen\0', b'Nex\0')       # the name of each note
    xz = packed(elf)
    return [
        ('no-module', None, 'add a module2 line with the kernel', []),
        ('empty-module', b'', 'add a module2 line with the kernel', []),
        ('text-file', b'not a kernel\n' * 100, 'not a Linux kernel (bzImage) and not an ELF file', []),
        ('xz-cut-short', bzimage(xz)[:-len(xz) // 2], 'cut short or broken: install it again', []),
        ('xz-cut-short-inside', bzimage(xz[:len(xz) // 2] + xz[-4:]), 'install it again', []),
        ('xz-that-says-800-MiB', bzimage(xz[:-4] + struct.pack('<I', 800 << 20)),
         'install the kernel again', []),
        ('xz-with-flipped-bytes', bzimage(flipped(xz, len(xz) // 2)), 'install it again', []),
        ('unknown-packing', bzimage(b'BZh9' + xz), 'use xz, gzip, zstd, lz4 or none', []),
        ('old-boot-protocol', bzimage(xz, version=0x207), 'too old', []),
        ('not-a-pv-kernel', plain, 'CONFIG_XEN_PV', []),
        ('not-a-pv-kernel-packed', bzimage(packed(plain)), 'CONFIG_XEN_PV', []),
        ('elf-cut-short', elf[:4096 + 512], 'install it again', []),
        ('elf-header-only', elf[:64], 'install it again', []),
        ('too-little-memory', elf, 'give the machine more memory', ['--memory', '8']),
        ('dom0-mem-too-small', elf, 'give dom0 more with dom0_mem=', ['--options', 'dom0_mem=64K']),
        ('dom0-mem-too-large', elf, 'starting Domain-0', ['--options', 'dom0_mem=64G']),
    ]


def boot(hypervisor, directory, name, module, text, more):
    """One boot; by turns it must end in a halt and in a reset."""
    path = '-'
    if module is not None:
        path = directory / name
        path.write_bytes(module)
    ends = [] if text.startswith('starting') else ['--ends', 'halt' if len(name) % 2 else 'reset']
    words = [name, hypervisor, path, '--expect', text, *ends, *more]
    return subprocess.run([sys.executable, HERE / 'run.py', *words], capture_output=True, text=True)


def main():
    hypervisor, kernel, wanted = sys.argv[1], sys.argv[2], sys.argv[3:]
    failed = 0
    with tempfile.TemporaryDirectory(prefix='serai-refused-') as name:
        directory = pathlib.Path(name)
        chosen = [c for c in cases(kernel, directory) if not wanted or c[0] in wanted]
        print(f'1..{len(chosen)}', flush=True)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda case: boot(hypervisor, directory, *case), chosen)
            for number, (case, result) in enumerate(zip(chosen, results), 1):
                ok = result.returncode == 0
                failed += not ok
                print(f'{"ok" if ok else "not ok"} {number} - {case[0]}', flush=True)
                if not ok:
                    lines = result.stdout.splitlines()[-12:] + result.stderr.splitlines()[-5:]
                    print('\n'.join('# ' + line for line in lines), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
