#!/bin/sh
# Runs a command where there is a camera: in a small virtual machine whose kernel brings its virtual one (vivid), on this
# machine's own files, read-only. For V4L2 tests on a machine without cameras or kernel modules (a container, CI):
#   tools/with_vivid.sh .venv/bin/python -m pytest -p no:cacheprovider -s -m hardware tests/test_cameras.py
# Debian as root: apt-get install qemu-system-x86 busybox-static kmod cpio. Without KVM it boots in about 10 s.
set -eu
WORK=$(mktemp -d); trap 'rm -rf "$WORK"' EXIT
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/fer-edge-vivid
if [ ! -d "$CACHE/lib/modules" ]; then
  NAME=$(apt-cache depends linux-image-amd64 | awk '/Depends/ { print $2; exit }')
  mkdir -p "$CACHE"
  (cd "$WORK" && apt-get -q download "$NAME" && dpkg-deb -x ./*.deb "$CACHE" && rm ./*.deb)
  depmod -b "$CACHE" "$(ls "$CACHE/lib/modules")"
fi
KERNEL=$(ls "$CACHE/lib/modules")

mkdir -p "$WORK/root/modules" "$WORK/root/host" "$WORK/root/proc" "$WORK/root/sys" "$WORK/root/dev" "$WORK/root/bin"
cp "$(command -v busybox)" "$WORK/root/bin/busybox"
AT=100
for MODULE in virtio_pci 9pnet_virtio 9p vivid; do
  modprobe -d "$CACHE" -S "$KERNEL" --show-depends "$MODULE" | awk '{ print $2 }'
done | awk '!seen[$0]++' | while read -r FILE; do
  AT=$((AT + 1)); cp "$FILE" "$WORK/root/modules/$AT-${FILE##*/}"
done
QUOTED=; for WORD in "$@"; do QUOTED="$QUOTED '$(printf %s "$WORD" | sed "s/'/'\\\\''/g")'"; done
cat > "$WORK/root/command" <<EOF
export PATH='$PATH' HOME=/run TMPDIR=/run PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1
cd '$PWD' && $QUOTED; echo "with_vivid: exit \$?"
EOF
cat > "$WORK/root/init" <<'EOF'
#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc none /proc; $B mount -t sysfs none /sys; $B mount -t devtmpfs none /dev
for FILE in /modules/*; do
  case $FILE in *-vivid.ko*) $B insmod "$FILE" n_devs=1 node_types=0x1 ;; *) $B insmod "$FILE" ;; esac
done
$B mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,ro,msize=524288 host /host
for FOLDER in proc sys dev; do $B mount -o bind /$FOLDER /host/$FOLDER; done
$B mount -t tmpfs none /host/run; $B cp /command /host/run/command
$B chroot /host /bin/sh /run/command
$B poweroff -f
EOF
chmod +x "$WORK/root/init"
(cd "$WORK/root" && find . | cpio -o -H newc --quiet | gzip -1) > "$WORK/initrd"
timeout "${LIMIT_S:-600}" qemu-system-x86_64 -accel "${ACCEL:-tcg}" -cpu max -smp 2 -m 2048 -nographic -no-reboot \
  -kernel "$CACHE/boot/vmlinuz-$KERNEL" -initrd "$WORK/initrd" -append "console=ttyS0 quiet loglevel=3 panic=-1" \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap </dev/null | tee "$WORK/log"
grep -q "with_vivid: exit 0" "$WORK/log"
