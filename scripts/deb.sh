#!/usr/bin/env bash
# npm run deb [-- amd64 arm64]: dist/waystation_<version>_<arch>.deb from the binaries (built when they are missing or old) and overlays/base,
# with dpkg-deb alone. Same input, same bytes. The unit moves from /etc to /usr/lib, where packages keep theirs: it is the same file.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)} LC_ALL=C TZ=UTC
command -v dpkg-deb >/dev/null || { echo "deb: dpkg-deb is missing; this runs on Debian" >&2; exit 1; }
[ $# -gt 0 ] || set -- amd64 arm64

for arch; do
  case $arch in amd64) node=x64 ;; arm64) node=arm64 ;; *) echo "deb: no architecture $arch; there are amd64 and arm64" >&2; exit 2 ;; esac
  binary=dist/waystation-linux-$node
  if [ ! -e $binary ] || [ -n "$(find src package-lock.json scripts/build.mjs -newer $binary -print -quit)" ]; then npm run --silent build -- $node; fi
  tree=build/deb/$arch
  rm -rf "$tree"
  mkdir -p "$tree"/{DEBIAN,usr/bin,usr/lib/systemd/system,usr/share/{doc/waystation,lintian/overrides,man/man1}}
  install -m 755 $binary "$tree/usr/bin/waystation"
  install -m 644 overlays/base/etc/systemd/system/waystation.service "$tree/usr/lib/systemd/system/"
  mkdir -p "$tree/etc" "$tree/usr/lib"
  cp -r overlays/base/etc/waystation "$tree/etc/"
  cp -r overlays/base/usr/lib/. "$tree/usr/lib/"
  cp scripts/deb/copyright "$tree/usr/share/doc/waystation/"
  gzip -9n <dist/NOTICES.txt >"$tree/usr/share/doc/waystation/NOTICES.txt.gz"
  gzip -9n <scripts/deb/waystation.1 >"$tree/usr/share/man/man1/waystation.1.gz"
  cp scripts/deb/lintian-overrides "$tree/usr/share/lintian/overrides/waystation"
  printf 'waystation (%s) stable; urgency=medium\n\n  * See the history of the source.\n\n -- Waystation <waystation@invalid.example>  %s\n' \
    "$version" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$tree/usr/share/doc/waystation/changelog.gz"
  echo /etc/waystation/waystation.yaml >"$tree/DEBIAN/conffiles"
  cp scripts/deb/{postinst,prerm,postrm} "$tree/DEBIAN/"
  find "$tree" -type d -exec chmod 755 {} + -o -type f ! -perm -u+x -exec chmod 644 {} +
  chmod 755 "$tree"/DEBIAN/{postinst,prerm,postrm}
  cat >"$tree/DEBIAN/control" <<CONTROL
Package: waystation
Version: $version
Architecture: $arch
Maintainer: Waystation <waystation@invalid.example>
Section: net
Priority: optional
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$tree" | cut -f1)
Depends: libc6 (>= 2.28), libstdc++6, libgcc-s1, systemd (>= 252)
Description: federation relay for TAK networks
 Waystation links islands of TAK users: it relays positions, chat and alerts
 between phones, TAK servers and other relays, as a service that starts with
 the machine and needs no database and no account.
CONTROL
  (cd "$tree" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | sort | xargs md5sum >DEBIAN/md5sums)
  chmod 644 "$tree"/DEBIAN/{control,md5sums,conffiles}
  find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Zxz -z6 --build "$tree" "dist/waystation_${version}_$arch.deb"
done
