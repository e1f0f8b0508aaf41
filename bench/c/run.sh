#!/bin/sh
# run.sh - runs every benchmark side by side and writes one table.
# SPDX-License-Identifier: MIT
#
#     run.sh folder-of-the-programs
#
# In each round every question goes to every program that has an answer, one
# right after the other, each in a process of its own; so a ratio compares
# neighbours in time. table.awk turns the answers into medians and ratios.
#
# ROUNDS=5     rounds
# QUICK=1      one round, without the largest sizes: does everything work?
# ONLY=echo    the questions whose name matches this pattern of case, only
# ECHO_MS=200  how long one echo measurement lasts
set -u

if [ $# -ne 1 ] || [ ! -x "$1/echo_load" ]; then
    echo "usage: $0 folder-of-the-programs" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
programs=$(cd "$1" && pwd)
command="$(env | grep -E '^(ROUNDS|QUICK|ONLY|ECHO_MS)=' | tr '\n' ' ')$0 $*"
quick=${QUICK:-}
rounds=${ROUNDS:-${quick:+1}}
rounds=${rounds:-5}
only=${ONLY:-*}
echo_ms=${ECHO_MS:-${quick:+100}}
echo_ms=${echo_ms:-200}
results=$programs/results.tsv
table=$programs/bench.md
no_answer=64
failures=0
# What waits for another thread of its own runs on one processor, this one.
processor=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')

# Does the task benchmark of a million fit into memory, with 8 GB to spare for
# two programs that follow each other?
memory_sizes() {
    available=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
    if [ -z "$quick" ] && [ "$available" -gt 8000000 ]; then
        echo 100000 1000000
    else
        echo 100000
    fi
}

# answer ROUND WHO PATTERN COMMAND...: runs it and keeps the lines whose
# metric matches the pattern.
answer() {
    round=$1 who=$2 pattern=$3
    shift 3
    output=$(timeout 120 "$@" </dev/null)
    status=$?
    if [ $status -ne 0 ] && [ $status -ne $no_answer ]; then
        echo "failed ($status): $*" >&2
        failures=$((failures + 1))
    fi
    printf '%s\n' "$output" | grep -E "^($pattern)@" \
        | sed "s/^/$round\t$who\t/" >>"$results"
}

# ask ROUND PATTERN QUESTION SIZE [PREFIX...]: puts one question to all.
ask() {
    ask_round=$1 ask_pattern=$2 question=$3 size=$4
    shift 4
    for who in bare kolk; do
        program=$programs/${who}_$question
        if [ -x "$program" ]; then
            answer "$ask_round" $who "$ask_pattern" "$@" "$program" "$size"
        fi
    done
    for who in $peers; do
        answer "$ask_round" "$who" "$ask_pattern" "$@" \
            "$programs/peer_$who" "$question" "$size"
    done
}

is_wanted() {
    # The pattern is meant to be one.
    # shellcheck disable=SC2254
    case $1 in
    $only) return 0 ;;
    *) return 1 ;;
    esac
}

ask_sizes() {
    sizes_round=$1 sizes_pattern=$2 sizes_question=$3
    shift 3
    is_wanted "$sizes_question" || return 0
    for size in "$@"; do
        ask "$sizes_round" "$sizes_pattern" "$sizes_question" "$size"
    done
}

# On one processor for the cost, on all of them for the time that passes.
ask_threads() {
    is_wanted "$2" || return 0
    ask "$1" "$2" "$2" 1 taskset -c "$processor"
    ask "$1" "${2}_wall" "$2" 1
}

# A virtual machine may have to fetch each page from its host at the first
# touch, which takes longer than all the rest: the first run fetches them and
# does not count.
ask_memory() {
    is_wanted memory || return 0
    for size in $(memory_sizes); do
        answer "$1" bare none "$programs/bare_memory" "$size"
        ask "$1" 'idle_bytes|create' memory "$size"
    done
}

