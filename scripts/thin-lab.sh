#!/usr/bin/env bash
# A thin line between two network namespaces of this machine, shaped as a radio modem does. Needs root, ip and tc (iproute2), unshare.
#
#   scripts/thin-lab.sh check                         says what is missing, by exit code 3
#   scripts/thin-lab.sh run BITS BUFFER COMMAND...    BITS a second each way, BUFFER bytes in the modem; runs COMMAND at the near end
#   scripts/thin-lab.sh run BITS BUFFER,MS COMMAND... the same, and MS milliseconds on the way, each way (needs python3 and /dev/net/tun)
#   scripts/thin-lab.sh far COMMAND...                inside: runs COMMAND at the far end
#
# Near is 10.98.0.1, far 10.98.0.2. All of it lives in namespaces of its own and ends with COMMAND. Delay is made by line-delay.py:
# netem is not in every kernel.
set -euo pipefail

SELF=$(readlink -f "$0")

check() {
  local missing=()
  [ "$(id -u)" -eq 0 ] || missing+=("root")
  for tool in ip tc unshare; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  if [ ${#missing[@]} -eq 0 ] && ! unshare --net --mount sh -c 'ip link set lo up && tc qdisc add dev lo root tbf rate 2400bit burst 1600 limit 64000' 2>/dev/null; then
    missing+=("the right to make namespaces, or tc tbf")
  fi
  if [ ${#missing[@]} -gt 0 ]; then
    echo "missing: ${missing[*]}"
    exit 3
  fi
}

inside() {
  local bits=$1 buffer=${2%,*} delay=0
  [ "$buffer" = "$2" ] || delay=${2#*,}
  shift 2
  mkdir -p /run/netns
  mount -t tmpfs tmpfs /run/netns
  ip netns add far
  ip link set lo up
  ip -n far link set lo up
  if [ "$delay" = 0 ]; then
    ip link add name line type veth peer name line netns far
  else
    coproc "$(dirname "$SELF")/line-delay.py" "$delay"
    read -r _ <&"${COPROC[0]}"
  fi
  for place in "" "-n far"; do
    # shellcheck disable=SC2086
    ip $place link set line up
    # One packet of burst: a modem has no more.
    # shellcheck disable=SC2086
    tc $place qdisc add dev line root tbf rate "${bits}bit" burst 1600 limit "$buffer"
  done
  ip address add 10.98.0.1/24 dev line
  ip -n far address add 10.98.0.2/24 dev line
  exec "$@"
}

case "${1:-}" in
  check) check ;;
  run) shift; exec unshare --net --mount --pid --fork --kill-child --mount-proc "$SELF" inside "$@" ;;
  inside) shift; inside "$@" ;;
  far) shift; exec ip netns exec far "$@" ;;
  *) sed -n '2,9s/^# \?//p' "$SELF"; exit 2 ;;
esac
