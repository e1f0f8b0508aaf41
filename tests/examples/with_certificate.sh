#!/bin/sh
# Runs a command in which @CERTIFICATE@ and @KEY@ stand for files that are made
# for it.
#
#   tests/examples/with_certificate.sh MAKE_CERTIFICATE COMMAND ...
#
# SPDX-License-Identifier: MIT
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"$1" "$here"
shift
count=$#
while [ "$count" -gt 0 ]; do
    case $1 in
    @CERTIFICATE@) set -- "$@" "$here/certificate.pem" ;;
    @KEY@) set -- "$@" "$here/key.pem" ;;
    *) set -- "$@" "$1" ;;
    esac
    shift
    count=$((count - 1))
done
"$@"
