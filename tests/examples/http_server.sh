#!/bin/sh
# Serves a folder of traps, lets the probe and, where there is one, curl at
# it, and ends the server as Ctrl-C does.
#
#   tests/examples/http_server.sh SERVER PROBE
#
# SPDX-License-Identifier: MIT
set -eu
server=$1 probe=$2
here=$(mktemp -d)
pid=""
clean_up() {
    if [ -n "$pid" ]; then
        kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -rf "$here"
}
trap clean_up EXIT

fail() {
    echo "FAILED: $1"
    exit 1
}

# ---- the folder ----

root=$here/root
mkdir -p "$root/folder" "$root/empty" "$root/index.html" "$here/root2"
echo secret >"$here/secret"
echo secret >"$here/root2/secret"
echo index >"$root/folder/index.html"
echo "with a space" >"$root/a file.txt"
echo hello >"$root/hello.txt"
echo odd >"$root/..odd"
: >"$root/nothing.css"
: >"$root/PICTURE.SVG"
head -c 1000000 /dev/urandom >"$root/large.bin"
mkfifo "$root/pipe"
ln -s hello.txt "$root/inside.txt"
ln -s ../secret "$root/outside.txt"
ln -s .. "$root/upwards"
ln -s /etc "$root/etc"
ln -s loop "$root/loop"

# ---- the server ----

# A background job of a script ignores SIGINT; the server takes it all the
# same, because it waits for the signal and needs no handler.
"$server" "$root" 0 >"$here/output" &
pid=$!
for _ in $(seq 100); do
    grep -q until "$here/output" && break
    sleep 0.05
done
url=$(grep -o 'http://[0-9.]*:[0-9]*' "$here/output") || fail "no server"

"$probe" "${url##*:}" "$root/large.bin" || fail "the probe"

# ---- with a client that others have written ----

if command -v curl >/dev/null; then
    get() { curl -s --path-as-is --max-time 10 "$@"; }
    expect() {
        expected=$1
        shift
        actual=$(get "$@")
        [ "$actual" = "$expected" ] || fail "$*: $actual"
    }
    status='%{http_code} %{content_type} %{num_connects}'
    expect hello "$url/hello.txt"
    expect "with a space" "$url/a%20file.txt"
    expect index "$url/folder"
    expect "200 text/css 1" -o /dev/null -w "$status" "$url/nothing.css"
    expect "200 image/svg+xml 1" -o /dev/null -w "$status" "$url/PICTURE.SVG"
    expect "404" -o /dev/null -w "%{http_code}" "$url/none"
    expect "400" -o /dev/null -w "%{http_code}" "$url/../secret"
    expect "405" -o /dev/null -w "%{http_code}" -d "body" "$url/hello.txt"
    expect "hello
hello" "$url/hello.txt" "$url/inside.txt"
    # The second of two requests needs no second connection.
    expect "1 0 " -o /dev/null -o /dev/null -w '%{num_connects} ' \
        "$url/hello.txt" "$url/nothing.css"
    get "$url/large.bin" | cmp - "$root/large.bin" || fail "large.bin"
    echo "curl: ok"
else
    echo "no curl: the probe alone"
fi

# ---- Ctrl-C ----

kill -INT "$pid"
wait "$pid" || fail "status $? after SIGINT"
pid=""
