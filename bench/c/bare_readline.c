/* bare_readline.c - the least that reading lines can cost.
 *
 * SPDX-License-Identifier: MIT
 *
 * A blocking receive of 64 KiB, memchr() for each line, and the beginning of a
 * line moved to the front.
 */
#include "bench_lines.h"

enum { LINES_BUFFER = 65536 };

static char lines_buffer[LINES_BUFFER];

/* Counts the lines in the first `size` bytes; `*rest` is where the last ends.
 */
static long
lines_count(size_t size, size_t *rest)
{
    long lines = 0;
    size_t start = 0;
    const char *end;

    while ((end = memchr(lines_buffer + start, '\n', size - start)) != NULL) {
        start = (size_t)(end - lines_buffer) + 1;
        lines++;
    }
    *rest = start;
    return lines;
}

int
main(int argc, char **argv)
{
    long size = bench_size(argc, argv, 1, 64);
    int fd = bench_lines((size_t)size);
    int64_t start = bench_cpu();
    size_t there = 0, rest;
    long lines = 0;

    for (;;) {
        ssize_t got =
            recv(fd, lines_buffer + there, sizeof lines_buffer - there, 0);
        bench_check("recv", (int)got);
        if (got == 0) {
            break;
        }
        there += (size_t)got;
        lines += lines_count(there, &rest);
        there -= rest;
        memmove(lines_buffer, lines_buffer + rest, there);
    }
    bench_lines_done(size, lines, bench_cpu() - start);
    return 0;
}
