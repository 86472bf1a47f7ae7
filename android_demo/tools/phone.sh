#!/usr/bin/env bash
# phone.sh ADB FOLDER PORT: a real adbd whose device is FOLDER, until stdin ends. ADB is
# the folder from fetch_trixie.sh. It listens in a separate network, since it accepts anybody;
# an adb server runs there too. FOLDER/pid is a process in that network, for nsenter.
#
# FOLDER/system/bin comes first in the PATH of the device: getprop and similar programs go
# there. FOLDER/shim has libraries that let programs for Android run (shim.py). The storage of
# the device has 12 MB. A line on stdin starts another adbd after the first was killed;
# FOLDER/adbd.pid is that of the last one.
#
# Needs root. PORT must not be odd and from 5555 to 5585: adb takes those for emulators.
set -euo pipefail
export adb=$(realpath "$1") folder=$(realpath "$2") port=$3
exec unshare --net --mount --propagation private bash -euc '
ip link set lo up
cd "$folder"
mkdir -p usr etc proc dev adb data/local/tmp system/bin shim
for name in bin sbin lib lib64; do ln -sfn "usr/$name" "$name"; done
mount --rbind /usr usr
mount --bind /etc etc
mount --rbind /dev dev
mount --bind "$adb" adb
mount -t proc proc proc
mount -t tmpfs -o size=12m tmpfs data/local/tmp
cp -L /lib64/ld-linux-x86-64.so.2 system/bin/linker64
"$adb/run" adb -P "$ANDROID_ADB_SERVER_PORT" nodaemon server > server.log 2>&1 &
server=$!
start() {
  ADBD_PORT=$port LD_LIBRARY_PATH=/shim PATH=/system/bin:/usr/bin:/usr/sbin \
    chroot . /adb/run adbd > adbd.log 2>&1 &
  echo $! > adbd.pid
}
start
echo $$ > pid
while read -r; do start; done
kill "$server" "$(cat adbd.pid)" 2> /dev/null || true
wait
'
