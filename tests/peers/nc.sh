#!/bin/sh
# netcat talks to an echo server of kolk's, and a client of kolk's to netcat.
#
#   tests/peers/nc.sh PEER
#
# SPDX-License-Identifier: MIT
set -eu
peer=$1
# shellcheck source=tests/peers/common.sh
. "$(dirname "$0")/common.sh"
need nc
need timeout
# Options and messages are those of netcat-openbsd.
nc -h 2>&1 | grep -q OpenBSD || {
    echo "skipped: another netcat"
    exit 77
}

# ---- netcat as the client ----

start "$here/tcp" '^[0-9]' "$peer" tcp
tcp=$last port=$(cat "$here/tcp")
for size in small large; do
    timeout 30 nc -N 127.0.0.1 "$port" <"$here/$size" >"$here/back"
    same "$here/$size" "$here/back" "nc to a server, $size"
done
# Several at a time, one of which is killed in the middle.
many=""
for i in 1 2 3 4 5; do
    timeout 30 nc -N 127.0.0.1 "$port" <"$here/large" >"$here/back.$i" &
    many="$many $!"
done
nc 127.0.0.1 "$port" </dev/zero >/dev/null &
doomed=$!
sleep 0.2
kill -KILL "$doomed"
wait "$doomed" 2>/dev/null || true
for pid in $many; do
    wait "$pid" || fail "nc"
done
for i in 1 2 3 4 5; do
    same "$here/large" "$here/back.$i" "nc $i of 5"
done
stop "$tcp"

start "$here/unix" socket "$peer" unix "$here/socket"
timeout 30 nc -N -U "$here/socket" <"$here/large" >"$here/back"
same "$here/large" "$here/back" "nc to a Unix socket"
stop "$last"
[ ! -e "$here/socket" ] || fail "the socket's file is left"

start "$here/udp" '^[0-9]' "$peer" udp
timeout 30 nc -u -w 1 127.0.0.1 "$(cat "$here/udp")" <"$here/small" \
    >"$here/back"
same "$here/small" "$here/back" "nc by UDP"
stop "$last"

# ---- netcat as the server ----

# It sends a file, and keeps what it receives. The client keeps its side open
# until it has all, because netcat may leave at the other's end of stream.
listen() {
    rm -f "$here/says" "$here/got" "$here/back"
    : >"$here/says"
    : >"$here/back"
    timeout 30 nc -N -v "$@" <"$here/large" >"$here/got" 2>"$here/says" &
    nc_pid=$!
    pids="$pids $nc_pid"
    for _ in $(seq 200); do
        grep -qi "^listening" "$here/says" && return 0
        sleep 0.05
    done
    cat "$here/says"
    fail "nc does not listen"
}

talk() {
    all=$(wc -c <"$here/large")
    {
        cat "$here/small"
        for _ in $(seq 500); do
            [ "$(wc -c <"$here/back")" -lt "$all" ] || break
            sleep 0.02
        done
    } | timeout 30 "$peer" "$@" >"$here/back"
    wait "$nc_pid" || fail "nc: status $?"
}

listen -l 127.0.0.1 0
port=$(sed -n 's/^Listening on .* \([0-9][0-9]*\)$/\1/p' "$here/says")
talk connect 127.0.0.1 "$port"
same "$here/large" "$here/back" "from nc to a client"
same "$here/small" "$here/got" "from a client to nc"

listen -l -U "$here/other"
talk connect-unix "$here/other"
same "$here/large" "$here/back" "from nc to a client by a Unix socket"
same "$here/small" "$here/got" "from a client to nc by a Unix socket"

# Nobody there: an error, not a wait.
if timeout 10 "$peer" connect 127.0.0.1 1 </dev/null 2>"$here/says"; then
    fail "connected to nobody"
fi
grep -q refused "$here/says" || fail "$(cat "$here/says")"
