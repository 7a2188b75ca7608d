#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the documents name still exists: files, and functions as file:function."""

import re

import tap

# ``hv/boot/main.c`` or ``domain/evtchn.c:evtchn_send``: in double backquotes, or bare in a literal block.
NAMED = re.compile(r'(?<![\w/.*<-])((?:[\w.-]+/)+[\w.-]+\.(?:c|h|S|py|sh|rst|xml|build|service|yml|conf|in)\b|'
                   r'(?:scripts|tests|examples|docs)/[\w./-]*[\w])(?::([A-Za-z_]\w*))?')
ROOTS = ('', 'hv', 'libxl', 'docs', 'tests')
COMPONENTS = ('hv', 'xenstore', 'libxl', 'libvirt-driver')
# Paths on the machine of a reader, not in the tree.
ELSEWHERE = ('etc/', 'usr/', 'var/', 'dev/', 'proc/', 'sys/', 'run/', 'boot/grub', 'build/', 'xen/', 'sys/')


def resolve(document, name):
    for root in (document.parent, *(tap.TOP / r for r in ROOTS)):
        if (root / name).exists():
            return root / name
    return None


def main():
    lost_files, lost_functions = [], []
    for document in tap.files('.rst', '.md'):
        for number, line in enumerate(document.read_text().splitlines(), 1):
            if '://' in line:
                continue
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
    tap.done()


main()
