#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Does every message of the files in POTFILES have a translation in every language of LINGUAS?

    check-translations.py PO_DIRECTORY
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


FOLDERS = ("libxl", "libvirt-driver")


def unlisted(folder):
    """The sources with messages that POTFILES does not name."""
    listed = set(lines(folder / "POTFILES"))
    sources = (path for name in FOLDERS for path in sorted((folder.parent / name).rglob("*.c")))
    return [path for path in sources if str(path.relative_to(folder.parent)) not in listed
            and re.search(r"\b_\(", path.read_text(encoding="utf-8"))]


def cut_short(template):
    """Messages of which xgettext saw the beginning only, as a macro (G_GUINT64_FORMAT) has the rest."""
    return re.findall(r'^(?:msgid )?"(.*[^%]%)"$', template.read_text(encoding="utf-8"), re.MULTILINE)


def lines(path):
    return [line.strip() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]


def main():
    folder = pathlib.Path(sys.argv[1])
    for tool in ("xgettext", "msgmerge", "msgfmt"):
        if not shutil.which(tool):
            print(f"{tool} is not installed")
            return 77
    failed = False
    for path in unlisted(folder):
        print(f"{path} has messages, but POTFILES does not name it")
        failed = True
    with tempfile.TemporaryDirectory() as work:
        template = pathlib.Path(work) / "serai.pot"
        subprocess.run(["xgettext", "--from-code=UTF-8", "--keyword=_", "--keyword=N_", "-o", template,
                        *lines(folder / "POTFILES")], cwd=folder.parent, check=True, stderr=subprocess.DEVNULL)
        for message in cut_short(template):
            print(f"the message '{message}...' has a macro in it: write %lu and a cast")
            failed = True
        for language in lines(folder / "LINGUAS"):
            merged = pathlib.Path(work) / f"{language}.po"
            subprocess.run(["msgmerge", "--quiet", "--no-fuzzy-matching", "-o", merged, folder / f"{language}.po", template],
                           check=True)
            result = subprocess.run(["msgfmt", "--check", "--statistics", "-o", "/dev/null", merged],
                                    capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
            summary = result.stderr.strip()
            print(f"{language}: {summary}")
            if result.returncode != 0 or "untranslated" in summary or "fuzzy" in summary:
                failed = True
                missing = subprocess.run(["msgattrib", "--untranslated", merged], capture_output=True, text=True)
                print(missing.stdout)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
