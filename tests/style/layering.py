#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may include whom: in the hypervisor no layer includes a higher one, and no component another's insides."""

import re

import tap

# From the bottom up; what shares a rank is unknown to each other (docs: the layers of hv/README.rst).
RANKS = {'abi': 0, 'base': 0, 'x86': 1, 'mm': 2, 'domain': 3, 'pv': 4, 'hvm': 4, 'hypercall': 5, 'boot': 6}
# abi and base stand below all and may see each other.
SIBLINGS = {('pv', 'hvm'), ('hvm', 'pv')}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)
# What a folder outside hv/ may name in quotes besides its own files.
OUTSIDE = {
    'xenstore': (),
    'libxl': ('private/',),
    'libvirt-driver': None,     # its own and libvirt's private headers, which have no folder
}
SYSTEM_IN_HV = ('xen/', 'stdint.h', 'stddef.h', 'stdbool.h', 'stdarg.h', 'limits.h', 'stdalign.h',
                'stdnoreturn.h', 'assert.h', 'cpuid.h', 'float.h', 'elf.h')


KNOWN = {tuple(line.split()) for line in (tap.TOP / 'tests/style/layering-known').read_text().splitlines()
         if line and not line.startswith('#')}


def includes(path):
    text = path.read_text(errors='replace')
    for match in INCLUDE.finditer(text):
        yield text.count('\n', 0, match.start()) + 1, match.group(1), match.group(2)


def hypervisor():
    upward, spelled, foreign = [], [], []
    for path in tap.files('.c', '.h', '.S', under=('hv/',)):
        parts = path.relative_to(tap.TOP / 'hv').parts
        layer = parts[0] if len(parts) > 1 else None
        for line, quote, name in includes(path):
            where = f'{tap.relative(path)}:{line}: includes {name}'
            if quote == '<':
                # The decompressors' own headers are the only others, and only where kernels are unpacked.
                if not name.startswith(SYSTEM_IN_HV) and layer != 'boot':
                    foreign.append(where)
                continue
            target = name.split('/')[0]
            if target not in RANKS or not (tap.TOP / 'hv' / name).exists():
                spelled.append(where + ', which is not written from hv/')
            elif layer in RANKS and (RANKS[target] > RANKS[layer] or (layer, target) in SIBLINGS):
                if name != 'x86/upcalls.h' and (tap.relative(path), name) not in KNOWN:
                    upward.append(where)
    tap.result('hv_lower_layers_do_not_include_higher_ones', upward)
    tap.result('hv_includes_are_written_from_hv', spelled)
    tap.result('hv_includes_no_host_headers', foreign)


def components():
    crossing = []
    for folder, allowed in OUTSIDE.items():
        for path in tap.files('.c', '.h', under=(folder + '/',)):
            for line, quote, name in includes(path):
                where = f'{tap.relative(path)}:{line}: includes {name}'
                if name.startswith('../') or name.split('/')[0] in RANKS and quote == '"':
                    crossing.append(where)
                elif quote == '"' and allowed is not None:
                    if not (path.parent / name).exists() and not (tap.TOP / folder / name).exists() \
                            and not name.startswith(allowed):
                        crossing.append(where)
    tap.result('components_do_not_include_each_other', crossing)


hypervisor()
components()
tap.done()
