# table.awk - turns answers into one Markdown table.
# SPDX-License-Identifier: MIT
#
# Reads rows.tsv, then lines of `round, who, metric, value`. A value is the
# median over the rounds, "+-" half the distance of the quartiles in percent
# of it. A ratio is the median of the ratios within each round. kolk counts as
# behind a peer when it is so in three rounds of four.

BEGIN {
    FS = "\t"
    peer_count = split(peers, peer, " ")
}

/^#/ { next }

FNR == NR {
    row[++rows] = $1
    title[$1] = $2
    unit[$1] = $3
    divisor[$1] = $4
    target[$1] = $5
    reference[$1] = $6
    next
}

{
    value[$2, $3, $1] = $4
    seen[$2, $3] = 1
    if ($1 > rounds) {
        rounds = $1
    }
}

# Sorts list[1..count] and returns the quantile `q` of it.
function quantile(list, count, q,    i, j, x, place) {
    for (i = 2; i <= count; i++) {
        x = list[i]
        for (j = i - 1; j >= 1 && list[j] > x; j--) {
            list[j + 1] = list[j]
        }
        list[j + 1] = x
    }
    place = 1 + (count - 1) * q
    i = int(place)
    if (i >= count) {
        return list[count]
    }
    return list[i] + (list[i + 1] - list[i]) * (place - i)
}

function value_at(who, metric, q,    list, count, r) {
    count = 0
    for (r = 1; r <= rounds; r++) {
        if ((who, metric, r) in value) {
            list[++count] = value[who, metric, r]
        }
    }
    return quantile(list, count, q)
}

# The quantile `q` of kolk's value over another's, round by round.
function ratio_at(metric, who, other, q,    list, count, r) {
    count = 0
    for (r = 1; r <= rounds; r++) {
        if (("kolk", metric, r) in value && (who, other, r) in value) {
            list[++count] = value["kolk", metric, r] / value[who, other, r]
        }
    }
    return count == 0 ? "" : quantile(list, count, q)
}

function number(x) {
    return sprintf(x < 9.995 ? "%.2f" : x < 99.95 ? "%.1f" : "%.0f", x)
}

function cell(who, metric, other,    median, text) {
    if (!((who, other) in seen)) {
        return "-"
    }
    median = value_at(who, other, 0.5)
    text = number(median / divisor[metric])
    if (rounds > 1) {
        text = text sprintf(" ±%.0f%%", 50 * (value_at(who, other, 0.75) \
                            - value_at(who, other, 0.25)) / median)
    }
    return text
}

function peer_cell(who, metric,    ratio) {
    if (!((who, metric) in seen)) {
        return "-"
    }
    ratio = ratio_at(metric, who, metric, 0.5)
    return number(value_at(who, metric, 0.5) / divisor[metric]) \
        (ratio == "" ? "" : " (" number(ratio) ")")
}

# What keeps a row from its target, or "yes".
function verdict(metric, ratio,    text, i, bound) {
    if (!(("kolk", metric) in seen)) {
        return "-"
    }
    bound = target[metric]
    if (sub(/^<=/, "", bound)) {
        if (value_at("kolk", metric, 0.5) > bound * divisor[metric]) {
            text = "too large"
        }
    } else if (bound != "-" && ratio > bound + 0) {
        text = "missed"
    }
    for (i = 1; i <= peer_count; i++) {
        if (ratio_at(metric, peer[i], metric, 0.25) > 1) {
            text = text (text == "" ? "" : ", ") "behind " peer[i]
        }
    }
    return text == "" ? "yes" : text
}

function print_row(metric,    ratio, line, i) {
    ratio = ratio_at(metric, "bare", reference[metric], 0.5)
    line = "| " title[metric] ", " unit[metric]
    line = line " | " cell("kolk", metric, metric)
    line = line " | " cell("bare", metric, reference[metric])
    line = line " | " (ratio == "" ? "-" : number(ratio))
    line = line " | " target[metric]
    for (i = 1; i <= peer_count; i++) {
        line = line " | " peer_cell(peer[i], metric)
    }
    print line " | " verdict(metric, ratio) " |"
}

function is_answered(metric,    i) {
    for (i = 1; i <= peer_count; i++) {
        if ((peer[i], metric) in seen) {
            return 1
        }
    }
    return (("kolk", metric) in seen) || (("bare", metric) in seen)
}

END {
    line = "| | kolk | bare | x bare | target"
    rule = "|---|---|---|---|---"
    for (i = 1; i <= peer_count; i++) {
        line = line " | " peer[i]
        rule = rule "|---"
    }
    print line " | reached |"
    print rule "|---|"
    for (i = 1; i <= rows; i++) {
        if (is_answered(row[i])) {
            print_row(row[i])
        }
    }
    print ""
    print "Less is better. Values are medians of CPU time of the process, " \
        "unless they say elapsed; ± is half the distance of the quartiles. " \
        "In brackets: kolk's value over the peer's, below 1 is ahead. \"x " \
        "bare\" and these are medians of the ratios within a round. The bare " \
        "column of queue and lock rows is one bare switch. Echo is the " \
        "server's CPU time per message, connections x size of a message."
}
