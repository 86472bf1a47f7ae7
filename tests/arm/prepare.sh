#!/usr/bin/env bash
# Prepares emulated arm64 in one folder: an unpacked Debian with Python, NumPy and LiteRT,
# qemu to run it, Zig to compile for it, llvm-mca to look at the result. Nothing is
# installed and root is not needed; Debian 12 with apt is.
set -euo pipefail
folder=$(realpath -m "${1:?usage: prepare.sh FOLDER}")
lock=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../.ci/constraints.txt")
root=$folder/root
done=$folder/prepared
if [[ $done -nt $lock && $done -nt ${BASH_SOURCE[0]} ]]; then exit; fi
echo "Downloading about 250 MB of arm64 Debian, its emulator and Zig ..."
rm -rf "$folder"

# An apt of its own: an empty status makes it fetch all dependencies.
apt=$folder/apt
mkdir -p "$apt"/{state/lists,cache/archives}/partial "$root"
touch "$apt/status"
host=$(dpkg --print-architecture)
apt_get() {
  apt-get -qq -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" \
    -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root \
    -o APT::Architecture=arm64 -o APT::Architectures="arm64,$host" \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=0 \
    -o Acquire::Languages=none -o Acquire::Retries=5 \
    "$@"
}
apt_get update
apt_get install --download-only --yes --no-install-recommends \
  libpython3.11-stdlib python3.11-minimal libstdc++6 "qemu-user:$host" "llvm-19:$host"
for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$root"; done
rm -rf "$apt"

pip_install() {
  "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --no-deps "$@"
}
pip_install --target "$folder/host" ziglang==0.17.1
pip_install --target "$root/site" --constraint "$lock" --only-binary=:all: \
  --python-version 3.11 --implementation cp --abi cp311 --abi none \
  --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
  ai-edge-litert numpy
touch "$done"
