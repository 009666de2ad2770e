#!/usr/bin/env bash
# image/initramfs/build.sh ROOT KERNEL-VERSION OUT: the initramfs, from the root's own busybox and modules. Same input, same bytes.
set -euo pipefail
root=$1 kernel=$2 out=$3
here=$(dirname "$(readlink -f "$0")")
modules=$root/usr/lib/modules/$kernel
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{bin,modules,proc,sys,dev,run,root,card}
chmod 755 "$tree"
cp "$root/usr/bin/busybox" "$tree/bin/busybox"
for name in sh mount umount insmod dd hexdump sed cat tr cut cmp sha256sum mkdir echo sleep usleep printf switch_root; do
  ln -s busybox "$tree/bin/$name"
done
install -m 755 "$here/init" "$tree/init"
mknod "$tree/dev/console" c 5 1

declare -A seen=()
order=()
add() { # a module after all it depends on
  local dependency
  [ -z "${seen[$1]:-}" ] || return 0
  seen[$1]=1
  for dependency in $(sed -n "s|^$1: *||p" "$modules/modules.dep" | tr ' ' '\n' | tac); do add "$dependency"; done
  order+=("$1")
}
for name in $(grep -v '^#' "$here/modules.list"); do
  file=$(grep -oE "^[^:]*/$name\.ko[^:]*" "$modules/modules.dep" | head -1 || true)
  if [ -n "$file" ]; then add "$file"
  else grep -q "/$name\.ko" "$modules/modules.builtin" || echo "image: kernel $kernel has no module $name" >&2; fi
done
for file in "${order[@]}"; do
  base=$(basename "$file")
  case $base in
    *.xz) base=${base%.xz}; xz -dc "$modules/$file" >"$tree/modules/$base" ;;
    *.zst) base=${base%.zst}; zstd -qdc "$modules/$file" >"$tree/modules/$base" ;;
    *) cp "$modules/$file" "$tree/modules/$base" ;;
  esac
  echo "$base" >>"$tree/modules/list"
done
find "$tree" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
(cd "$tree" && find . -mindepth 1 -printf '%P\n' | LC_ALL=C sort | cpio -o -H newc --reproducible -R 0:0 --quiet) | zstd -q -19 >"$out"
