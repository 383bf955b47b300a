#!/usr/bin/env bash
# S3 by Ceph's radosgw, over a throw-away cluster of one monitor and one storage daemon in memory.
#
#     tests/servers/radosgw.sh [PORT]
#
# Needs radosgw, ceph-mon, ceph-osd and ceph-common (ci/install-servers). Runs as root or not, listens on
# 127.0.0.1 only. Prints NAME=VALUE lines and READY once it answers, then stays in the foreground;
# SIGTERM or SIGINT ends all three daemons and removes their data.
set -euo pipefail

free_port() { # below the range from which the kernel takes the ports of connections
    local port
    while port=$((20000 + RANDOM % 12000)); do
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

port=${1:-0}
[ "$port" != 0 ] || port=$(free_port)
monitor_port=$(free_port)
while [ "$monitor_port" = "$port" ]; do monitor_port=$(free_port); done
access_key=AVCTESTACCESSKEY0001
secret_key=avctestsecretkeyavctestsecretkey000000001

data=$(mktemp -d "${TMPDIR:-/tmp}/avc-radosgw.XXXXXX")
daemons=()
stop() { # not asked to end by themselves: they would write their memory to disk first
    status=$?
    trap - EXIT INT TERM
    for pid in ${daemons[@]+"${daemons[@]}"}; do kill -9 "$pid" 2>/dev/null || :; done
    wait 2>/dev/null || :
    if [ "$status" -ne 0 ]; then tail -n 20 "$data"/log/*.out >&2 2>/dev/null || :; fi
    rm -rf "$data"
    exit "$status"
}
trap stop EXIT
trap 'exit 0' INT TERM

mkdir -p "$data"/{mon,osd,run,log}
fsid=$(cat /proc/sys/kernel/random/uuid)
cat >"$data/ceph.conf" <<CONF
[global]
fsid = $fsid
mon host = v2:127.0.0.1:$monitor_port
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
keyring = $data/keyring
run dir = $data/run
log file = $data/log/\$name.log
admin socket = $data/run/\$name.asok
pid file = $data/run/\$name.pid
crash dir = $data/log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd max object name len = 1024
osd enable op tracker = false
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
debug ms = 0/0
debug mon = 0/0
debug monc = 0/0
debug paxos = 0/0
debug osd = 0/0
debug rgw = 0/0
debug objecter = 0/0
debug objclass = 0/0
[mon.a]
mon data = $data/mon
mon data avail warn = 2
mon data avail crit = 1
[osd]
osd objectstore = memstore
osd data = $data/osd
osd memory target = 939524096
memstore device bytes = 4294967296
[client.rgw]
rgw data = $data
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw dns name = 127.0.0.1
rgw thread pool size = 32
rgw enable usage log = false
rgw enable ops log = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw run sync thread = false
rgw dynamic resharding = false
rgw override bucket index max shards = 4
rgw gc max objs = 1
rgw lc max objs = 1
rgw usage max shards = 1
CONF
conf=(-c "$data/ceph.conf")

run() { # what it is to be called in the log, and the command
    local log=$data/log/$1.out
    shift
    "$@" >"$log" 2>&1
}

for who in mon. client.admin client.rgw osd.0; do
    may=(--cap mon 'allow *' --cap osd 'allow *')
    [ $who != osd.0 ] || may=(--cap mon 'allow profile osd' --cap osd 'allow *')
    new=()
    [ -e "$data/keyring" ] || new=(--create-keyring)
    run keys ceph-authtool "$data/keyring" ${new[@]+"${new[@]}"} --gen-key -n $who "${may[@]}"
done
run map monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$monitor_port]" "$data/monmap"
run make-mon ceph-mon "${conf[@]}" --mkfs -i a --monmap "$data/monmap" --keyring "$data/keyring"
ceph-mon "${conf[@]}" -i a -f >"$data/log/mon.out" 2>&1 &
daemons+=($!)
osd=$(cat /proc/sys/kernel/random/uuid)
run new-osd ceph "${conf[@]}" --connect-timeout 20 osd new "$osd"
run make-osd ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$osd"
ceph-osd "${conf[@]}" -i 0 -f >"$data/log/osd.out" 2>&1 &
daemons+=($!)
radosgw "${conf[@]}" -n client.rgw -f >"$data/log/radosgw.out" 2>&1 &
gateway=$!
daemons+=("$gateway")
for _ in $(seq 240); do
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    kill -0 "$gateway" 2>/dev/null || exit 1
    sleep 0.25
done
run user radosgw-admin "${conf[@]}" -n client.rgw user create --uid avc --display-name avc \
    --access-key "$access_key" --secret-key "$secret_key"

echo "AWS_ENDPOINT_URL=http://127.0.0.1:$port"
echo "AWS_ACCESS_KEY_ID=$access_key"
echo "AWS_SECRET_ACCESS_KEY=$secret_key"
echo "AWS_DEFAULT_REGION=us-east-1"
echo "SERVER_PID=$$"
echo "SERVER_DATA=$data"
echo READY
wait "$gateway"
