#!/usr/bin/env bash
# A laboratory of two sites behind NATs and two hubs between them, made of network namespaces on this machine.
# Needs root, ip (iproute2), nft (nftables), conntrack, unshare (util-linux). Usage:
#
#   scripts/nat-lab.sh check              says what is missing, by exit code 3
#   scripts/nat-lab.sh run COMMAND...     builds it, runs COMMAND in namespace `ctl`, and takes everything away
#   scripts/nat-lab.sh run bash           to look around
#
# Everything lives in mount, process and network namespaces of its own: when COMMAND ends, or this script is killed, the
# kernel removes processes, interfaces, rules and all. Nothing outside is touched. LAB_SECONDS (default 600) bounds it.
#
#    site A                     "internet" 198.51.100.0/24                     site B
#   [a] 10.1.0.2 -- 10.1.0.1 [nat-a] .11 ----- [inet] ----- .12 [nat-b] 10.2.0.1 -- 10.2.0.2 [b]
#                                               |  |
#                                     [hub1] .21    .22 [hub2]
#
# [ctl] reaches each of a, b, hub1 and hub2 over a wire of its own (10.99.N.2, N = 1 2 3 4), which no fault touches and
# nobody else can use; there ports 8080 and 8081 of the far end are those of its loopback.
#
# Inside, COMMAND may call (SITE is a or b):
#   nat-lab.sh in NAMESPACE COMMAND...    runs COMMAND there
#   nat-lab.sh flush SITE                 the NAT forgets every connection (conntrack)
#   nat-lab.sh timeout SITE SECONDS       the NAT forgets connections idle for so long
#   nat-lab.sh renumber SITE LAST         the NAT's internet address becomes 198.51.100.LAST, known connections are lost
#   nat-lab.sh move SITE LAST             the relay's own address becomes 10.N.0.LAST
#   nat-lab.sh cut NODE | mend NODE       pulls NODE's internet cable (nat-a, nat-b, hub1, hub2) | plugs it in
#   nat-lab.sh hole NODE | fill NODE      drops every packet of NODE, both ways and without a word | ends that
#   nat-lab.sh slow NODE RATE             shapes what goes to NODE, such as 64kbit (tc tbf)
set -euo pipefail

SELF=$(readlink -f "$0")
WAN=198.51.100

die() {
  echo "nat-lab: $*" >&2
  exit 2
}

check() {
  local missing=()
  [ "$(id -u)" -eq 0 ] || missing+=("root")
  for tool in ip nft conntrack unshare sysctl timeout; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "missing: ${missing[*]}"
    exit 3
  fi
  # Containers may be root and still not allowed to.
  if ! unshare --net --mount true 2>/dev/null; then
    echo "missing: the right to make namespaces"
    exit 3
  fi
}

in_ns() { ip netns exec "$@"; }

# cable NAMESPACE INTERFACE NAMESPACE INTERFACE
cable() {
  ip link add name "$2" netns "$1" type veth peer name "$4" netns "$3"
  ip -n "$1" link set dev "$2" up
  ip -n "$3" link set dev "$4" up
}

# internet NODE LAST: an interface `wan` of NODE on the internet's bridge
internet() {
  cable "$1" wan inet "$1"
  ip -n inet link set dev "$1" master bridge
  ip -n "$1" address add "$WAN.$2/24" dev wan
}

# control NODE N: a wire between ctl and NODE; ports 8080 and 8081 there lead to status APIs on its loopback
control() {
  cable ctl "$1" "$1" ctl
  ip -n ctl address add "10.99.$2.1/24" dev "$1"
  ip -n "$1" address add "10.99.$2.2/24" dev ctl
  in_ns "$1" sysctl -qw net.ipv4.conf.ctl.route_localnet=1
  in_ns "$1" nft -f - <<RULES
table ip ctl {
  chain prerouting {
    type nat hook prerouting priority -100;
    iifname "ctl" tcp dport 8080-8081 dnat to 127.0.0.1
  }
}
RULES
}

