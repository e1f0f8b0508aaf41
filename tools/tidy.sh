#!/bin/sh
# Runs clang-tidy over the library, the kit, the tests and the examples.
#
#   tools/tidy.sh [REGEX]     of the files, default all
#
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build/tidy}
mkdir -p "$build"
log=$build/tidy.log
if ! CC=clang cmake --preset dev -B "$build" >"$log" 2>&1; then
    cat "$log"
    exit 1
fi
if ! run-clang-tidy -quiet -p "$build" -j "${JOBS:-$(nproc)}" \
    "${1:-$PWD/(src|tests|examples)/.*[.]c$}" >"$log" 2>&1; then
    sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^/.*(warning|error|note):' ||
        cat "$log"
    exit 1
fi
