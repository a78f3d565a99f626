#!/usr/bin/env bash
# A whole machine that takes itself for a Raspberry Pi 4: aarch64 Debian 12 with its own kernel, disk, /proc/device-tree and
# a V4L2 camera (the kernel's virtual one, vivid), in qemu. What board_lab.sh's containers lack; slower than they are.
#   tools/board_vm.sh build                                   once; up does it, too
#   tools/board_vm.sh up NAME [--memory 1G] [--port 2222]     boots, from the disk of that name if there is one
#   tools/board_vm.sh cut NAME                                the power cut: what was not on the disk is lost
#   tools/board_vm.sh down NAME                               gone, with its disk
#   tools/board_vm.sh ssh-config                              for ssh -F and fer-edge deploy --ssh-config
# Needs Debian and root, and board_lab.sh's root, which it builds. The machine reaches nothing; ssh reaches it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/board_lab.sh"
MACHINES="$LAB/machines"; KERNEL="$LAB/kernel"
MODULES="virtio_pci virtio_blk virtio_net ext4 vivid"
ADDRESS=10.0.2.15  # of qemu's own network

running() { [ -e "$MACHINES/$1/pid" ] && kill -0 "$(cat "$MACHINES/$1/pid")" 2>/dev/null; }

build_kernel() {
  need qemu-system-aarch64:qemu-system-arm mkfs.ext4:e2fsprogs modprobe:kmod cpio:cpio fdtput:device-tree-compiler
  [ ! -e "$KERNEL/initrd" ] || return 0
  say "fetching a kernel"
  # Unpacked, not configured: nothing in it has to run here.
  debian extract "$LAB/kernel.new" linux-image-arm64,busybox-static
  local VERSION FILE AT=100 WORK="$LAB/kernel.new/initrd.root"
  VERSION=$(ls "$LAB/kernel.new/usr/lib/modules" 2>/dev/null || ls "$LAB/kernel.new/lib/modules")
  depmod -b "$LAB/kernel.new" "$VERSION"
  mkdir -p "$WORK"/{bin,modules,proc,sys,dev,disk}
  cp "$LAB/kernel.new/bin/busybox" "$WORK/bin/busybox"
  for FILE in $MODULES; do modprobe -d "$LAB/kernel.new" -S "$VERSION" --show-depends "$FILE"; done |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r FILE; do
      AT=$((AT + 1)); cp "$FILE" "$WORK/modules/$AT-${FILE##*/}"
    done
  cat > "$WORK/init" <<'END'
#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc none /proc; $B mount -t sysfs none /sys; $B mount -t devtmpfs none /dev
for FILE in /modules/*; do
  case $FILE in *-vivid.ko*) $B insmod "$FILE" n_devs=1 node_types=0x1 ;; *) $B insmod "$FILE" ;; esac
done
$B ip link set lo up; $B ip address add 10.0.2.15/24 dev eth0; $B ip link set eth0 up
$B mount -t ext4 /dev/vda /disk || exec $B sh
for FOLDER in proc sys dev; do $B mount -o move /$FOLDER /disk/$FOLDER; done
exec $B switch_root /disk /sbin/init
END
  chmod +x "$WORK/init"
  (cd "$WORK" && find . | cpio -o -H newc --quiet | gzip -1) > "$LAB/kernel.new/initrd"
  cp "$LAB/kernel.new/boot/vmlinuz-$VERSION" "$LAB/kernel.new/vmlinuz"
  mkdir -p "$KERNEL"; mv "$LAB/kernel.new/vmlinuz" "$KERNEL/"; mv "$LAB/kernel.new/initrd" "$KERNEL/"
  rm -rf "$LAB/kernel.new"
}

build_machine() { prepare; build; build_kernel; }

make_disk() {  # NAME
  local AT="$MACHINES/$1" ROOT="$MACHINES/$1/root"
  mkdir -p "$ROOT"; tar -C "$ROOT" --numeric-owner -xf "$LAB/root.tar"
  echo "$1" > "$ROOT/etc/hostname"; printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" > "$ROOT/etc/hosts"
  rm -f "$ROOT/etc/ssh/ssh_host_"*
  ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$ROOT/etc/ssh/ssh_host_ed25519_key"
  cp "$ROOT/etc/ssh/ssh_host_ed25519_key.pub" "$AT/host_key.pub"
  install -m 600 -o 1000 -g 1000 "$LAB/key.pub" "$ROOT/home/pi/.ssh/authorized_keys"
  mkfs.ext4 -q -F -d "$ROOT" "$AT/disk.part" 4G
  rm -rf "$ROOT"; mv "$AT/disk.part" "$AT/disk"
}

qemu() {  # NAME WORDS...
  local AT="$MACHINES/$1"; shift
  ${EXEC:-} qemu-system-aarch64 -cpu cortex-a72 -smp 2 -m "$(cat "$AT/memory")" -display none -no-reboot -monitor none -serial "file:$AT/console" \
    -kernel "$KERNEL/vmlinuz" -initrd "$KERNEL/initrd" -append "console=ttyAMA0 quiet panic=-1" \
    -drive "file=$AT/disk,format=raw,if=none,id=disk" -device virtio-blk-pci,drive=disk \
    -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$(cat "$AT/port")-$ADDRESS:22" -device virtio-net-pci,netdev=net,romfile= "$@"
}

up_machine() {
  local NAME=$1 MEMORY=1G PORT=2222 AT; folder_of "$NAME" >/dev/null; AT="$MACHINES/$NAME"; shift
  while [ $# -gt 0 ]; do
    case $1 in --memory) MEMORY=$2 ;; --port) PORT=$2 ;; *) stop "$1 is no option of up" ;; esac; shift 2
  done
  build_machine
  ! running "$NAME" || stop "$NAME runs already"
  if [ ! -e "$AT/disk" ]; then
    mkdir -p "$AT"; echo "$MEMORY" > "$AT/memory"; echo "$PORT" > "$AT/port"
    make_disk "$NAME"
  fi
  # qemu's own description of the machine, under a Raspberry Pi's name.
  qemu "$NAME" -M "virt,dumpdtb=$AT/tree" >&2
  fdtput -t s "$AT/tree" / model "Raspberry Pi 4 Model B Rev 1.4"
  fdtput -t s "$AT/tree" / compatible raspberrypi,4-model-b brcm,bcm2711
  setsid "$0" run-machine "$NAME" </dev/null >"$AT/log" 2>&1 &
  echo $! > "$AT/pid"
  await_machine "$NAME"
}

await_machine() {
  local TRY
  for TRY in $(seq 150); do
    running "$1" || { tail -n 20 "$MACHINES/$1/log" "$MACHINES/$1/console" >&2; stop "$1 did not boot"; }
    ssh_machine "$1" -o ConnectTimeout=10 true 2>/dev/null && { say "$1 answers at port $(cat "$MACHINES/$1/port")"; return; }
    sleep 2
  done
  stop "$1 does not answer; its console is $MACHINES/$1/console"
}

ssh_machine() {
  local NAME=$1; shift
  machine_config > "$LAB/ssh_config_vm.$$" && mv "$LAB/ssh_config_vm.$$" "$LAB/ssh_config_vm"
  ssh -F "$LAB/ssh_config_vm" "$NAME" "$@" </dev/null
}

machine_config() {
  local AT PORT
  for AT in "$MACHINES"/*/; do
    [ -e "$AT/host_key.pub" ] || continue
    PORT=$(cat "$AT/port")
    echo "[127.0.0.1]:$PORT $(awk '{ print $1, $2 }' "$AT/host_key.pub")" > "$AT/known_hosts"
    host_entry "$(basename "$AT")" 127.0.0.1 "$AT/known_hosts"; printf '  Port %s\n' "$PORT"
  done
}

cut_machine() {
  running "$1" || stop "$1 does not run"
  kill -KILL "$(cat "$MACHINES/$1/pid")"
  while running "$1"; do sleep 0.1; done
}

COMMAND=${1:-}; [ $# -eq 0 ] || shift
case $COMMAND in
  up | cut | down | run-machine) [ $# -gt 0 ] || stop "$COMMAND needs the machine's name"
    case $COMMAND in
      up) up_machine "$@" ;;
      cut) cut_machine "$1" ;;
      down) ! running "$1" || cut_machine "$1"; folder_of "$1" >/dev/null; rm -rf "${MACHINES:?}/$1" ;;
      run-machine) AT="$MACHINES/$1"; EXEC=exec qemu "$1" -M virt -dtb "$AT/tree" ;;
    esac ;;
  build) build_machine ;;
  ssh-config) machine_config ;;
  *) sed -n '2,/^set /p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 2 ;;
esac
