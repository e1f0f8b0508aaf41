#!/bin/bash
# Installs the Debian or Ubuntu packages that are missing for the named uses.
#
#   tools/setup.sh build|tls|test|python|check|bench|docs ...
#
# As root or through sudo, without a question. Where neither is possible it
# names the command to run and ends with status 1. Elsewhere than on Debian it
# leaves the system alone: the build says what it does not find.
#
# SPDX-License-Identifier: MIT
set -euo pipefail

build="gcc libc6-dev make cmake ninja-build pkg-config liburing-dev
    libssl-dev"
tls="openssl"
test="$build $tls libcmocka-dev gdb curl netcat-openbsd python3"
python="python3-dev python3-venv"
check="g++ clang clang-tidy clang-format libclang-rt-dev valgrind
    qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross musl-tools"
bench="libuv1-dev libev-dev"
docs="python3-sphinx"

is_installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q ' installed$'
}

# The sanitizers' and the fuzzer's runtime has a version in its name on some
# releases, and is part of another package on others.
runtime_is_installed() {
    compgen -G "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*" \
        >/dev/null
}

list_missing() {
    local name
    for name in "$@"; do
        if [ "$name" = libclang-rt-dev ]; then
            runtime_is_installed || echo "$name"
        else
            is_installed "$name" || echo "$name"
        fi
    done
}

# `libclang-rt-dev` as this release calls it.
runtime_name() {
    local version
    version=$(apt-cache depends clang 2>/dev/null |
        sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -1)
    apt-cache search --names-only "^libclang-rt-(${version}-)?dev$" |
        cut -d ' ' -f 1 | head -1
}

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || exit 0
wanted=""
for use in "$@"; do
    wanted+=" ${!use}"
done
# shellcheck disable=SC2086 # a list of words
missing=$(list_missing $wanted | sort -u)
[ -n "$missing" ] || exit 0

root=""
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "Packages are missing. Install them by:"
        echo "    sudo apt-get install" $missing
        exit 1
    fi
    root="sudo -n"
fi
echo "installing:" $missing
log=$(mktemp)
trap 'rm -f "$log"' EXIT
$root apt-get update -q >"$log" 2>&1 || { cat "$log"; exit 1; }
if [[ $missing == *libclang-rt-dev* ]]; then
    missing=${missing/libclang-rt-dev/$(runtime_name)}
fi
$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
    --no-install-recommends $missing >"$log" 2>&1 || { cat "$log"; exit 1; }
