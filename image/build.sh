#!/usr/bin/env bash
# npm run image [-- OPTION…]: makes dist/waystation-<version>-arm64.img.xz and what belongs to it (see image/README.md), as root on Debian.
#   --release-key FILE.pub   public key (PEM, Ed25519) of whoever signs releases; default image/release.pub; without one the image takes no updates
#   --sign FILE.key          signs the update bundle with that private key
#   --debug                  lays overlays/debug over the root too: serial login. Never for the field
#   --lte                    with the packages for cellular modems
#   --fresh                  asks the mirror for newer packages; default: the tarball of packages made here before
#   --no-xz                  leaves the image as it is, and presses the root less: tests
#   --out FOLDER             default dist/
# Stages: tools, binary, base (packages; kept by its package list), root, initramfs, boot partition, disk. No loop mounts, no network after base.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
checkout=$PWD here=$PWD/image work=$PWD/build/image out=$PWD/dist
release_key= sign= debug= lte= fresh= xz=1
while [ $# -gt 0 ]; do
  case $1 in
    --release-key) release_key=$(readlink -f "$2"); shift ;;
    --sign) sign=$(readlink -f "$2"); shift ;;
    --debug) debug=1 ;;
    --lte) lte=1 ;;
    --fresh) fresh=1 ;;
    --no-xz) xz= ;;
    --out) out=$(readlink -m "$2"); shift ;;
    *) echo "image: unknown option $1; the options are at the top of image/build.sh" >&2; exit 2 ;;
  esac
  shift
done
[ -n "$release_key" ] || { [ ! -e "$here/release.pub" ] || release_key=$here/release.pub; }

# ---- what the disk looks like: MB, and the id by which the boot finds its card ---------------------------------------
START_MB=4 BOOT_MB=192 SLOT_MB=384 DISK_ID=57415953
# One account for ever: the data partition outlives releases.
ACCOUNT=870
BOARD=raspberrypi-arm64

export LC_ALL=C TZ=UTC PATH=$PWD/node_modules/.bin:$PATH
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
name=waystation-$version-arm64${debug:+-debug}
begun=$SECONDS
say() { printf '[%4d s] %s\n' $((SECONDS - begun)) "$*"; }

[ "$(id -u)" = 0 ] || { echo "image: must run as root: it makes a system with owners and devices" >&2; exit 1; }

# ---- tools -----------------------------------------------------------------------------------------------------------
tools() {
  local packages=(mmdebstrap squashfs-tools mtools dosfstools fdisk bmap-tools kmod cpio zstd xz-utils arch-test
    qemu-user-static binfmt-support debian-archive-keyring) missing=() package
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
  # arm64 programs run by themselves once the kernel knows their interpreter; in a container it may not know it yet.
  if ! arch-test arm64 >/dev/null 2>&1; then
    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    update-binfmts --enable qemu-aarch64
  fi
}

# ---- the relay's own binary --------------------------------------------------------------------------------------------
binary() {
  if [ ! -e dist/waystation-linux-arm64 ] || [ -n "$(find src package-lock.json scripts/build.mjs -newer dist/waystation-linux-arm64 -print -quit)" ]; then
    say "building the binary"
    npm run --silent build -- arm64
  fi
}

# ---- base: Debian's packages -------------------------------------------------------------------------------------------
base() {
  local lists=("$here/packages.list") packages key
  [ -z "$lte" ] || lists+=("$here/packages.lte.list")
  packages=$(cat "${lists[@]}" | grep -v '^#' | xargs)
  key=$(echo "$packages" | cat - "$here/base.sh" "$here/packages.kernel.list" | sha256sum | cut -c1-12)
  base=$work/base-$key.tar
  if [ -n "$fresh" ] || [ ! -e "$base" ]; then
    say "base: fetching and configuring packages; the slow part"
    mkdir -p "$work"
    rm -f "$base"
    # shellcheck disable=SC2086
    "$here/base.sh" "$base.new.tar" "$work" $packages
    mv "$base.new.tar.packages" "${base%.tar}.packages"
    mv "$base.new.tar" "$base"
  fi
  say "base: $(wc -l <"${base%.tar}.packages") packages"
}

