#!/bin/bash
# Compiles each public header alone, as C11 and as C++11.
#
# CC and CXX name the compilers; without a C++ compiler that half is left out
# and the output says so.
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
cc=${CC:-gcc} cxx=${CXX:-g++}
warnings="-Wall -Wextra -Wshadow -Werror -fsyntax-only -Iinclude"

bad=0
count=0
for header in include/*.h include/kolk/*.h; do
    line="#include <${header#include/}>"
    count=$((count + 1))
    # shellcheck disable=SC2086 # a list of words
    $cc -std=c11 -Wstrict-prototypes $warnings -x c - <<<"$line" || bad=1
    if command -v "$cxx" >/dev/null; then
        # shellcheck disable=SC2086
        $cxx -std=c++11 $warnings -x c++ - <<<"$line" || bad=1
    fi
done
command -v "$cxx" >/dev/null || echo "no C++ compiler: as C only"
echo "$count headers"
exit $bad