# ask_echo ROUND CONNECTIONS SIZE
ask_echo() {
    round=$1
    load="$programs/echo_load -c $2 -s $3 -t $echo_ms"
    # The load is several words.
    # shellcheck disable=SC2086
    {
        answer "$round" bare echo $load "$programs/bare_echo_epoll"
        if [ -x "$programs/kolk_echo" ]; then
            answer "$round" kolk echo \
                env KOLK_BACKEND=epoll $load "$programs/kolk_echo"
        fi
        if [ -x "$programs/kolk_stream_echo" ]; then
            answer "$round" kolk echo_stream env KOLK_BACKEND=epoll \
                $load -n echo_stream "$programs/kolk_stream_echo"
        fi
        for who in $peers; do
            answer "$round" "$who" echo $load "$programs/peer_$who" echo
        done
        if [ -x "$programs/bare_echo_uring" ]; then
            answer "$round" bare echo_uring $load -n echo_uring \
                "$programs/bare_echo_uring"
            [ -x "$programs/kolk_echo" ] && answer "$round" kolk echo_uring \
                env KOLK_BACKEND=io_uring $load -n echo_uring \
                "$programs/kolk_echo"
        fi
    }
}

ask_echoes() {
    is_wanted echo || return 0
    if [ -n "$quick" ]; then
        ask_echo "$1" 10 1024
        ask_echo "$1" 200 1024
        return 0
    fi
    for echo_size in 64 1024 16384; do
        for connections in 1 10 200 1000; do
            ask_echo "$1" $connections $echo_size
        done
    done
}

# ask_tls_echo ROUND CONNECTIONS SIZE
ask_tls_echo() {
    [ -x "$programs/bare_tls_echo" ] || return 0
    tls_load="$programs/echo_load -T -c $2 -s $3 -t $echo_ms -n tls_echo"
    for who in bare kolk; do
        # The load is several words.
        # shellcheck disable=SC2086
        answer "$1" $who tls_echo \
            env KOLK_BACKEND=epoll $tls_load "$programs/${who}_tls_echo"
    done
}

ask_tls_echoes() {
    is_wanted tls_echo || return 0
    if [ -n "$quick" ]; then
        ask_tls_echo "$1" 10 1024
        return 0
    fi
    for echo_size in 64 1024 16384; do
        for connections in 10 200; do
            ask_tls_echo "$1" $connections $echo_size
        done
    done
}

ask_all() {
    ask_sizes "$1" yield yield 2 10000 100000
    ask_sizes "$1" spawn spawn 1 10000 100000
    ask_sizes "$1" queue queue 1 128
    ask_sizes "$1" 'lock_free|lock_handover' lock 1
    ask_sizes "$1" 'timer_[a-z]*' timers 100000 1000000
    ask_sizes "$1" accept accept 1 64
    ask_threads "$1" executor
    ask_threads "$1" wake
    ask_memory "$1"
    ask_sizes "$1" 'connection_[a-z]*' connections 10000
    ask_sizes "$1" readline readline 64
    ask_sizes "$1" 'process_[a-z_]*' process 1
    ask_echoes "$1"
    ask_tls_echoes "$1"
}

describe() {
    echo "# Benchmarks"
    echo
    echo "- command: \`$command\`"
    echo "- processor: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)," \
        "$(nproc) of them; memory: $(awk '/^MemTotal/ {
            printf "%.0f GB", $2 / 1e6 }' /proc/meminfo)"
    echo "- kernel: $(uname -sr), $(uname -m)"
    echo "- compiler: $(cat "$programs/compiler.txt" 2>/dev/null)"
    echo "- rounds: $rounds, interleaved; load at the start:$load_average"
    echo "- missing:${missing:- nothing}"
    echo
}

missing=
peers=
for peer in libuv libev tokio go; do
    if [ -x "$programs/peer_$peer" ]; then
        peers="$peers $peer"
    else
        missing="$missing $peer"
    fi
done
[ -x "$programs/bare_echo_uring" ] || missing="$missing liburing"
[ -x "$programs/bare_tls_echo" ] || missing="$missing OpenSSL"
[ -x "$programs/kolk_yield" ] || missing="$missing kolk"

load_average=$(uptime | sed 's/.*average://')
ulimit -n "$(ulimit -Hn)"
: >"$results"
current=1
while [ "$current" -le "$rounds" ]; do
    echo "round $current of $rounds" >&2
    ask_all "$current"
    current=$((current + 1))
done
{
    describe
    awk -f "$here/table.awk" -v peers="$peers" "$here/rows.tsv" "$results"
} >"$table"
cat "$table"
if [ $failures -gt 0 ]; then
    echo "$failures measurements failed" >&2
    exit 1
fi
