#!/bin/bash
# Enforces which layer may include which, on the #include lines.
#
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A may_include=(
    [base]="base"
    [coro]="base coro"
    [loop]="base loop"
    [net]="base loop net"
    [tls]="base loop net tls"
    [process]="base loop process"
    [task]="base coro loop task"
    [await]="base coro loop net tls process task await"
)
bad=0

complain() {
    echo "$1"
    bad=1
}

# Internal headers: `#include "layer/file.h"`, of a layer that is allowed.
while IFS=: read -r file line text; do
    layer=${file#src/}
    layer=${layer%%/*}
    name=${text#*\"}
    name=${name%%\"*}
    if [[ $name != */* ]]; then
        complain "$file:$line: \"$name\" names no layer"
    elif [[ " ${may_include[$layer]:-} " != *" ${name%%/*} "* ]]; then
        complain "$file:$line: $layer may not include \"$name\""
    fi
done < <(grep -rnE '^#include "' src --include='*.[chS]')

# Public headers: base sees the conventions only.
while IFS=: read -r file line text; do
    [[ $text == *"<kolk/base.h>"* ]] ||
        complain "$file:$line: base may not include ${text#* }"
done < <(grep -rnE '^#include <kolk' src/base)

# Users, and what is installed, see public headers only.
while IFS=: read -r file line text; do
    complain "$file:$line: not a public header: ${text#* }"
done < <(grep -rnE '^#include "(base|coro|loop|net|tls|process|task|await)/' \
    include examples bench python 2>/dev/null)
while IFS=: read -r file line text; do
    complain "$file:$line: a public header includes ${text#* }"
done < <(grep -rnE '^#include "' include)

exit $bad
