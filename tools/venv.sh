#!/bin/bash
# Makes the private virtual environment build/venv: the Python package, built
# from here, and what the examples in Python import.
#
#   tools/venv.sh
#
# PYTHON names the interpreter, by default the first of version 3.11 or newer
# that is found. Nothing is done where nothing has changed since.
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/venv
stamp=$venv/installed

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local python
    for python in ${PYTHON:-} python3 /usr/bin/python3 python3.11 python3.12 \
        python3.13 python3.14; do
        if command -v "$python" >/dev/null && is_new_enough "$python"; then
            command -v "$python"
            return
        fi
    done
    echo "Python 3.11 or newer is needed" >&2
    return 1
}

# Is there a file that the package is made of and that is newer than it?
has_changed() {
    [ ! -e "$stamp" ] ||
        [ -n "$(find include src python pyproject.toml CMakeLists.txt \
            examples/python/requirements.txt -newer "$stamp" -type f \
            -not -name '*.pyc' -print -quit)" ]
}

has_changed || exit 0
echo "building $venv"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
python=$(find_python)
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --requirement examples/python/requirements.txt . >"$log" 2>&1 ||
    { cat "$log"; exit 1; }
touch "$stamp"
