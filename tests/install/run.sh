#!/bin/bash
# Installs a build into an empty folder, and builds programs against it.
#
#   tests/install/run.sh BUILD
#
# By find_package(kolk) and by kolk.pc, shared and static, with every compiler
# of gcc, clang, g++ and clang++ that is here. Each program is run.
#
# SPDX-License-Identifier: MIT
set -euo pipefail
source=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

cmake --install "$build" --prefix "$prefix/usr" >"$prefix/log"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix/usr" -name kolk.pc)")
LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH")
export PKG_CONFIG_PATH LD_LIBRARY_PATH
# The file names the folder it was configured for; this one is elsewhere.
pkg_config="pkg-config --define-variable=prefix=$prefix/usr"

leaked=$(nm -D --defined-only "$LD_LIBRARY_PATH/libkolk.so" |
    awk '$2 ~ /[A-Z]/ && $3 !~ /^kolk_/ {print $3}')
if [ -n "$leaked" ]; then
    echo "names that leak: $leaked"
    exit 1
fi

# Runs the program just built.
try() {
    "$2" || { echo "$1: fails"; exit 1; }
    echo "$1: works"
}

for compiler in gcc clang; do
    command -v $compiler >/dev/null || continue
    cmake -S "$source" -B "$prefix/$compiler" -DCMAKE_C_COMPILER=$compiler \
        -DCMAKE_PREFIX_PATH="$prefix/usr" >"$prefix/log"
    cmake --build "$prefix/$compiler" >"$prefix/log" ||
        { cat "$prefix/log"; exit 1; }
    try "find_package, $compiler, shared" "$prefix/$compiler/with_shared"
    try "find_package, $compiler, static" "$prefix/$compiler/with_static"
done
for compiler in gcc clang g++ clang++; do
    command -v $compiler >/dev/null || continue
    language=c
    [[ $compiler == *++ ]] && language=c++
    # shellcheck disable=SC2046 # lists of words
    $compiler -Wall -Wextra -Werror -x $language "$source/main.c" -x none \
        $($pkg_config --cflags --libs kolk) -o "$prefix/program"
    try "kolk.pc, $compiler, shared" "$prefix/program"
    # shellcheck disable=SC2046
    $compiler -Wall -Wextra -Werror -x $language "$source/main.c" -x none \
        $($pkg_config --cflags kolk) "$LD_LIBRARY_PATH/libkolk.a" \
        $($pkg_config --static --libs-only-l kolk | sed 's/-lkolk//') \
        -pthread -o "$prefix/program"
    try "kolk.pc, $compiler, static" "$prefix/program"
done
