#!/bin/sh
# Runs clang-tidy over the library, the kit, the tests and the examples.
#
#   tools/tidy.sh [REGEX]     of the files, default all
#
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build/clang}
log=$build/tidy.log
CC=clang BUILD=$build tools/build.sh dev
if ! run-clang-tidy -quiet -p "$build" -j "${JOBS:-$(nproc)}" \
    "${1:-$PWD/(src|tests|examples)/}" >"$log" 2>&1; then
    grep -E '^/.*(warning|error):|^ +' "$log" || cat "$log"
    exit 1
fi
