#!/usr/bin/env bash
# fetch_trixie.sh FOLDER PACKAGE…: unpacks packages of Debian 13 into FOLDER/root; nothing is
# installed. FOLDER/run PROGRAM … runs one of their programs with the libraries that it was
# built for. Needs apt.
set -euo pipefail
folder=$(realpath -m "${1:?usage: fetch_trixie.sh FOLDER PACKAGE…}")
if [[ $folder/done -nt ${BASH_SOURCE[0]} ]]; then exit; fi
echo "Downloading about 30 MB of Debian's ${*:2} ..."
rm -rf "$folder"
mkdir -p "$folder"/{lists,cache/archives}/partial "$folder/root"
touch "$folder/status"

# The mirror from which this machine gets its own packages.
mirror=$(grep -rhoE '(http|https)://[^ ]*debian/?( |$)' /etc/apt/ | head -n 1)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} trixie main" \
  > "$folder/sources.list"
apt_get() {
  apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists="$folder/lists" -o Dir::State::status="$folder/status" \
    -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root \
    -o Acquire::Languages=none -o Acquire::Retries=5 "$@"
}
apt_get update
apt_get install --download-only --yes --no-install-recommends "${@:2}" libc6 > /dev/null
for package in "$folder"/cache/archives/*.deb; do
  dpkg-deb -x "$package" "$folder/root"
done
rm -rf "$folder"/{cache,lists}

cat > "$folder/run" <<'END'
#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)/root
program=$(find "$root/usr/lib/android-sdk" "$root/usr/bin" -name "$1" -type f | head -n 1)
shift
libraries=$(find "$root" -name '*.so*' -printf '%h\n' | sort -u | tr '\n' ':')
loader=$(find "$root" -name ld-linux-x86-64.so.2 -type f | head -n 1)
exec "$loader" --library-path "$libraries" "$program" "$@"
END
chmod +x "$folder/run"
touch "$folder/done"
