/* bench_net.h - the listening socket that the echo servers written in C share.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whatever its language, an echo server binds a free loopback port, prints
 * `port<TAB>number` as its first line and serves until it is killed.
 */
#pragma once

#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BENCH_BACKLOG = 2048 };

static inline void
bench_announce(int listener)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;

    bench_check("getsockname",
                getsockname(listener, (struct sockaddr *)&address, &size));
    printf("port\t%d\n", ntohs(address.sin_port));
    bench_check("stdout", fflush(stdout));
}

/* A listening socket; `flags` as for socket(2), beside the type. */
static inline int
bench_listen(int flags)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    bench_check("socket", listener);
    bench_check("bind",
                bind(listener, (struct sockaddr *)&address, sizeof address));
    bench_check("listen", listen(listener, BENCH_BACKLOG));
    bench_announce(listener);
    return listener;
}
