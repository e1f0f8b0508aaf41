#!/bin/sh
# Builds one preset and runs its tests.
#
#   tools/test.sh PRESET [CMAKE-ARGUMENT ...]
#
# BUILD names another build folder, SELECT further arguments of ctest. Shows
# what fails, and ends with the line "N passed, N failed[, N skipped]".
#
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build/$1}
BUILD=$build tools/build.sh "$@"

results=$PWD/$build/results.xml
case $build in /*) results=$build/results.xml ;; esac
rm -f "$results"
# shellcheck disable=SC2086 # SELECT is a list of words
ctest --test-dir "$build" -j "${JOBS:-$(nproc)}" --output-on-failure \
    --output-junit "$results" ${SELECT:-} |
    sed -u -E '/^ +Start +[0-9]+:/d; / +(Passed|\*+Skipped) +[0-9.]+ sec$/d' ||
    true

# The number in the attribute $1 of the results.
count() {
    sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" "$results" | head -1
}
total=$(count tests) failed=$(count failures) skipped=$(count skipped)
line="$((total - failed - skipped)) passed, $failed failed"
if [ "$skipped" -gt 0 ]; then
    line="$line, $skipped skipped"
fi
echo "$line"
[ "$failed" -eq 0 ] && [ "$total" -gt 0 ]
