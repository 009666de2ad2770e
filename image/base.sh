#!/usr/bin/env bash
# image/base.sh OUT.tar CACHE PACKAGE…: Debian for arm64 as a tarball, with the kernel and firmware unpacked under /kern and the list of
# all packages beside it (OUT.tar.packages). The slow stage (packages are configured under emulation): build.sh keeps its result.
set -euo pipefail
out=$1 cache=$2; shift 2
here=$(dirname "$(readlink -f "$0")")
suite=trixie
mkdir -p "$cache/debs" "$cache/tmp"
export TMPDIR=$cache/tmp
# The maintainer scripts of the image's packages: no initramfs of their own, and a processor that every board has.
export INITRD=No QEMU_CPU=cortex-a53

# The mirror is the one this machine's own apt uses; no mirror is named in this project.
mirror=${WAYSTATION_MIRROR:-$(apt-get indextargets --format '$(SITE)' | grep -E '/debian/?$' | sort -u | head -1)}
[ -n "$mirror" ] || { echo "image: no Debian mirror in this machine's apt configuration; name one in WAYSTATION_MIRROR" >&2; exit 1; }
security=${WAYSTATION_SECURITY_MIRROR:-${mirror%/}-security}

preferences=$cache/tmp/preferences
printf 'Package: linux-image-*64 linux-base-* linux-binary-* linux-modules-* linux-base\nPin: release n=%s-backports\nPin-Priority: 900\n' $suite >"$preferences"
kernel=$(grep -v '^#' "$here/packages.kernel.list" | xargs)

# Inside mmdebstrap: the root is $1. What apt downloads is unpacked by dpkg-deb, as it would be on any machine.
unpack_kernel='rm -rf "$1"/kern; mkdir "$1"/kern
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -y -qq -o Dir::Cache::archives="$1"/var/cache/apt/archives install --download-only '$kernel'
for name in linux-image-[0-9]* linux-binary-[0-9]* linux-modules-[0-9]* linux-base-[0-9]* raspi-firmware firmware-brcm80211; do
  for deb in "$1"/var/cache/apt/archives/${name}_*.deb; do
    [ -e "$deb" ] || continue
    dpkg-deb -x "$deb" "$1"/kern
    dpkg-deb --showformat "\${Package}\t\${Version}\t\${Architecture}\t\${source:Package}\n" -W "$deb" >>"$1"/kern.packages
  done
done
chmod 755 "$1"/kern'

mmdebstrap --arch=arm64 --variant=essential --mode=root --include="$(echo "$@" | tr ' ' ',')" \
  --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --skip=download/empty --skip=essential/unlink \
  --setup-hook="mkdir -p \"\$1\"/etc/apt/preferences.d \"\$1\"/var/cache/apt/archives; cp $preferences \"\$1\"/etc/apt/preferences.d/kernel" \
  --setup-hook="sync-in $cache/debs /var/cache/apt/archives/" \
  --customize-hook="$unpack_kernel" \
  --customize-hook="sync-out /var/cache/apt/archives $cache/debs" \
  --customize-hook='chroot "$1" dpkg-query -W -f "\${Package}\t\${Version}\t\${Architecture}\t\${source:Package}\n" | cat - "$1"/kern.packages | LC_ALL=C sort -u >'"$out.packages"'; rm "$1"/kern.packages' \
  $suite "$out" - <<SOURCES
deb $mirror $suite main non-free-firmware
deb $mirror $suite-updates main non-free-firmware
deb $mirror $suite-backports main non-free-firmware
deb $security $suite-security main non-free-firmware
SOURCES
