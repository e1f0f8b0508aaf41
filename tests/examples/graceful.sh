#!/bin/sh
# Ctrl-C while a request is being worked on: it is finished first.
#
#   tests/examples/graceful.sh PROGRAM
#
# SPDX-License-Identifier: MIT
set -eu
here=$(mktemp -d)
pid="" client=""
clean_up() {
    for each in $pid $client; do
        kill -KILL "$each" 2>/dev/null || true
    done
    rm -rf "$here"
}
trap clean_up EXIT

fail() {
    echo "FAILED: $1"
    cat "$here"/*
    exit 1
}

# Waits until $2 is in the file $1.
await_text() {
    for _ in $(seq 200); do
        grep -q "$2" "$here/$1" 2>/dev/null && return 0
        sleep 0.05
    done
    fail "no '$2' in $1"
}

# A background job of a script ignores SIGINT, and kolk_run() leaves that to it:
# so the shell gives the disposition back.
python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$1" >"$here/server" 2>&1 &
pid=$!
await_text server until
port=$(sed -n 's/^localhost:\([0-9]*\) .*/\1/p' "$here/server")

(echo request; sleep 3) | nc localhost "$port" >"$here/answer" &
client=$!
await_text answer working
kill -INT "$pid"
wait "$pid" || fail "status $?"
pid=""
await_text answer done
grep -q "all finished" "$here/server" || fail "not all finished"
echo "the request was finished"