# ---- root: base without what is not needed, our files, our binary ------------------------------------------------------
root() {
  root=$work/root kern=$work/kern
  rm -rf "$root" "$kern"
  mkdir -p "$root"
  tar -C "$root" --numeric-owner --exclude='./dev/*' -xf "$base"
  mv "$root/kern" "$kern"
  kernel=$(ls "$kern/usr/lib/modules")
  modules
  firmware
  cp -a --no-preserve=ownership overlays/base/. overlays/image/. "$root/"
  [ -z "$debug" ] || cp -a --no-preserve=ownership overlays/debug/. "$root/"
  install -m 755 dist/waystation-linux-arm64 "$root/usr/bin/waystation"
  mkdir -p "$root/usr/share/waystation" "$root/boot/card" "$root/data"
  # /etc/waystation is the data partition's; a box without a configuration begins with this one.
  rm "$root/etc/waystation/waystation.yaml"
  install -m 644 "$here/first.yaml" "$root/usr/share/waystation/first.yaml"
  [ -z "$release_key" ] || install -m 644 "$release_key" "$root/usr/share/waystation/release.pub"
  printf '{"version":"%s","board":"%s","slotBytes":%d}\n' "$version" "$BOARD" $((SLOT_MB << 20)) >"$root/usr/share/waystation/image.json"
  touch -d "@$SOURCE_DATE_EPOCH" "$root/usr/lib/clock-epoch"
  accounts
  units
  state
  say "root: $(du -sm --apparent-size "$root" | cut -f1) MB before compression, kernel $kernel"
}

# The modules of modules.list and what they depend on.
modules() {
  local from=$kern/usr/lib/modules/$kernel to=$root/usr/lib/modules/$kernel path file more
  mkdir -p "$to"
  ln -sfn usr/lib "$kern/lib"
  depmod -b "$kern" "$kernel"
  (
    cd "$from"
    for path in $(grep -v '^#' "$here/modules.list"); do
      for path in "kernel/$path" "kernel/$path.xz" "kernel/$path.zst"; do
        if [ -e "$path" ]; then find "$path" -name '*.ko*'; fi
      done
    done | sort -u >"$work/wanted"
    # modules.dep lists all that a module needs, directly or not.
    while read -r file; do sed -n "s|^$file:||p" modules.dep; done <"$work/wanted" | tr ' ' '\n' | grep . | sort -u >"$work/more" || true
    sort -u "$work/wanted" "$work/more" | xargs cp --parents -t "$to"
    cp modules.builtin modules.builtin.modinfo modules.order "$to/"
  )
  depmod -b "$root" "$kernel"
}

# The Wi-Fi firmware of the boards, without that of other makers' boards with the same chip.
firmware() {
  mkdir -p "$root/usr/lib/firmware"
  (
    cd "$kern/usr/lib/firmware"
    for file in brcm/brcmfmac4343* brcm/brcmfmac4345* cypress/cyfmac4343* cypress/cyfmac4345*; do
      case $file in
        *[rR]aspberry* | *.bin | *.clm_blob) cp -a --parents "$file" "$root/usr/lib/firmware/" ;;
        *.txt) case $file in *AP6212* | *,*) ;; *) cp -a --parents "$file" "$root/usr/lib/firmware/" ;; esac ;;
      esac
    done
  )
}

# Nobody can log in: no password anywhere, and the accounts with a shell have none to give.
accounts() {
  echo "waystation:x:$ACCOUNT:$ACCOUNT:Waystation relay:/nonexistent:/usr/sbin/nologin" >>"$root/etc/passwd"
  echo "waystation:x:$ACCOUNT:" >>"$root/etc/group"
  echo "waystation:!*:::::::" >>"$root/etc/shadow"
  sed -i 's|^root:[^:]*:[^:]*:|root:*:20000:|; s|^\([^:]*:[^:]*\):[0-9]*:|\1:20000:|' "$root/etc/shadow"
  # dropbear lets the owner's key in as root, password locked or not; it wants a shell that is on the list.
  grep -q '^/bin/bash$' "$root/etc/shells" || echo /bin/bash >>"$root/etc/shells"
  rm -f "$root"/etc/{passwd-,group-,shadow-,gshadow-,subuid-,subgid-}
}

