#!/bin/bash
# Formats every C file of the project; with --check, only names those that
# would change and fails if there are any.
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(find include src tests examples bench python \
    -name '*.[ch]' 2>/dev/null | sort)
if [ "${1:-}" = --check ]; then
    clang-format --dry-run -Werror "${files[@]}"
else
    clang-format -i "${files[@]}"
fi
