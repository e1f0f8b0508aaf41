#!/bin/bash
# Builds the documentation: HTML and manual pages, below build/docs.
#
#   tools/docs.sh [FOLDER]
#
# A warning of Sphinx is an error. So is a name that a public header declares
# or mentions as `name(` and that has no manual page, and a source file that the
# map in ARCHITECTURE.md does not show.
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/docs}

export PYTHONDONTWRITEBYTECODE=1
for builder in html man; do
    sphinx-build -q -W --keep-going -b $builder -d "$out/.$builder" \
        docs "$out/$builder"
done

missing=0
for name in $(grep -ohE '\b(kolk|KOLK)_[A-Za-z0-9_]+\(' include/kolk/*.h |
    grep -v __ | tr -d '(' | sort -u); do
    if [ ! -e "$out/man/man3/$name.3" ]; then
        echo "no page has an entry for $name"
        missing=1
    fi
done
for file in src/*/* include/kolk/*; do
    if ! grep -q "\`${file##*/}\`" ARCHITECTURE.md; then
        echo "ARCHITECTURE.md does not show $file"
        missing=1
    fi
done
echo "$out/html/index.html"
echo "man -M $out/man kolk"
exit $missing
