#!/bin/sh
# Runs a program that has to succeed and to print a line that matches.
#
#   tests/examples/says.sh PATTERN PROGRAM [ARGUMENT ...]
#
# SPDX-License-Identifier: MIT
set -eu
pattern=$1
shift
output=$("$@") || {
    status=$?
    echo "$output"
    echo "ended with status $status"
    exit 1
}
echo "$output"
echo "$output" | grep -Eq -e "$pattern" || {
    echo "no line like: $pattern"
    exit 1
}
