#!/usr/bin/env bash
# Boards without boards: Raspberry Pis as aarch64 Debian 12 with systemd, sshd and a network address of their own, each a
# container on this machine whose programs run under qemu-user. For trying `fer-edge deploy`; see docs/deploy.md.
#   tools/board_lab.sh build                            once: 5 minutes, 100 MB
#   tools/board_lab.sh up NAME [--as pi4|pi5] [--memory 512M] [--address 10.77.0.2] [--opt 600M: a disk of its own at /opt]
#   tools/board_lab.sh ssh-config                       for ssh -F and fer-edge deploy --ssh-config
#   tools/board_lab.sh reboot NAME | cut NAME           orderly; the power cut, after which `up NAME` boots what is there
#   tools/board_lab.sh down NAME...                     gone, with all that was on it;  ls  shows them
#   tools/board_lab.sh folder                           where all of it lies: FER_EDGE_LAB or a cache folder
# Needs Debian and root. A board reaches this machine as 10.77.0.1 and nothing beyond: it has no internet.
# What is not like a real one: speed, no /proc/device-tree, no camera, one disk with this machine, and half as much again of
# --memory for the emulator's own.
set -euo pipefail
LAB=${FER_EDGE_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/fer-edge/lab}
BRIDGE=fer-lab; NET=10.77.0
stop() { echo "board_lab: $*" >&2; exit 1; }
say() { echo "board_lab: $*" >&2; }
folder_of() { [[ ${1:-} =~ ^[a-z][a-z0-9-]{0,10}$ ]] || stop "a board's name is up to 11 of a-z, 0-9 and -"; echo "$LAB/boards/$1"; }
value() { cat "$LAB/boards/$1/$2"; }
alive() { [ -e "$LAB/boards/$1/pid" ] && kill -0 "$(value "$1" pid)" 2>/dev/null; }

