/* op_kit.h - operations that remember how they ended.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

struct test_op {
    kolk_op op;
    kolk_loop *loop;
    int result;
    int runs;
    int drops;
};

static inline void
test_op_ended(kolk_op *op)
{
    struct test_op *self = KOLK_CONTAINER_OF(op, struct test_op, op);

    self->result = op->result;
    self->runs++;
    kolk_loop_stop(self->loop);
}

static inline void
test_op_dropped(kolk_op *op)
{
    KOLK_CONTAINER_OF(op, struct test_op, op)->drops++;
}

static inline void
test_op_init(struct test_op *self, kolk_loop *loop)
{
    *self = (struct test_op){.loop = loop};
    kolk_op_init(&self->op, test_op_ended, test_op_dropped);
}

/* Runs the loop until `self`, which was started, has ended; its result. */
static inline int
test_op_wait(struct test_op *self)
{
    while (kolk_op_is_pending(&self->op)) {
        if (kolk_run_forever(self->loop) < 0 || kit_failures() > 0) {
            return -ECHILD; /* no result of any test here */
        }
    }
    return self->result;
}

/* A listening socket on the loopback, and its address. Closed by the test. */
static inline int
test_listen(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, sizeof *address) < 0
        || listen(fd, 16) < 0
        || getsockname(fd, (struct sockaddr *)address, &size) < 0) {
        CHECK(false);
    }
    return fd;
}

/* Both ends of a TCP connection, non-blocking. Closed by the test. */
static inline void
test_tcp_pair(int fds[2])
{
    struct sockaddr_in address;
    int listener = test_listen(&address);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(fds[0], (struct sockaddr *)&address, sizeof address), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(fds[1] >= 0);
    CHECK_INT(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    (void)close(listener);
}
