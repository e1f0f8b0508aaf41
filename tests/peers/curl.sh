#!/bin/sh
# curl fetches from the example's web server, many things at a time.
#
#   tests/peers/curl.sh HTTP_SERVER
#
# SPDX-License-Identifier: MIT
set -eu
server=$1
# shellcheck source=tests/peers/common.sh
. "$(dirname "$0")/common.sh"
need curl

mkdir "$here/root"
cp "$here/large" "$here/root/large.bin"
cp "$here/small" "$here/root/small.txt"
start "$here/says" until "$server" "$here/root" 0
url=$(grep -o 'http://[0-9.]*:[0-9]*' "$here/says")

# The same connection, again and again.
: >"$here/urls"
for i in $(seq 200); do
    printf 'url = "%s/small.txt"\noutput = "%s/got.%d"\n' \
        "$url" "$here" "$i" >>"$here/urls"
done
connects=$(curl -s --max-time 30 -K "$here/urls" -w '%{num_connects}\n' |
    awk '{ sum += $1 } END { print sum }')
[ "$connects" = 1 ] || fail "200 requests took $connects connections"
for i in $(seq 200); do
    cmp -s "$here/small" "$here/got.$i" || fail "request $i of 200"
done
echo "200 requests on a connection: ok"

# Many connections at a time.
: >"$here/urls"
for i in $(seq 20); do
    printf 'url = "%s/large.bin"\noutput = "%s/large.%d"\n' \
        "$url" "$here" "$i" >>"$here/urls"
done
curl -s --max-time 60 --parallel --parallel-immediate -K "$here/urls" ||
    fail "status $?"
for i in $(seq 20); do
    same "$here/large" "$here/large.$i" "large file $i of 20"
done

# A client that reads slowly, and one that leaves in the middle.
curl -s --max-time 30 --limit-rate 1500K -o "$here/slow" "$url/large.bin" ||
    fail "the slow one: status $?"
same "$here/large" "$here/slow" "a slow client"
curl -s --max-time 0.3 --limit-rate 100K -o /dev/null "$url/large.bin" || true
curl -s --max-time 10 -o "$here/after" "$url/small.txt" || fail "status $?"
same "$here/small" "$here/after" "after one that left"

kill -INT "$last"
wait "$last" || fail "status $? after SIGINT"
