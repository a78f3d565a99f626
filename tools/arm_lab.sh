#!/usr/bin/env bash
# An aarch64 userland with this checkout's package in it, for qemu-user, from nothing in a minute or two:
#   tools/arm_lab.sh FOLDER [PYTHON [EXTRAS]]
# FOLDER/root is a Debian like this one, FOLDER/site the Python packages with those of EXTRAS ("onnx,openvino"),
# FOLDER/python runs the emulated Python on the core that QEMU_CPU names, FOLDER/insn.so is the counting plugin. Debian
# as root; 500 MB. Packages come from where this machine's apt and PYTHON's pip get theirs. What is there and still
# right stays; the package itself is made anew. Exit code 69: this machine does not allow it.
set -euo pipefail
FOLDER=$(realpath -m "${1:?usage: tools/arm_lab.sh FOLDER [PYTHON [EXTRAS]]}"); PYTHON=${2:-python3}; EXTRAS=${3:-}
CHECKOUT=$(realpath "$(dirname "$0")/..")
stop() { echo "$*" >&2; exit 69; }
[ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null || stop "this needs Debian and root"
GIT=(git -C "$CHECKOUT" -c safe.directory='*')
case $FOLDER/ in "$CHECKOUT"/*)
  "${GIT[@]}" check-ignore -q "$FOLDER" || stop "$FOLDER lies in the checkout and git does not ignore it; choose another folder" ;;
esac
mkdir -p "$FOLDER"
exec 9>"$FOLDER/lock"
flock 9  # two of them at once would spoil each other's folders

# Debian's qemu-user-static takes no plugins, hence qemu-user.
MISSING=()
for PAIR in qemu-aarch64:qemu-user mmdebstrap:mmdebstrap gcc:gcc git:git; do
  command -v "${PAIR%%:*}" >/dev/null || MISSING+=("${PAIR##*:}")
done
if [ ${#MISSING[@]} -gt 0 ]; then
  echo "installing ${MISSING[*]}" >&2
  APT=(apt-get -q -o DPkg::Lock::Timeout=300)
  export DEBIAN_FRONTEND=noninteractive
  for TRY in 1 2 3; do
    "${APT[@]}" install -y --no-install-recommends "${MISSING[@]}" >/dev/null 2>&1 && MISSING=() && break
    "${APT[@]}" update >/dev/null 2>&1 || sleep 5  # another apt may hold its lists
  done
  [ ${#MISSING[@]} -eq 0 ] || stop "apt cannot install ${MISSING[*]}"
fi

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
    --include=base-files,python3,libc-bin,libstdc++6 "$VERSION_CODENAME" "$FOLDER/root.new" "$MIRROR" >&2 ||
    stop "an aarch64 Debian could not be fetched"
  mv "$FOLDER/root.new" "$FOLDER/root"
fi

echo "building the package" >&2
rm -rf "$FOLDER/checkout" "$FOLDER/wheels"
mkdir "$FOLDER/checkout"
(cd "$CHECKOUT" && "${GIT[@]}" ls-files -z -co --exclude-standard |
  while IFS= read -r -d '' NAME; do [ ! -f "$NAME" ] || printf '%s\0' "$NAME"; done |
  tar -c --null -T -) | tar -x -C "$FOLDER/checkout"
PIP=("$PYTHON" -m pip --disable-pip-version-check -q)
# What builds is there already where `make` made the environment; elsewhere pip fetches it.
ALONE=(); "$PYTHON" -c 'import setuptools, sys; sys.exit(int(setuptools.__version__.split(".")[0]) < 77)' 2>/dev/null &&
  ALONE=(--no-build-isolation)
"${PIP[@]}" wheel --no-deps "${ALONE[@]}" -w "$FOLDER/wheels" "$FOLDER/checkout"

THEIRS=$(cd "$FOLDER/root" && ls usr/bin/python3.*[0-9] | head -n 1)
KEY=$( (cat "$CHECKOUT"/pyproject.toml "$CHECKOUT"/constraints.txt; echo "$THEIRS $EXTRAS") | sha256sum)
if [ ! -d "$FOLDER/site" ] || [ "$(cat "$FOLDER/site.key" 2>/dev/null)" != "$KEY" ]; then
  echo "installing it and its aarch64 dependencies" >&2
  rm -rf "$FOLDER/site" "$FOLDER/site.key" "$FOLDER/site.new"
  PLATFORMS=(--platform manylinux2014_aarch64)
  for GLIBC in 17 27 28 34 35 36; do PLATFORMS+=(--platform "manylinux_2_${GLIBC}_aarch64"); done
  WHEEL=$(ls "$FOLDER"/wheels/*.whl)
  "${PIP[@]}" install --target "$FOLDER/site.new" --only-binary=:all: "${PLATFORMS[@]}" --implementation cp \
    --python-version "${THEIRS#usr/bin/python}" -c "$CHECKOUT/constraints.txt" "$WHEEL${EXTRAS:+[$EXTRAS]}" ||
    stop "the aarch64 packages could not be fetched"
  mv "$FOLDER/site.new" "$FOLDER/site"
  echo "$KEY" >"$FOLDER/site.key"
fi
rm -rf "$FOLDER"/site/fer_edge
"$PYTHON" -m zipfile -e "$FOLDER"/wheels/*.whl "$FOLDER/site"

# A Python that starts itself again must be emulated again, whatever this machine does with foreign programs.
cat >"$FOLDER/python" <<END
#!/bin/sh
export PYTHONPATH='$FOLDER/site' PYTHONNOUSERSITE=1
exec qemu-aarch64 -L '$FOLDER/root' '$FOLDER/root/$THEIRS' "\$@"
END
chmod +x "$FOLDER/python"
echo "import sys; sys.executable = '$FOLDER/python'" >"$FOLDER/site/sitecustomize.py"

gcc -shared -fPIC -O2 -Wall -Wextra -o "$FOLDER/insn.so" "$CHECKOUT/tools/insn.c"
