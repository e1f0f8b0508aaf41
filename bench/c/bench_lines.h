/* bench_lines.h - a connection on which lines come as fast as they are taken.
 *
 * SPDX-License-Identifier: MIT
 *
 * Another process writes them, many at a time; so the CPU time of this one is
 * the reader's alone.
 */
#pragma once

#include "bench_net.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>

enum { BENCH_LINES = 10000000, BENCH_LINES_AT_ONCE = 4096 };

/* Writes all lines of `size` bytes to `fd`, and ends. */
static inline void
bench_write_lines(int fd, size_t size)
{
    size_t block = size * BENCH_LINES_AT_ONCE;
    char *lines = bench_calloc(1, block);

    bench_check("prctl", prctl(PR_SET_PDEATHSIG, SIGKILL));
    memset(lines, 'l', block);
    for (size_t i = size; i <= block; i += size) {
        lines[i - 1] = '\n';
    }
    for (size_t left = size * BENCH_LINES; left > 0;) {
        size_t some = left < block ? left : block;
        for (size_t sent = 0; sent < some;) {
            ssize_t result = send(fd, lines + sent, some - sent, MSG_NOSIGNAL);
            if (result < 0) {
                _exit(1); /* the reader has said why */
            }
            sent += (size_t)result;
        }
        left -= some;
    }
    _exit(0);
}

/* The reading end of a TCP connection, blocking, on which BENCH_LINES lines of
 * `size` bytes come. */
static inline int
bench_lines(size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_size = sizeof address;
    struct sockaddr *name = (struct sockaddr *)&address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    bench_check("socket", listener);
    bench_check("bind", bind(listener, name, address_size));
    bench_check("listen", listen(listener, 1));
    bench_check("getsockname", getsockname(listener, name, &address_size));
    pid_t writer = fork();
    bench_check("fork", writer);
    if (writer == 0) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bench_check("connect", connect(fd, name, address_size));
        bench_write_lines(fd, size);
    }
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    bench_check("accept", fd);
    bench_check("close", close(listener));
    return fd;
}

/* Says how long a line took, after checking that none is missing. */
static inline void
bench_lines_done(long size, long lines, int64_t spent)
{
    if (lines != BENCH_LINES) {
        fprintf(stderr, "%ld lines came\n", lines);
        exit(1);
    }
    bench_print("readline", size, (double)spent / (double)lines);
}
