/* bare_echo_epoll.c - the least an echo server on epoll can cost.
 *
 * SPDX-License-Identifier: MIT
 *
 * Level-triggered, one receive and one send a message, one buffer for all
 * connections. The load keeps one message in flight on each, so a send that
 * does not take everything cannot happen, and ends the program.
 */
#include "bench_net.h"

#include <sys/epoll.h>

enum { ECHO_EVENTS = 512 };

static char echo_buffer[BENCH_ECHO_BUFFER];

static void
echo_accept(int epoll, int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC))
           >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        bench_check("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    }
    if (errno != EAGAIN) {
        bench_die("accept", errno);
    }
}

static void
echo_answer(int fd)
{
    ssize_t size = recv(fd, echo_buffer, sizeof echo_buffer, 0);

    if (size <= 0) {
        (void)close(fd); /* the load ended, or gave up and said why */
    } else if (send(fd, echo_buffer, (size_t)size, MSG_NOSIGNAL) != size) {
        bench_die("send", errno);
    }
}

int
main(void)
{
    int listener = bench_listen(SOCK_NONBLOCK);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    struct epoll_event events[ECHO_EVENTS];

    bench_check("epoll_create1", epoll);
    bench_check("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event));
    for (;;) {
        int ready = epoll_wait(epoll, events, ECHO_EVENTS, -1);
        if (ready < 0 && errno != EINTR) {
            bench_die("epoll_wait", errno);
        }
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener) {
                echo_accept(epoll, listener);
            } else {
                echo_answer(events[i].data.fd);
            }
        }
    }
}