need() {  # need PROGRAM:PACKAGE...
  local PAIR MISSING=()
  for PAIR in "$@"; do command -v "${PAIR%%:*}" >/dev/null || MISSING+=("${PAIR##*:}"); done
  [ ${#MISSING[@]} -gt 0 ] || return 0
  say "installing ${MISSING[*]}"
  { apt-get update -q && apt-get install -y -q --no-install-recommends "${MISSING[@]}"; } >/dev/null
}

register_qemu() {
  # C: setuid programs (sudo) work; F: the emulator is held open, so it need not be inside the root.
  mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc ||
    stop "this machine's kernel gives no binfmt_misc"
  [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] ||
    sed 's/:OPF/:OCPF/' /usr/lib/binfmt.d/qemu-aarch64.conf | tr -d '\n' > /proc/sys/fs/binfmt_misc/register
  grep -q '^flags:.*C.*F' /proc/sys/fs/binfmt_misc/qemu-aarch64 ||
    stop "qemu-aarch64 is registered without the flags C and F; unregister it: echo -1 > /proc/sys/fs/binfmt_misc/qemu-aarch64"
}

prepare() {
  [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] || stop "this needs Debian and root"
  need mmdebstrap:mmdebstrap systemd-nspawn:systemd-container ip:iproute2 ssh-keygen:openssh-client \
    arch-test:arch-test qemu-aarch64-static:qemu-user-static
  register_qemu
  mkdir -p "$LAB/boards"; chmod 700 "$LAB"
  [ -e "$LAB/key" ] || ssh-keygen -q -t ed25519 -N '' -C board-lab -f "$LAB/key"
}

debian() {  # VARIANT FOLDER PACKAGES...: an aarch64 Debian 12 from where this machine's apt gets its packages
  # Both forms of apt's lists: "URIs: PLACE" and "deb [options] PLACE suite".
  local MIRROR VARIANT=$1 FOLDER=$2; shift 2
  MIRROR=$( (cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list || true) 2>/dev/null |
    sed -n -E 's/^URIs:[[:space:]]*([^[:space:]]+).*/\1/p; s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+).*/\2/p' |
    head -n 1)
  [ -n "$MIRROR" ] || stop "this machine's apt names no place to get packages from"
  rm -rf --one-file-system "$FOLDER"
  mmdebstrap --quiet --variant="$VARIANT" --arch=arm64 --aptopt='Acquire::Check-Valid-Until "false"' \
    "${@/#/--include=}" bookworm "$FOLDER" "$MIRROR" >&2
}

build() {
  prepare
  [ ! -e "$LAB/root.tar" ] || { say "$LAB/root.tar is there"; return 0; }
  say "fetching and configuring an aarch64 Debian: 5 minutes"
  # Like a stock image there is no python3-venv and no rsync in it. Its own list of mirrors stays empty.
  debian minbase "$LAB/root.new" systemd,systemd-sysv,udev,dbus,libpam-systemd,openssh-server,python3,sudo,iproute2 \
    procps,kmod,ca-certificates,libstdc++6
  rm -rf "$LAB/root.new"/{etc/apt/sources.list*,var/lib/apt/lists/*,etc/ssh/ssh_host_*,usr/share/doc,usr/share/man,usr/share/locale}
  make_user "$LAB/root.new"
  tar -C "$LAB/root.new" --numeric-owner -cf "$LAB/root.tar.part" .
  mv "$LAB/root.tar.part" "$LAB/root.tar"; rm -rf "$LAB/root.new"
}

make_user() {  # ROOT: user pi with sudo without a password, as the Imager makes it; no logins by password
  local ROOT=$1 FILE
  for FILE in passwd group; do [ -f "$ROOT/etc/$FILE" ] || stop "$ROOT/etc/$FILE is missing"; done
  echo 'pi:x:1000:1000::/home/pi:/bin/bash' >> "$ROOT/etc/passwd"; echo 'pi:*:19000:0:99999:7:::' >> "$ROOT/etc/shadow"
  echo 'pi:x:1000:' >> "$ROOT/etc/group"
  install -d -o 1000 -g 1000 "$ROOT/home/pi" && install -d -m 700 -o 1000 -g 1000 "$ROOT/home/pi/.ssh"
  echo 'pi ALL=(ALL) NOPASSWD: ALL' > "$ROOT/etc/sudoers.d/010_pi-nopasswd"
  chmod 440 "$ROOT/etc/sudoers.d/010_pi-nopasswd"
  ln -sf /dev/null "$ROOT/etc/systemd/system/systemd-networkd-wait-online.service"
  # mmdebstrap copies this machine's.
  : > "$ROOT/etc/machine-id"; : > "$ROOT/etc/resolv.conf"
  # qemu-user takes no new mount calls, which credentials need; none are given here.
  local UNIT
  for UNIT in systemd-sysusers systemd-tmpfiles-setup systemd-tmpfiles-setup-dev systemd-tmpfiles-clean; do
    mkdir -p "$ROOT/usr/lib/systemd/system/$UNIT.service.d"
    printf '[Service]\nLoadCredential=\n' > "$ROOT/usr/lib/systemd/system/$UNIT.service.d/board-lab.conf"
  done
}

cpu_of() { case $1 in pi4) echo cortex-a72 ;; pi5) echo cortex-a76 ;; *) stop "--as $1: expected pi4 or pi5" ;; esac; }

cpuinfo() {  # KIND: /proc/cpuinfo of that board. LiteRT's XNNPACK chooses its kernels by it, and falls over the host's.
  local FEATURES PART TAIL CORE VARIANT NUMBER REVISION
  if [ "$1" = pi4 ]; then
    FEATURES="fp asimd evtstrm crc32 cpuid"; PART="0x0 0xd08 3"; TAIL="c03114 Raspberry Pi 4 Model B Rev 1.4"
  else
    FEATURES="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
    PART="0x4 0xd0b 1"; TAIL="c04170 Raspberry Pi 5 Model B Rev 1.0"
  fi
  read -r VARIANT NUMBER REVISION <<< "$PART"
  for CORE in 0 1 2 3; do
    printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: %s\n' "$CORE" "$FEATURES"
    printf 'CPU implementer\t: 0x41\nCPU architecture: 8\n'
    printf 'CPU variant\t: %s\nCPU part\t: %s\nCPU revision\t: %s\n\n' "$VARIANT" "$NUMBER" "$REVISION"
  done
  printf 'Revision\t: %s\nSerial\t\t: 10000000abcdef01\nModel\t\t: %s\n' "${TAIL%% *}" "${TAIL#* }"
}

meminfo() {  # BYTES: what a board of so much memory says; the cgroup alone would leave the host's figure to be read
  local KB=$(($1 / 1024))
  printf 'MemTotal:       %8d kB\nMemFree:        %8d kB\nMemAvailable:   %8d kB\n' "$KB" $((KB * 6 / 10)) $((KB * 7 / 10))
  printf 'Buffers:        %8d kB\nCached:         %8d kB\nSwapTotal:      %8d kB\nSwapFree:       %8d kB\n' 0 $((KB / 10)) 0 0
}

furnish() {  # NAME KIND BYTES: what makes the unpacked root this very board
  local ROOT="$LAB/boards/$1/root"
  echo "$1" > "$ROOT/etc/hostname"; printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" > "$ROOT/etc/hosts"
  rm -f "$ROOT/etc/ssh/ssh_host_"*
  ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$ROOT/etc/ssh/ssh_host_ed25519_key"
  printf 'HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nUseDNS no\n' > "$ROOT/etc/ssh/sshd_config.d/lab.conf"
  # A service with ProtectProc= gets a /proc of its own, in which the host's processor would be seen: hence twice.
  local UNITS="$ROOT/usr/lib/systemd/system" HERE=/usr/lib/board-lab
  mkdir -p "$UNITS/sysinit.target.wants" "$UNITS/fer-edge.service.d" "$ROOT$HERE"
  # qemu-user takes the core from the environment, which sudo, systemd and the deployed agent each make anew; with any other
  # core than /proc/cpuinfo says, LiteRT computes nonsense. So each Python starts through a few lines that set it.
  mv "$ROOT/usr/bin/python3.11" "$ROOT$HERE/python3.11"
  printf '#!/bin/bash\nQEMU_CPU=%s exec -a "$0" %s/python3.11 "$@"\n' "$(cpu_of "$2")" "$HERE" > "$ROOT/usr/bin/python3.11"
  chmod 755 "$ROOT/usr/bin/python3.11"
  cpuinfo "$2" > "$ROOT$HERE/cpuinfo"; meminfo "$3" > "$ROOT$HERE/meminfo"
  printf '[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n[Service]\nType=oneshot\nExecStart=mount --bind %s/cpuinfo /proc/cpuinfo\nExecStart=mount --bind %s/meminfo /proc/meminfo\n' \
    "$HERE" "$HERE" > "$UNITS/board-lab.service"
  ln -sf ../board-lab.service "$UNITS/sysinit.target.wants/board-lab.service"
  printf '[Service]\nBindReadOnlyPaths=%s/cpuinfo:/proc/cpuinfo %s/meminfo:/proc/meminfo\n' "$HERE" "$HERE" \
    > "$UNITS/fer-edge.service.d/board-lab.conf"
  install -m 600 -o 1000 -g 1000 "$LAB/key.pub" "$ROOT/home/pi/.ssh/authorized_keys"
}

wire() {  # NAME ADDRESS: a network namespace that reaches this machine and the other boards
  ip link show "$BRIDGE" >/dev/null 2>&1 ||
    { ip link add "$BRIDGE" type bridge && ip address add "$NET.1/24" dev "$BRIDGE" && ip link set "$BRIDGE" up; }
  ip netns add "fer-$1"
  ip link add "fl-$1" type veth peer name eth0 netns "fer-$1"
  ip link set "fl-$1" master "$BRIDGE" up
  ip -n "fer-$1" link set lo up; ip -n "fer-$1" address add "$2/24" dev eth0; ip -n "fer-$1" link set eth0 up
}

free_address() {
  local LAST
  for LAST in $(seq 2 250); do
    grep -qsx "$NET.$LAST" "$LAB"/boards/*/address || { echo "$NET.$LAST"; return; }
  done
  stop "no address is left"
}

up() {
  local NAME=$1 KIND=pi4 MEMORY=512M ADDRESS="" OPT="" AT BYTES; AT=$(folder_of "$NAME"); shift
  while [ $# -gt 0 ]; do
    case $1 in
      --as) KIND=$2 ;; --memory) MEMORY=$2 ;; --address) ADDRESS=$2 ;; --opt) OPT=$2 ;;
      *) stop "$1 is no option of up" ;;
    esac
    shift 2
  done
  cpu_of "$KIND" >/dev/null; BYTES=$(numfmt --from=iec "$MEMORY")
  [ -e "$LAB/root.tar" ] || build
  prepare
  [ ! -e "$AT" ] || { start "$NAME"; return; }
  ADDRESS=${ADDRESS:-$(free_address)}
  [[ $ADDRESS == "$NET".* ]] || stop "--address $ADDRESS: expected one of $NET.0/24"
  mkdir -p "$AT/root"
  echo "$KIND" > "$AT/kind"; echo "$ADDRESS" > "$AT/address"; echo "$BYTES" > "$AT/memory"
  tar -C "$AT/root" --numeric-owner -xf "$LAB/root.tar"
  furnish "$NAME" "$KIND" "$BYTES"
  [ -z "$OPT" ] || { truncate -s "$OPT" "$AT/opt.disk" && mkfs.ext4 -q -F -m 0 "$AT/opt.disk"; }
  wire "$NAME" "$ADDRESS"
  start "$NAME"
}

