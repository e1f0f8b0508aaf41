#!/bin/sh
# Configures and builds one preset.
#
#   tools/build.sh PRESET [CMAKE-ARGUMENT ...]
#
# BUILD names another build folder than the preset's. Quiet unless it fails.
#
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
preset=$1
shift
build=${BUILD:-build/$preset}
log=$build/build.log
mkdir -p "$build"
if [ ! -e "$build/CMakeCache.txt" ] && command -v ninja >/dev/null; then
    export CMAKE_GENERATOR="${CMAKE_GENERATOR:-Ninja}"
fi
echo "building $build"
if ! cmake --preset "$preset" -B "$build" "$@" >"$log" 2>&1 ||
    ! cmake --build "$build" -j "${JOBS:-$(nproc)}" >>"$log" 2>&1; then
    cat "$log"
    exit 1
fi
