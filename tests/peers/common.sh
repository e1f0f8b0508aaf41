# What the scripts of this folder share: servers in the background, and files.
# SPDX-License-Identifier: MIT
# shellcheck shell=sh

here=$(mktemp -d)
pids=""
clean_up() {
    for pid in $pids; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$here"
}
trap clean_up EXIT

fail() {
    echo "FAILED: $1"
    exit 1
}

# Ends with status 77, which is "skipped", unless there is the program $1.
need() {
    command -v "$1" >/dev/null || {
        echo "skipped: no $1 here"
        exit 77
    }
}

# Runs a server in the background, with its output in the file $1, and waits
# until that has a line matching $2.
start() {
    file=$1 pattern=$2
    shift 2
    : >"$file"
    "$@" >"$file" 2>&1 &
    last=$!
    pids="$pids $last"
    for _ in $(seq 200); do
        grep -q "$pattern" "$file" && return 0
        kill -0 "$last" 2>/dev/null || break
        sleep 0.05
    done
    cat "$file"
    fail "$* says nothing"
}

# Ends the server $1 as systems do; it has to end well.
stop() {
    kill -TERM "$1"
    wait "$1" || fail "status $? after SIGTERM"
}

same() {
    cmp "$1" "$2" || fail "$3"
    echo "$3: ok"
}

head -c 3000000 /dev/urandom >"$here/large"
printf 'hello\n' >"$here/small"
