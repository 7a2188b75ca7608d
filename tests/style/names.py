#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the documents name still exists: files, functions as file:function, and tiers of scripts/check."""

import re
import sys

import tap

sys.path.insert(0, str(tap.TOP / 'tests'))
import check                                                            # noqa: E402

# ``hv/boot/main.c`` or ``domain/evtchn.c:evtchn_send``: in double backquotes, or bare in a literal block.
NAMED = re.compile(r'(?<![\w/.*<-])((?:[\w.-]+/)+[\w.-]+\.(?:c|h|S|py|sh|rst|xml|build|service|yml|conf|in)\b|'
                   r'(?:scripts|tests|examples|docs)/[\w./-]*[\w])(?::([A-Za-z_]\w*))?')
ROOTS = ('', 'hv', 'libxl', 'docs', 'tests')
COMPONENTS = ('hv', 'xenstore', 'libxl', 'libvirt-driver')
URL = re.compile(r'[a-z][a-z0-9+.-]*://[^\s`>]*')
# ``scripts/check dom0 --quick``, and the tier ``dom0`` or the tiers ``dom0``, ``xl`` and ``load``.
CALLED = re.compile(r'\bscripts/check((?: +[\w-]+)+)')
TIERS = re.compile(r'\btiers?\s+((?:``[\w-]+``(?:,?\s+(?:and|or)\s+|,\s+)?)+)')
# Paths on the machine of a reader, not in the tree.
ELSEWHERE = ('etc/', 'usr/', 'var/', 'dev/', 'proc/', 'sys/', 'run/', 'boot/grub', 'build/', 'xen/', 'sys/')


def resolve(document, name):
    for root in (document.parent, *(tap.TOP / r for r in ROOTS)):
        if (root / name).exists():
            return root / name
    return None


def lost_tiers(text):
    """(where in TEXT, the word) of each that is no tier or option of scripts/check."""
    known = {*check.NORMAL, *check.BY_NAME, '--quick', '--help'}
    for match in [*CALLED.finditer(text), *TIERS.finditer(text)]:
        for word in re.findall(r'[\w-]+', match[1]):
            if word not in known and word not in ('and', 'or'):
                yield match.start(), word


def main():
    lost_files, lost_functions, tiers = [], [], []
    # Manual pages too; those in troff have hyphens of their own.
    for document in tap.files('.rst', '.md', '.1', '.7', '.8'):
        text = URL.sub('', document.read_text().replace('\\-', '-'))
        tiers += [f'{tap.relative(document)}:{text.count(chr(10), 0, start) + 1}: {word}'
                  for start, word in lost_tiers(text)]
        for number, line in enumerate(text.splitlines(), 1):
            for match in NAMED.finditer(line):
                name, function = match.groups()
                start = match.start(1)
                if name.startswith(ELSEWHERE) or line[max(0, start - 1):start] in ('/', '~', '$'):
                    continue
                where = f'{tap.relative(document)}:{number}: {match.group()}'
                path = resolve(document, name)
                if path is None and not tap.files('.c', under=(name.split('/')[0] + '/',)) \
                        and name.split('/')[0] in COMPONENTS:
                    continue        # a tree without that component
                if path is None:
                    lost_files.append(where)
                elif function and path.is_file() \
                        and not re.search(rf'\b{re.escape(function)}\b', path.read_text(errors='replace')):
                    lost_functions.append(where)
    tap.result('files_named_in_documents_exist', lost_files)
    tap.result('functions_named_in_documents_exist', lost_functions)
    tap.result('tiers_named_in_documents_exist', tiers)
    tap.done()


main()