start() {
  local NAME=$1 AT; AT=$(folder_of "$NAME")
  ! alive "$NAME" || stop "$NAME runs already"
  register_qemu
  [ ! -e "$AT/opt.disk" ] || mountpoint -q "$AT/root/opt" || mount -o loop "$AT/opt.disk" "$AT/root/opt"
  setsid "$0" run-board "$NAME" </dev/null >>"$AT/console" 2>&1 &
  echo $! > "$AT/pid"
  await "$NAME"
}

run_board() {  # in the background: the board, again after each reboot
  local AT="$LAB/boards/$1" GROUP="/sys/fs/cgroup/memory/fer-lab-$1" CODE
  if [ -d /sys/fs/cgroup/memory ]; then
    # Half as much again for the emulators: each program's own keeps its translated code, 20 to 60 MB that no board has to
    # find. systemd, its journal, sshd and a login take 190 MB here.
    mkdir -p "$GROUP"; echo $(($(cat "$AT/memory") * 3 / 2)) > "$GROUP/memory.limit_in_bytes"; echo $$ > "$GROUP/cgroup.procs"
  else
    echo "no memory cgroup here: the limit is only said, not enforced"
  fi
  while :; do
    CODE=0
    systemd-nspawn -q -D "$AT/root" --machine="$1" --register=no --keep-unit --boot \
      --network-namespace-path="/run/netns/fer-$1" --kill-signal=SIGRTMIN+3 \
      --resolv-conf=off --timezone=off --link-journal=no || CODE=$?
    [ "$CODE" = 133 ] || break  # 133: it asked for a reboot
  done
  echo "ended with $CODE"
}

