#!/usr/bin/env bash
# An aarch64 userland with this checkout's package in it, for qemu-user, from nothing in about a minute:
#   tools/arm_lab.sh FOLDER [PYTHON]
# FOLDER/root is a Debian like this one, FOLDER/site the Python packages, FOLDER/insn.so the counting plugin. Debian as
# root; 500 MB. Packages come from where this machine's apt and PYTHON's pip get theirs. A FOLDER/root that is there
# stays; the rest is made anew.
set -euo pipefail
FOLDER=$(realpath -m "${1:?usage: tools/arm_lab.sh FOLDER [PYTHON]}"); PYTHON=${2:-python3}
CHECKOUT=$(realpath "$(dirname "$0")/..")
stop() { echo "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] || stop "this needs Debian and root"
case $FOLDER/ in "$CHECKOUT"/*) stop "$FOLDER lies in the checkout; choose another folder" ;; esac

# Debian's qemu-user-static takes no plugins, hence qemu-user.
MISSING=()
for PAIR in qemu-aarch64:qemu-user mmdebstrap:mmdebstrap gcc:gcc git:git; do
  command -v "${PAIR%%:*}" >/dev/null || MISSING+=("${PAIR##*:}")
done
if [ ${#MISSING[@]} -gt 0 ]; then
  echo "installing ${MISSING[*]}" >&2
  { apt-get update -q && apt-get install -y -q --no-install-recommends "${MISSING[@]}"; } >/dev/null
fi

mkdir -p "$FOLDER"
if [ ! -d "$FOLDER/root" ]; then
  echo "fetching an aarch64 Debian" >&2
  . /etc/os-release
  # Both forms of apt's lists: "URIs: PLACE" and "deb [options] PLACE suite".
  MIRROR=$( (cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list || true) 2>/dev/null |
    sed -n -E 's/^URIs:[[:space:]]*([^[:space:]]+).*/\1/p; s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+).*/\2/p' |
    head -n 1)
  [ -n "$MIRROR" ] || stop "this machine's apt names no place to get packages from"
  rm -rf "$FOLDER/root.new"
  # Unpacked, not configured: nothing in it has to run for that.
  mmdebstrap --quiet --variant=extract --arch=arm64 --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=base-files,python3,libc-bin,libstdc++6 "$VERSION_CODENAME" "$FOLDER/root.new" "$MIRROR" >&2
  mv "$FOLDER/root.new" "$FOLDER/root"
fi

echo "building the package" >&2
rm -rf "$FOLDER/checkout" "$FOLDER/wheels" "$FOLDER/site"
mkdir "$FOLDER/checkout"
(cd "$CHECKOUT" && git -c safe.directory='*' ls-files -z -co --exclude-standard |
  while IFS= read -r -d '' NAME; do [ ! -f "$NAME" ] || printf '%s\0' "$NAME"; done |
  tar -c --null -T -) | tar -x -C "$FOLDER/checkout"
PIP=("$PYTHON" -m pip --disable-pip-version-check -q)
"${PIP[@]}" wheel --no-deps -w "$FOLDER/wheels" "$FOLDER/checkout"

echo "installing it and its aarch64 dependencies" >&2
THEIRS=$(cd "$FOLDER/root" && ls usr/bin/python3.*[0-9] | head -n 1)
PLATFORMS=(--platform manylinux2014_aarch64)
for GLIBC in 17 27 28 34 35 36; do PLATFORMS+=(--platform "manylinux_2_${GLIBC}_aarch64"); done
"${PIP[@]}" install --target "$FOLDER/site" --only-binary=:all: "${PLATFORMS[@]}" --implementation cp \
  --python-version "${THEIRS#usr/bin/python}" -c "$CHECKOUT/constraints.txt" "$FOLDER"/wheels/*.whl

gcc -shared -fPIC -O2 -Wall -Wextra -o "$FOLDER/insn.so" "$CHECKOUT/tools/insn.c"