units() {
  local unit target wants
  for unit in waystation-data:local-fs.target waystation-provision:sysinit.target waystation:multi-user.target waystation-ssh:multi-user.target \
    waystation-trial:multi-user.target waystation-console:multi-user.target waystation-update.path:multi-user.target waystation-forget.path:multi-user.target waystation-setup.path:multi-user.target waystation-captive.socket:sockets.target waystation-clock.timer:timers.target waystation-clock-source.timer:timers.target gpsd.socket:sockets.target \
    waystation-wifi:sys-subsystem-net-devices-wlan0.device systemd-networkd:multi-user.target systemd-resolved:multi-user.target chrony:multi-user.target; do
    target=${unit#*:} unit=${unit%%:*}
    case $unit in *.path | *.timer | *.socket) ;; *) unit=$unit.service ;; esac
    wants=$root/etc/systemd/system/$target.wants
    mkdir -p "$wants"
    if [ -e "$root/etc/systemd/system/$unit" ]; then ln -sfn "/etc/systemd/system/$unit" "$wants/$unit"
    else ln -sfn "/usr/lib/systemd/system/$unit" "$wants/$unit"; fi
  done
  # What writes, waits for what is not there, or opens a port beside ours.
  for unit in hostapd.service wpa_supplicant.service dnsmasq.service dropbear.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service autovt@.service systemd-networkd-wait-online.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount systemd-pstore.service \
    systemd-rfkill.service systemd-rfkill.socket systemd-hostnamed.socket systemd-sysext.socket systemd-hwdb-update.service \
    systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-logind.service systemd-user-sessions.service systemd-networkd-persistent-storage.service \
    systemd-machine-id-commit.service systemd-firstboot.service systemd-boot-random-seed.service rpi-reconfigure-raspi-firmware.service; do
    ln -sfn /dev/null "$root/etc/systemd/system/$unit"
  done
  [ -n "$debug" ] || ln -sfn /dev/null "$root/etc/systemd/system/serial-getty@.service"
}

# A read-only /etc has an answer to everything that is usually written into it.
state() {
  : >"$root/etc/machine-id"
  rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname"
  ln -sfn /run/waystation/hostname "$root/etc/hostname"
  ln -sfn ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
  ln -sfn /usr/share/zoneinfo/UTC "$root/etc/localtime"
  if [ ! -s "$root/etc/ssl/certs/ca-certificates.crt" ]; then
    mkdir -p "$root/etc/ssl/certs"
    cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
  fi
  rm -rf "$root"/var/cache/apt "$root"/var/lib/apt "$root"/var/cache/debconf/* "$root"/var/cache/ldconfig "$root"/var/log/* "$root"/etc/dropbear \
    "$root"/etc/apt "$root"/usr/share/bash-completion "$root"/usr/share/info "$root"/usr/share/lintian "$root"/tmp/* "$root"/var/tmp/* "$root"/run/*
  # gpsd's tools are in Python; the daemon is not.
  rm -rf "$root"/usr/lib/python3* "$root"/usr/bin/python3* "$root"/usr/lib/aarch64-linux-gnu/libpython*
  find "$root" -xdev -name '__pycache__' -prune -exec rm -rf {} +
  # Nothing has to be rebuilt at the first start: what systemd would rebuild is of the same moment as /usr.
  touch "$root/etc/.updated" "$root/var/.updated"
  find "$root" -xdev -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0r touch -h -d "@$SOURCE_DATE_EPOCH"
}

# ---- boot partition: firmware once, kernel, initramfs and device trees per slot ------------------------------------------
boot() {
  boot=$work/boot
  rm -rf "$boot"
  mkdir -p "$boot/a" "$boot/b"
  local fw=$kern/usr/lib/raspi-firmware file slot number
  cp "$fw"/{bootcode.bin,start.elf,start4.elf,start_cd.elf,start4cd.elf,fixup.dat,fixup4.dat,fixup_cd.dat,fixup4cd.dat} "$boot/"
  "$here/initramfs/build.sh" "$root" "$kernel" "$boot/a/initrd.img"
  file=$kern/usr/lib/modules/$kernel/vmlinuz
  [ -e "$file" ] || file=$(echo "$kern"/boot/vmlinuz-*)
  gzip -9n <"$file" >"$boot/a/kernel8.img"
  device_trees
  for slot in a b; do
    number=$([ $slot = a ] && echo 02 || echo 03)
    echo "root=PARTUUID=$DISK_ID-$number rootfstype=squashfs ro rootwait waystation.slot=$slot console=ttyAMA10,115200 console=ttyS1,115200 console=tty0 panic=10 quiet" >"$boot/$slot/cmdline.txt"
    sector "os_prefix=$slot/" >"$boot/$slot/config.txt"
  done
  cp "$boot/a/config.txt" "$boot/config.txt"
  sed 's/$/\r/' "$here/README-card.txt" >"$boot/README.txt"
  find "$boot" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  say "boot: kernel $(du -m "$boot/a/kernel8.img" | cut -f1) MB, initramfs $(du -k "$boot/a/initrd.img" | cut -f1) kB"
}

device_trees() {
  local dtb file
  dtb=$kern/usr/lib/modules/$kernel/dtb/broadcom
  [ -d "$dtb" ] || dtb=$(echo "$kern"/usr/lib/linux-image-*/broadcom)
  for file in bcm2837-rpi-3-b.dtb bcm2837-rpi-3-b-plus.dtb bcm2837-rpi-3-a-plus.dtb bcm2837-rpi-zero-2-w.dtb bcm2711-rpi-4-b.dtb bcm2711-rpi-400.dtb bcm2711-rpi-cm4-io.dtb; do
    [ ! -e "$dtb/$file" ] || cp "$dtb/$file" "$boot/a/"
  done
  cp "$dtb"/bcm2712*.dtb "$boot/a/"
}