ssh_to() {  # ssh closes what it inherits, so that <(ssh_config) is gone when it reads it
  local NAME=$1; shift
  ssh_config > "$LAB/ssh_config.$$" && mv "$LAB/ssh_config.$$" "$LAB/ssh_config"
  ssh -F "$LAB/ssh_config" "$NAME" "$@" </dev/null
}

await() {  # NAME: until ssh answers
  local TRY
  for TRY in $(seq 90); do
    alive "$1" || { tail -n 20 "$LAB/boards/$1/console" >&2; stop "$1 did not boot; its console is $LAB/boards/$1/console"; }
    ssh_to "$1" -o ConnectTimeout=5 true 2>/dev/null && { say "$1 answers at $(value "$1" address)"; return; }
    sleep 1
  done
  stop "$1 does not answer; its console is $LAB/boards/$1/console"
}

cut() {  # the power goes: everything in it dies at once
  local AT; AT=$(folder_of "$1")
  alive "$1" || stop "$1 does not run"
  kill -STOP "$(value "$1" pid)"
  pkill_tree "$(value "$1" pid)"
  while alive "$1"; do sleep 0.1; done
}

pkill_tree() {  # PID: it and all below it, the children first stopped so that none starts another
  local CHILD
  kill -STOP "$1" 2>/dev/null || return 0
  for CHILD in $(ps -o pid= --ppid "$1"); do pkill_tree "$CHILD"; done
  kill -KILL "$1" 2>/dev/null || true
}