# site NAME N LAST: host NAME behind nat-NAME
site() {
  local nat=nat-$1
  cable "$1" lan "$nat" lan
  ip -n "$1" address add "10.$2.0.2/24" dev lan
  ip -n "$nat" address add "10.$2.0.1/24" dev lan
  ip -n "$1" route add default via "10.$2.0.1"
  internet "$nat" "$3"
  in_ns "$nat" sysctl -qw net.ipv4.ip_forward=1
  # A connection the NAT does not know is not guessed from a packet in its middle, and nobody is told.
  in_ns "$nat" sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0
  in_ns "$nat" nft -f - <<'RULES'
table ip nat {
  chain postrouting {
    type nat hook postrouting priority 100;
    oifname "wan" masquerade
  }
}
table ip filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state invalid drop
    iifname "lan" accept
    ct state established,related accept
  }
  chain input {
    type filter hook input priority 0;
    iifname "wan" drop
  }
}
RULES
}

build() {
  mount -t tmpfs tmpfs /run/netns 2>/dev/null || { mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns; }
  for name in ctl inet a nat-a b nat-b hub1 hub2; do
    ip netns add "$name"
    ip -n "$name" link set lo up
  done
  ip -n inet link add bridge type bridge
  ip -n inet link set bridge up
  in_ns inet nft 'add table bridge faults; add chain bridge faults forward { type filter hook forward priority 0; }'
  site a 1 11
  site b 2 12
  internet hub1 21
  internet hub2 22
  control a 1
  control b 2
  control hub1 3
  control hub2 4
}

# Called inside the new namespaces, as their process 1: its end is everybody's end.
inside() {
  export WAYSTATION_NAT_LAB=1
  build
  local status=0
  timeout --kill-after=5 "${LAB_SECONDS:-600}" ip netns exec ctl "$@" || status=$?
  exit "$status"
}

site_number() {
  case $1 in
  a) echo 1 ;;
  b) echo 2 ;;
  *) die "no site $1" ;;
  esac
}

renumber() {
  local nat=nat-$1 old
  old=$(ip -n "$nat" -4 -o address show dev wan | awk '{ print $4 }')
  ip -n "$nat" address del "$old" dev wan
  ip -n "$nat" address add "$WAN.$2/24" dev wan
  in_ns "$nat" conntrack -F 2>/dev/null
}

move() {
  local net old
  net=10.$(site_number "$1").0
  old=$(ip -n "$1" -4 -o address show dev lan | awk '{ print $4 }')
  ip -n "$1" address del "$old" dev lan
  ip -n "$1" address add "$net.$2/24" dev lan
  ip -n "$1" route add default via "$net.1"
}

hole() {
  in_ns inet nft add rule bridge faults forward iifname "$1" drop
  in_ns inet nft add rule bridge faults forward oifname "$1" drop
}

verb=${1:-}
[ $# -gt 0 ] && shift
case $verb in
check) check ;;
run)
  [ $# -gt 0 ] || die "run what?"
  check
  exec unshare --mount --pid --fork --kill-child --mount-proc --net -- "$SELF" inside "$@"
  ;;
inside | in | flush | timeout | renumber | move | cut | mend | hole | fill | slow)
  [ "$verb" = inside ] || [ "${WAYSTATION_NAT_LAB:-}" = 1 ] || die "$verb works inside the laboratory only: $0 run ..."
  case $verb in
  inside) inside "$@" ;;
  in) exec ip netns exec "$@" ;;
  flush) in_ns "nat-$1" conntrack -F 2>/dev/null ;;
  timeout) in_ns "nat-$1" sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established="$2" ;;
  renumber) renumber "$@" ;;
  move) move "$@" ;;
  cut) ip -n inet link set dev "$1" down ;;
  mend) ip -n inet link set dev "$1" up ;;
  hole) hole "$1" ;;
  fill) in_ns inet nft flush chain bridge faults forward ;;
  slow) ip netns exec inet tc qdisc replace dev "$1" root tbf rate "$2" burst 3kb latency 2s ;;
  esac
  ;;
*)
  sed -n '2,33s/^# \{0,1\}//p' "$SELF" >&2
  exit 2
  ;;
esac
