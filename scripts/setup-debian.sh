#!/usr/bin/env bash
# Debian and Raspberry Pi OS packages that are not needed to run Waystation or most of its tests, but let more of them
# run: interop tests against foreign implementations, the arm64 binary under emulation, the image. Usage:
#   sudo scripts/setup-debian.sh
# What cannot be installed is named and left out; the tests that need it then say that they are skipped, and why.
set -uo pipefail

PACKAGES=(
  python3-grpcio python3-grpc-tools # an independent gRPC peer for TAK Federation v2, and its compiler of schemas
  protobuf-compiler       # protoc: an independent reader of what we encode
  mosquitto mosquitto-clients # a broker and foreign clients for the MQTT link and telemetry
  prometheus              # promtool: checks the metrics, the alerts and the queries of the dashboard
  nats-server             # benchmarks: a relay to compare with
  zbar-tools              # reads the QR codes for phones back from pictures
  chromium                # the pages in a real browser
  tmux                    # tests of the live terminal view
  libxml2-utils           # xmllint: an independent judge of the XML snippets
  chrony                  # takes peers' clocks as the relay tells them (started by the tests alone)
  socat                   # fault tests, and a splice to compare with
  iproute2 nftables conntrack tcpdump          # scripts/nat-lab.sh: two sites behind NATs
  binutils-aarch64-linux-gnu                   # strips the arm64 binary (20 MB)
  qemu-user-static libc6-arm64-cross libstdc++6-arm64-cross # runs the arm64 binary on other machines
)

if ! command -v apt-get >/dev/null; then
  echo "setup: no apt-get here (not Debian?); nothing installed, tests that need more will be skipped" >&2
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "setup: not root; nothing installed. Run: sudo $0" >&2
  exit 0
fi

missing=()
for package in "${PACKAGES[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: everything is installed"
  exit 0
fi

export DEBIAN_FRONTEND=noninteractive
# Packages that start a service on installation (the broker) must not: the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
apt-get update -qq </dev/null || echo "setup: apt-get update failed; trying with the lists as they are" >&2
install=(apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=60)
if ! "${install[@]}" "${missing[@]}" </dev/null; then
  # One package that is not to be had must not cost the others.
  for package in "${missing[@]}"; do
    "${install[@]}" "$package" </dev/null || echo "setup: could not install $package; tests that need it will be skipped" >&2
  done
fi
exit 0
