/* bench_accept.h - clients for a server that takes connections.
 *
 * SPDX-License-Identifier: MIT
 *
 * They are a process of their own, on another processor where there is one. As
 * many as the question's size are under way at any time: each connects, waits
 * until the server closes the connection, and starts again. The client ends a
 * connection by a reset, so that nothing of it stays in either's kernel, and no
 * port is used up. The server counts, and tells its own CPU time.
 */
#pragma once

#include "bench_net.h"

#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum {
    BENCH_CONNECTIONS = 20000, /* in one measurement */
    BENCH_CLIENTS_MAX = 512,
};

/* Keeps the calling process on one processor. */
static inline void
bench_pin(int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    /* Only steadies the result; a container may refuse it. */
    (void)sched_setaffinity(0, sizeof set, &set);
}

static inline void
bench_knock(int epoll, const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct linger reset = {.l_onoff = 1};
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};

    bench_check("socket", fd);
    bench_check("setsockopt",
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0
        && errno != EINPROGRESS) {
        bench_die("connect", errno);
    }
    bench_check("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

/* Knocks until it is killed. */
static inline void
bench_clients(const struct sockaddr_in *address, long clients)
{
    struct epoll_event events[BENCH_CLIENTS_MAX];
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    bench_check("epoll_create1", epoll);
    for (long i = 0; i < clients; i++) {
        bench_knock(epoll, address);
    }
    for (;;) {
        int ready = epoll_wait(epoll, events, BENCH_CLIENTS_MAX, -1);

        bench_check("epoll_wait", ready);
        for (int i = 0; i < ready; i++) {
            (void)close(events[i].data.fd); /* the server has closed it */
            bench_knock(epoll, address);
        }
    }
}

static struct {
    pid_t clients;
    long size;
    long count; /* connections so far */
    int64_t begin;
} bench_accept;

/* Starts the clients of `listener`, so many at a time. */
static inline void
bench_accept_begin(int listener, long size)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    bench_check("getsockname",
                getsockname(listener, (struct sockaddr *)&address, &length));
    bench_accept.size = size;
    bench_accept.clients = fork();
    bench_check("fork", bench_accept.clients);
    if (bench_accept.clients == 0) {
        /* Clients must not outlive a server that gave up. */
        bench_check("prctl", prctl(PR_SET_PDEATHSIG, SIGKILL));
        bench_pin(processors > 1);
        bench_clients(&address, size);
    }
    bench_pin(0);
}

/* A connection has been taken and closed. Those of the first tenth are not
 * counted; with the last one the program has its answer, and ends. */
static inline void
bench_accept_count(void)
{
    long warm = BENCH_CONNECTIONS / 10;

    bench_accept.count++;
    if (bench_accept.count == warm) {
        bench_accept.begin = bench_cpu();
    } else if (bench_accept.count == warm + BENCH_CONNECTIONS) {
        int64_t spent = bench_cpu() - bench_accept.begin;

        (void)kill(bench_accept.clients, SIGKILL);
        (void)waitpid(bench_accept.clients, NULL, 0);
        bench_print("accept", bench_accept.size,
                    (double)spent / BENCH_CONNECTIONS);
        exit(0);
    }
}
