/* bare_accept.c - the least that taking a connection can cost.
 *
 * SPDX-License-Identifier: MIT
 *
 * Waits with epoll, level-triggered, accepts until there are no more, and
 * closes each. The argument is how many clients knock at a time.
 */
#include "bench_accept.h"

static void
accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC))
           >= 0) {
        (void)close(fd); /* nothing was written to it */
        bench_accept_count();
    }
    if (errno != EAGAIN) {
        bench_die("accept", errno);
    }
}

int
main(int argc, char **argv)
{
    long size = bench_size(argc, argv, 1, 1);
    int listener = bench_listen(SOCK_NONBLOCK);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

    bench_check("epoll_create1", epoll);
    bench_check("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event));
    bench_accept_begin(listener, size);
    for (;;) {
        bench_check("epoll_wait", epoll_wait(epoll, &event, 1, -1));
        accept_all(listener);
    }
}
