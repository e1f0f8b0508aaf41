#!/bin/bash
# Everything that can be checked, step by step.
#
#   tools/check.sh [STEP ...]     default: all of them, in this order
#
# Each step has its own build folder below build/. The output names each step
# with its result and its time; it ends with status 1 if one failed.
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."

steps=(format layers docs tidy gcc clang release asan tsan hard valgrind fuzz
    aarch64 musl)

# What runs where programs run in an emulator. Valgrind does not see what the
# kernel writes for io_uring; what starts programs or compilers runs elsewhere.
emulated="-E ^(kit_selftest|headers|install|example|task_gdb)|[.]uring$"
# Nor is it for tests that fault on purpose, or use up mappings or descriptors.
# Children it makes in its own way, without pidfd_open(2), it watches what the
# kernel is to refuse, and it has a heap and descriptors of its own.
watched="$emulated|coro_overflow|guards_by_mprotect|without_a_free_descriptor"
watched+="|without_a_descriptor|a_refusal_is_returned_by"
watched+="|process_spawn.(what_cannot|an_environment_that|where_a_child_cannot)"
watched+="|process_stdio.*forked|soak_"
# qemu-user does not pass on the error queues of sockets, nor know every option
# of prctl(2) and setsockopt(2).
foreign="$emulated|each_error_is_returned_once|an_error_wakes_who_waits"
foreign+="|a_note_in_the_error_queue|an_error_of_an_earlier|no_icmp_error_of"
foreign+="|killed_with_its_parent|19000|udp_associations"
export emulated watched foreign

step_format() { tools/format.sh --check; }
step_layers() { tools/check_layers.sh; }
step_docs() { tools/docs.sh; }
step_tidy() { tools/tidy.sh; }
step_gcc() { CC=gcc tools/test.sh dev; }
step_clang() { CC=clang BUILD=build/clang tools/test.sh dev; }
step_release() { CC=gcc tools/test.sh release -DKOLK_TESTS=ON; }
step_asan() { CC=clang tools/test.sh asan; }
step_tsan() { CC=clang tools/test.sh tsan; }

step_hard() {
    CC=gcc BUILD=build/hard SELECT="-L hard" tools/test.sh dev \
        -DKOLK_HARD=ON -DKOLK_TEST_SCALE=2
    sed -n 's/.*\(hard: .* calls tried.*\)/\1/p' build/hard/results.xml |
        awk '{tried += $2; calls += $4}
            END {print "hard: " tried " of " calls " calls tried"}'
}

step_valgrind() {
    local launcher="valgrind;--quiet;--error-exitcode=9;--leak-check=full"
    CC=gcc BUILD=build/valgrind SELECT=$watched tools/test.sh dev \
        "-DKOLK_TEST_LAUNCHER=$launcher" -DKOLK_TEST_SCALE=1 \
        -DKOLK_TEST_TIMEOUT=300 -DKOLK_EXAMPLES=OFF
}

step_fuzz() {
    local seconds=${FUZZ_SECONDS:-60} target
    CC=clang BUILD=build/fuzz tools/build.sh dev -DKOLK_FUZZ=ON \
        -DKOLK_SANITIZE=fuzzer-no-link,address,undefined -DKOLK_EXAMPLES=OFF
    for target in build/fuzz/tests/fuzz_*; do
        [ -x "$target" ] || continue
        if ! "$target" -max_total_time="$seconds" -timeout=20 \
            -artifact_prefix=build/fuzz/ >"$target.log" 2>&1; then
            tail -40 "$target.log"
            return 1
        fi
        echo "${target##*/}: $(grep -o '^Done.*' "$target.log")"
    done
}

step_aarch64() {
    echo "epoll only: qemu-user has no io_uring"
    BUILD=build/aarch64 SELECT=$foreign tools/test.sh dev \
        -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
        -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc \
        "-DKOLK_TEST_LAUNCHER=qemu-aarch64-static;-L;/usr/aarch64-linux-gnu" \
        -DKOLK_URING=OFF -DKOLK_TLS=OFF -DKOLK_CMOCKA=OFF \
        -DKOLK_TEST_SCALE=2 \
        -DKOLK_TEST_TIMEOUT=300 -DKOLK_EXAMPLES=OFF
}

step_musl() {
    echo "epoll only: no liburing for musl here, nor OpenSSL"
    CC=musl-gcc BUILD=build/musl SELECT=$emulated tools/test.sh dev \
        -DKOLK_URING=OFF -DKOLK_TLS=OFF -DKOLK_CMOCKA=OFF -DKOLK_EXAMPLES=OFF
}

[ $# -gt 0 ] || set -- "${steps[@]}"
failed=()
summary=""
for step in "$@"; do
    echo "==== $step"
    start=$SECONDS
    result=ok
    # In a shell of its own, so that the step ends at its first failure.
    bash -euo pipefail -c "$(declare -f "step_$step"); step_$step" ||
        { result=FAILED; failed+=("$step"); }
    summary+="check: $step: $result ($((SECONDS - start)) s)"$'\n'
done
echo "$summary"
[ ${#failed[@]} -eq 0 ]
