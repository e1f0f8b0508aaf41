#!/bin/sh
# Python's sockets talk to an echo server of kolk's, and a client of kolk's to
# a server in Python.
#
#   tests/peers/python.sh PEER
#
# SPDX-License-Identifier: MIT
set -eu
peer=$1
# shellcheck source=tests/peers/common.sh
. "$(dirname "$0")/common.sh"
need python3
need timeout
client=$(dirname "$0")/client.py
export PYTHONDONTWRITEBYTECODE=1

for kind in tcp udp; do
    start "$here/$kind" '^[0-9]' "$peer" "$kind"
    timeout 60 python3 "$client" "$kind" "$(cat "$here/$kind")" ||
        fail "Python's client by $kind"
    stop "$last"
done
start "$here/unix" socket "$peer" unix "$here/socket"
timeout 60 python3 "$client" unix "$here/socket" ||
    fail "Python's client by a Unix socket"
stop "$last"

start "$here/server" '^[0-9]' python3 "$client" serve
for size in small large; do
    timeout 30 "$peer" connect 127.0.0.1 "$(cat "$here/server")" \
        <"$here/$size" >"$here/back"
    same "$here/$size" "$here/back" "a client to Python, $size"
done
