#!/bin/bash
# Finds interpreters that kolk can be built for: CPython >= 3.11 with its
# headers. To be sourced.
#
# PYTHONS names interpreters to use besides those on PATH and under pyenv,
# VERSIONS limits them ("3.11 3.14").
#
# SPDX-License-Identifier: MIT

# "VERSION PATH" of each interpreter, the first one found of each version.
list_pythons() {
    local version python
    for python in ${PYTHONS:-} $(compgen -c python3. | grep -xE 'python3\.[0-9]+d?' | sort -u) \
        ~/.pyenv/versions/*/bin/python; do
        python=$(command -v "$python") || continue
        "$python" -c '
import sys, sysconfig, os
if sys.version_info >= (3, 11) and os.path.exists(
        os.path.join(sysconfig.get_path("include"), "Python.h")):
    debug = "d" * hasattr(sys, "gettotalrefcount")
    print("%d.%d%s" % (*sys.version_info[:2], debug), sys.executable)
' 2>/dev/null || true
    done | awk '!seen[$1]++' | sort -V | while read -r version python; do
        [ -z "${VERSIONS:-}" ] || [[ " $VERSIONS " == *" $version "* ]] ||
            continue
        echo "$version $python"
    done
}
