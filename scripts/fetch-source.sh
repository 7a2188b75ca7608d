#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Unpacks the source of an installed package below DIRECTORY and prints the path of the tree.
#
#     fetch-source.sh PACKAGE SOURCE DIRECTORY
#
# PACKAGE is the installed one (libvirt0), SOURCE the name of its source package (libvirt).  A driver needs
# libvirt's private headers, and no Debian package carries them.  The host's list of sources may have no
# deb-src entries and is not ours to change, so apt gets a private set of lists: a copy of the host's with
# each entry turned into its source twin.  A second run finds the tree unpacked and downloads nothing.

set -eu

[ $# = 3 ] || { echo "usage: fetch-source.sh PACKAGE SOURCE DIRECTORY" >&2; exit 2; }
package=$1
source=$2
directory=$3
version=$(dpkg-query -W -f '${source:Version}' "$package")
upstream=${version%-*}
upstream=${upstream#*:}
tree=$directory/$source-$upstream

if [ -f "$tree/.unpacked-$version" ]; then
    echo "$tree"
    exit 0
fi

mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
tree=$directory/$source-$upstream
apt=$directory/apt
rm -rf "$apt" "$tree"
mkdir -p "$apt/sources.list.d" "$apt/lists/partial" "$apt/cache/archives/partial"

# One-line lists: "deb ..." becomes "deb-src ...".  Deb822 lists: "Types: deb" becomes "Types: deb-src".
: > "$apt/sources.list"
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$list" ] || continue
    sed -n -E 's/^[[:space:]]*deb(-src)?([[:space:]])/deb-src\2/p' "$list" | sort -u >> "$apt/sources.list"
done
for list in /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] || continue
    sed -E 's/^Types:.*/Types: deb-src/' "$list" > "$apt/sources.list.d/$(basename "$list")"
done

cat > "$apt/apt.conf" <<CONF
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "$apt/sources.list.d";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "root";
APT::Get::Only-Source "true";
CONF
[ "$(id -u)" = 0 ] || sed -i '/Sandbox/d' "$apt/apt.conf"

cd "$directory"
APT_CONFIG=$apt/apt.conf apt-get -q update >&2
APT_CONFIG=$apt/apt.conf apt-get -q source --download-only "$source=$version" >&2
dpkg-source --no-copy -x "${source}_${version#*:}.dsc" "$tree" >&2
rm -rf "$apt"
touch "$tree/.unpacked-$version"
echo "$tree"
