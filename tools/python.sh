#!/bin/bash
# Builds the Python extension for every interpreter >= 3.11 that is found, and
# runs the Python tests on each.
#
#   tools/python.sh [STEP ...]    build, pytest, stubs, conformance; default: all
#
# Which they are: tools/pythons.sh. SELECT is handed on to pytest, MODULES to
# the conformance tests, PRESET is the preset that is built (dev). Everything
# goes below build/python, private virtual environments included. Ends with the
# line "N passed, N failed".
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${PRESET:-dev}
build=$PWD/build/python
[ $# -gt 0 ] || set -- build pytest stubs conformance

. tools/pythons.sh

# An environment of our own for each, with what the tests import.
make_environment() {
    local version=$1 python=$2 environment=$build/environment/$1
    if [ ! -x "$environment/bin/python" ]; then
        "$python" -m venv "$environment" >&2
        "$environment/bin/python" -m pip install --quiet \
            --disable-pip-version-check pytest hypothesis mypy >&2
    fi
}

declare -A pythons
list=""
while read -r version python; do
    make_environment "$version" "$python"
    pythons[$version]=$build/environment/$version/bin/python
    list+="${list:+;}${pythons[$version]}"
done < <(list_pythons)
if [ -z "$list" ]; then
    echo "no Python >= 3.11 with its headers was found"
    exit 1
fi

step_build() {
    BUILD=build/python/$preset tools/build.sh "$preset" -DKOLK_TESTS=OFF \
        -DKOLK_EXAMPLES=OFF -DKOLK_BENCH=OFF "-DKOLK_PYTHONS=$list"
}

# Runs a command for each version, with the built package on its path.
passed=0 failed=0
each_version() {
    local version line
    for version in $(printf '%s\n' "${!pythons[@]}" | sort -V); do
        echo "== $1 on $version"
        PYTHONPATH=$build/$preset/python/$version \
            PYTHONDONTWRITEBYTECODE=1 "${pythons[$version]}" "${@:2}" \
            >"$build/results" 2>&1 || true
        grep -vE '^\.|^$|, 0 failed' "$build/results" | tail -200 || true
        line=$(tail -1 "$build/results")
        echo "$line"
        passed=$((passed + $(count passed "$line")))
        failed=$((failed + $(count 'failed|error|errors' "$line")))
        # A run that ended early has no such line.
        [[ $line == *passed* ]] || failed=$((failed + 1))
    done
}

# The number before word $1 in line $2, or 0.
count() {
    { grep -oE "[0-9]+ ($1)\b" <<<"$2" || true; } |
        awk '{n += $1} END {print n + 0}'
}

# Once more without a look into CPython: tasks and futures are asyncio's then.
step_pytest() {
    # shellcheck disable=SC2086 # SELECT is a list of words
    for internals in 1 0; do
        KOLK_INTERNALS=$internals each_version "pytest, internals $internals," \
            -m pytest -q -p no:cacheprovider tests/python ${SELECT:-}
    done
}

# Do the type stubs say what is there, and does a program pass with them?
step_stubs() {
    local version
    for version in $(printf '%s\n' "${!pythons[@]}" | sort -V); do
        echo "== stubs on $version"
        if check_stubs "$PWD/tests/stubs" "${pythons[$version]}" \
            "$build/$preset/python/$version" >"$build/results" 2>&1; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            cat "$build/results"
        fi
    done
}

check_stubs() {
    local stubs=$1 python=$2 package=$3
    (
        cd "$package"
        "$python" -m mypy.stubtest kolk --concise \
            --mypy-config-file "$stubs/mypy.ini" \
            --allowlist "$stubs/allowlist" --ignore-unused-allowlist &&
            MYPYPATH=$package "$python" -m mypy --strict \
                --config-file "$stubs/mypy.ini" --cache-dir "$package/.mypy" \
                "$stubs/program.py"
    )
}

step_conformance() {
    # shellcheck disable=SC2086 # MODULES is a list of words
    each_version conformance tests/conformance/run.py ${MODULES:-}
}

for step in "$@"; do
    "step_$step"
done
if [ $((passed + failed)) -gt 0 ]; then
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
fi