reboot_board() {
  local BEFORE AFTER TRY
  BEFORE=$(ssh_to "$1" cat /proc/sys/kernel/random/boot_id)
  ssh_to "$1" sudo systemctl reboot || true
  for TRY in $(seq 120); do
    sleep 1; alive "$1" || stop "$1 went down and did not come back"
    AFTER=$(ssh_to "$1" -o ConnectTimeout=5 cat /proc/sys/kernel/random/boot_id 2>/dev/null) || continue
    [ "$AFTER" = "$BEFORE" ] || { say "$1 is back"; return; }
  done
  stop "$1 did not come back"
}

down() {
  local NAME AT
  for NAME in "$@"; do
    AT=$(folder_of "$NAME"); [ -e "$AT" ] || { say "there is no board $NAME"; continue; }
    ! alive "$NAME" || cut "$NAME"
    ip netns delete "fer-$NAME" 2>/dev/null || true
    ip link delete "fl-$NAME" 2>/dev/null || true
    ! [ -d "/sys/fs/cgroup/memory/fer-lab-$NAME" ] || rmdir "/sys/fs/cgroup/memory/fer-lab-$NAME" || true
    ! mountpoint -q "$AT/root/opt" || umount "$AT/root/opt"
    rm -rf --one-file-system "$AT"
  done
  [ -n "$(ls -A "$LAB/boards" 2>/dev/null)" ] || ip link delete "$BRIDGE" 2>/dev/null || true
}

ssh_config() {
  local AT NAME
  for AT in "$LAB"/boards/*; do
    [ -e "$AT/address" ] || continue
    NAME=$(basename "$AT")
    echo "$(cat "$AT/address") $(awk '{ print $1, $2 }' "$AT/root/etc/ssh/ssh_host_ed25519_key.pub")" > "$AT/known_hosts"
    host_entry "$NAME" "$(cat "$AT/address")" "$AT/known_hosts"
  done
}

host_entry() {  # NAME ADDRESS KNOWN_HOSTS
  printf 'Host %s\n  HostName %s\n  User pi\n  IdentityFile %s\n  IdentitiesOnly yes\n' "$1" "$2" "$LAB/key"
  printf '  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n' "$3"
}

list() {
  local AT NAME
  for AT in "$LAB"/boards/*; do
    [ -e "$AT/address" ] || continue
    NAME=$(basename "$AT")
    printf '%-12s %-12s %-5s %5d MiB  %s\n' "$NAME" "$(cat "$AT/address")" "$(cat "$AT/kind")" \
      $(($(cat "$AT/memory") >> 20)) "$(alive "$NAME" && echo running || echo off)"
  done
}

[ "${BASH_SOURCE[0]}" = "$0" ] || return 0  # read by board_vm.sh
COMMAND=${1:-}; [ $# -eq 0 ] || shift
case $COMMAND in
  build) build ;;
  up | cut | reboot | run-board) [ $# -gt 0 ] || stop "$COMMAND needs the board's name"
    case $COMMAND in reboot) reboot_board "$1" ;; run-board) run_board "$1" ;; *) "$COMMAND" "$@" ;; esac ;;
  down) down "$@" ;;
  ssh-config) ssh_config ;;
  ls) list ;;
  folder) echo "$LAB" ;;
  *) sed -n '2,/^set /p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 2 ;;
esac
