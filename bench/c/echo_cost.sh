#!/bin/sh
# echo_cost.sh - system calls and user-space instructions per echoed message.
# SPDX-License-Identifier: MIT
#
#     echo_cost.sh folder-of-the-programs
#
# Counts that do not depend on the neighbours: kolk's echo servers (operations,
# callbacks, streams) against the bare ones, with strace and with callgrind. Each is run with two numbers of
# messages; the difference leaves start and connections out. It is slow, so it
# is no part of run.sh. Instructions are counted on epoll only: a server on
# io_uring gets no completions under valgrind.
#
# CONNECTIONS="1 10 200"  SIZES=1024  MESSAGES=2000  what, and how much of it
set -u

if [ $# -ne 1 ] || [ ! -x "$1/kolk_echo" ]; then
    echo "usage: $0 folder-of-the-programs, kolk_echo among them" >&2
    exit 2
fi
programs=$(cd "$1" && pwd)
connections=${CONNECTIONS:-1 10 200}
messages=${MESSAGES:-2000}
sizes=${SIZES:-1024}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

has() {
    command -v "$1" >/dev/null 2>&1
}

# load CONNECTIONS MESSAGES COMMAND...
load() {
    load_connections=$1 load_messages=$2
    shift 2
    timeout 120 "$programs/echo_load" -c "$load_connections" -s $size \
        -m "$load_messages" "$@" >/dev/null
}

# calls CONNECTIONS SERVER: "name number" of each system call per message that
# is made at least once in a hundred messages. The load sends a tenth more
# than it counts.
calls() {
    load "$1" "$messages" strace -D -f -c -o "$work/few" "$2"
    load "$1" $((messages * 11)) strace -D -f -c -o "$work/many" "$2"
    awk -v messages="$((messages * 11))" '
        FNR == 1 { file++ }
        $1 ~ /^[0-9.]+$/ && $NF != "total" {
            count[$NF] += file == 1 ? -$4 : $4
        }
        END {
            for (name in count) {
                each = count[name] / messages
                if (each >= 0.01) {
                    printf "%s %.2f\n", name, each
                }
            }
        }' "$work/few" "$work/many" | sort | tr '\n' ',' \
        | sed 's/,$//; s/,/, /g'
}

collected() {
    awk '/Collected/ { print $NF }' "$1"
}

# instructions CONNECTIONS SERVER: executed outside the kernel, per message.
instructions() {
    load "$1" "$messages" valgrind --tool=callgrind \
        --callgrind-out-file=/dev/null --log-file="$work/few" "$2"
    load "$1" $((messages * 6)) valgrind --tool=callgrind \
        --callgrind-out-file=/dev/null --log-file="$work/many" "$2"
    echo "$(collected "$work/few") $(collected "$work/many")" \
        | awk -v messages="$((messages * 11 / 2))" '
            NF == 2 { printf "%.0f", ($2 - $1) / messages; next }
            { printf "-" }'
}

# row NAME BACKEND CONNECTIONS SERVER
row() {
    calls="(no strace)" instructions=-
    has strace && calls=$(calls "$3" "$4")
    [ "$2" = epoll ] && has valgrind && instructions=$(instructions "$3" "$4")
    echo "| $1 | $2 | $3 | $size | $instructions | $calls |"
}

echo "| | backend | connections | bytes | instructions a message |" \
    "system calls a message |"
echo "|---|---|---|---|---|---|"
for size in $sizes; do
    for count in $connections; do
        export KOLK_BACKEND=epoll
        row bare epoll "$count" "$programs/bare_echo_epoll"
        row operations epoll "$count" "$programs/kolk_echo"
        row callbacks epoll "$count" "$programs/kolk_transport_echo"
        row stream epoll "$count" "$programs/kolk_stream_echo"
        if [ -x "$programs/bare_echo_uring" ]; then
            export KOLK_BACKEND=io_uring
            row bare io_uring "$count" "$programs/bare_echo_uring"
            row operations io_uring "$count" "$programs/kolk_echo"
            row stream io_uring "$count" "$programs/kolk_stream_echo"
        fi
    done
done
