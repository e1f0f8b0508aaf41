#!/bin/sh
# Fetches through the proxy from the file server.
#
#   tests/examples/socks_proxy.sh PROXY SERVER
#
# SPDX-License-Identifier: MIT
set -eu
here=$(mktemp -d)
proxy="" server=""
clean_up() {
    for each in $proxy $server; do
        kill -KILL "$each" 2>/dev/null || true
    done
    rm -rf "$here"
}
trap clean_up EXIT

fail() {
    echo "FAILED: $1"
    cat "$here"/*.log
    exit 1
}

# The port that $1.log tells.
port_of() {
    for _ in $(seq 200); do
        grep -q until "$here/$1.log" 2>/dev/null && break
        sleep 0.05
    done
    sed -n 's/.*[a-z1]:\([0-9][0-9]*\).*until.*/\1/p' "$here/$1.log"
}

mkdir "$here/root"
head -c 300000 /dev/urandom >"$here/root/large.bin"
"$2" "$here/root" 0 >"$here/server.log" 2>&1 &
server=$!
"$1" 0 >"$here/proxy.log" 2>&1 &
proxy=$!
via=$(port_of proxy) to=$(port_of server)
for host in localhost 127.0.0.1; do
    curl -sS --max-time 20 --noproxy "" --socks5-hostname "127.0.0.1:$via" \
        "http://$host:$to/large.bin" >"$here/got" || fail "curl to $host"
    cmp "$here/got" "$here/root/large.bin" || fail "not the same bytes"
done
curl -s --max-time 20 --noproxy "" --socks5-hostname "127.0.0.1:$via" \
    "http://127.0.0.1:1/" >/dev/null && fail "a port where nobody listens"
echo "fetched through the proxy"
