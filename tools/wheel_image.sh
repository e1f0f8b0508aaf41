#!/bin/sh
# Prepares an image in which cibuildwheel builds: liburing and its headers.
# Without them the wheel has epoll only.
# SPDX-License-Identifier: MIT
set -eu
if command -v apk >/dev/null; then
    apk add liburing-dev
elif command -v dnf >/dev/null; then
    dnf install -y --enablerepo=crb liburing-devel
fi