# config.txt is exactly one sector for ever: changing it is one write that happens or does not.
sector() {
  local text
  text="$1
$(cat "$here/config.txt")
"
  [ ${#text} -le 440 ] || { echo "image: config.txt leaves no room for the trial line" >&2; exit 1; }
  printf '%s' "$text"
  head -c $((512 - ${#text})) /dev/zero | tr '\0' '\n'
}

# ---- the disk -------------------------------------------------------------------------------------------------------------
disk() {
  local slot=$work/root.squashfs fat=$work/boot.fat
  disk=$out/$name.img
  mkdir -p "$out"
  rm -f "$slot" "$fat" "$disk"
  mksquashfs "$root" "$slot" -noappend -no-progress -quiet -comp zstd -Xcompression-level $([ -n "$xz" ] && echo 19 || echo 3) -b 256K -no-exports -xattrs >/dev/null
  [ "$(stat -c %s "$slot")" -le $((SLOT_MB << 20)) ] || { echo "image: the root is larger than its slot" >&2; exit 1; }
  say "root: $(du -m "$slot" | cut -f1) MB compressed, of $SLOT_MB"
  truncate -s ${BOOT_MB}M "$fat"
  mkfs.vfat -F 32 -n WAYSTATION -i $DISK_ID --invariant "$fat" >/dev/null
  (
    cd "$boot"
    find . -mindepth 1 -type d | sort | while read -r file; do mmd -i "$fat" "::${file#./}"; done
    find . -type f | sort | while read -r file; do mcopy -m -i "$fat" "$file" "::${file#./}"; done
  )
  truncate -s $(((START_MB + BOOT_MB + 2 * SLOT_MB) << 20)) "$disk"
  sfdisk -q "$disk" <<TABLE
label: dos
label-id: 0x$DISK_ID
unit: sectors
start=$((START_MB * 2048)), size=$((BOOT_MB * 2048)), type=c, bootable
start=$(((START_MB + BOOT_MB) * 2048)), size=$((SLOT_MB * 2048)), type=83
start=$(((START_MB + BOOT_MB + SLOT_MB) * 2048)), size=$((SLOT_MB * 2048)), type=83
TABLE
  dd if="$fat" of="$disk" bs=1M seek=$START_MB conv=notrunc,sparse status=none
  dd if="$slot" of="$disk" bs=1M seek=$((START_MB + BOOT_MB)) conv=notrunc,sparse status=none
}

outputs() {
  bmaptool create -o "$disk.bmap" "$disk" 2>/dev/null
  cp "${base%.tar}.packages" "$out/$name.packages.txt"
  node scripts/image-sbom.mjs "${base%.tar}.packages" "$version" >"$out/$name.cdx.json"
  (cd "$root" && find usr/share/doc -name copyright | sort | tar -c --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -T - -C "$checkout/dist" NOTICES.txt) |
    xz -T1 -6 >"$out/$name.licences.tar.xz"
  if [ -n "$sign" ]; then
    node src/main.ts update pack --root "$work/root.squashfs" --boot "$boot" --version "$version" --board "$BOARD" --key "$sign" --out "$out/$name.update"
  fi
  local files=("$name.img")
  if [ -n "$xz" ]; then
    xz -T2 -6 -kf "$disk"
    files=("$name.img.xz")
  fi
  [ ! -e "$out/$name.update" ] || files+=("$name.update")
  (cd "$out" && sha256sum "${files[@]}" "$name.img.bmap" >"$name.sha256")
  cat "$out/$name.sha256"
  say "done: $(du -m "$out/${files[0]}" | cut -f1) MB in $out/${files[0]}"
}

tools
binary
base
root
boot
disk
outputs
