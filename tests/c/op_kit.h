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

/* ---- descriptors that are closed at the end of the test ---- */

enum { OP_OWNED_MAX = 64 };
static int op_owned[OP_OWNED_MAX]; /* a number + 1; 0: free */

static inline void
op_close_owned(void *unused)
{
    (void)unused;
    for (int i = 0; i < OP_OWNED_MAX; i++) {
        if (op_owned[i] > 0) {
            (void)close(op_owned[i] - 1);
        }
    }
}

/* Closes `fd` at the end of the test, unless it is disowned before. Returns
 * it; an error is only returned. */
static inline int
op_own(int fd)
{
    static bool is_registered;

    if (!is_registered) {
        is_registered = true;
        test_later(op_close_owned, NULL);
    }
    for (int i = 0; fd >= 0 && i < OP_OWNED_MAX; i++) {
        if (op_owned[i] == 0) {
            op_owned[i] = fd + 1;
            break;
        }
    }
    return fd;
}

static inline void
op_disown(int fd)
{
    for (int i = 0; i < OP_OWNED_MAX; i++) {
        if (op_owned[i] == fd + 1) {
            op_owned[i] = 0;
        }
    }
}

static inline void
op_close_own(int fd)
{
    op_disown(fd);
    (void)close(fd);
}

struct test_op {
    kolk_op op;
    kolk_loop *loop;
    int result;
    int runs;
    int drops;
    bool is_giving; /* its result is a descriptor */
};

static inline void
test_op_ended(kolk_op *op)
{
    struct test_op *self = KOLK_CONTAINER_OF(op, struct test_op, op);

    self->result = self->is_giving ? op_own(op->result) : op->result;
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

/* For operations that give a descriptor, which the test then owns. */
static inline void
test_op_init_giving(struct test_op *self, kolk_loop *loop)
{
    test_op_init(self, loop);
    self->is_giving = true;
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

static inline int
op_socket(int flags)
{
    int fd = op_own(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));

    CHECK(fd >= 0);
    return fd;
}

/* A listening socket on the loopback, and its address. */
static inline int
test_listen(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = op_socket(SOCK_NONBLOCK);

    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)address, sizeof *address) < 0
        || listen(fd, 16) < 0
        || getsockname(fd, (struct sockaddr *)address, &size) < 0) {
        CHECK(false);
    }
    return fd;
}

/* Both ends of a TCP connection, non-blocking. */
static inline void
test_tcp_pair(int fds[2])
{
    struct sockaddr_in address;
    int listener = test_listen(&address);

    fds[0] = op_socket(0);
    CHECK_INT(connect(fds[0], (struct sockaddr *)&address, sizeof address), 0);
    fds[1] =
        op_own(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    CHECK(fds[1] >= 0);
    CHECK_INT(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    op_close_own(listener);
}
