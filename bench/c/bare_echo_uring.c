/* bare_echo_uring.c - the least an echo server on io_uring can cost.
 *
 * SPDX-License-Identifier: MIT
 *
 * One multishot accept, one multishot receive a connection into a ring of
 * provided buffers, one send a message, and one system call a turn for all of
 * them. A buffer goes back to the ring when its send has completed. The low
 * bits of user_data say what an entry was for.
 *
 * A message that arrives in two pieces puts two sends in flight, which the
 * kernel may reorder; the load compares every byte and would say so.
 */
#include "bench_net.h"

#include <liburing.h>

enum {
    ECHO_ACCEPT,
    ECHO_RECEIVE,
    ECHO_SEND,
    ECHO_KIND_BITS = 2,

    ECHO_ENTRIES = 4096,
    ECHO_BUFFERS = 1024, /* a power of two; more would all be cold memory */
    ECHO_BUFFER_SIZE = 16384,
};

static struct io_uring ring;
static struct io_uring_buf_ring *ring_buffers;
static char *buffer_memory;

static struct io_uring_sqe *
ring_entry(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

    if (sqe == NULL) { /* full: hand over what is there */
        (void)io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    if (sqe == NULL) {
        bench_die("io_uring_get_sqe", EBUSY);
    }
    return sqe;
}

static void
ring_mark(struct io_uring_sqe *sqe, unsigned kind, unsigned value)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)value << ECHO_KIND_BITS | kind);
}

static void
ring_check(const char *what, int result)
{
    if (result < 0) {
        bench_die(what, -result);
    }
}

static char *
buffer_at(unsigned id)
{
    return buffer_memory + (size_t)id * ECHO_BUFFER_SIZE;
}

static void
buffer_give(unsigned id)
{
    io_uring_buf_ring_add(ring_buffers, buffer_at(id), ECHO_BUFFER_SIZE,
                          (unsigned short)id,
                          io_uring_buf_ring_mask(ECHO_BUFFERS), 0);
    io_uring_buf_ring_advance(ring_buffers, 1);
}

static void
ring_open(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
                 | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
        .cq_entries = 4 * ECHO_ENTRIES,
    };
    size_t size = ECHO_BUFFERS * sizeof(struct io_uring_buf);

    ring_check("io_uring_queue_init",
               io_uring_queue_init_params(ECHO_ENTRIES, &ring, &params));
    ring_buffers = aligned_alloc(4096, size);
    buffer_memory = bench_calloc(ECHO_BUFFERS, ECHO_BUFFER_SIZE);
    if (ring_buffers == NULL) {
        bench_die("aligned_alloc", ENOMEM);
    }
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)ring_buffers,
        .ring_entries = ECHO_BUFFERS,
    };
    ring_check("io_uring_register_buf_ring",
               io_uring_register_buf_ring(&ring, &reg, 0));
    io_uring_buf_ring_init(ring_buffers);
    for (unsigned id = 0; id < ECHO_BUFFERS; id++) {
        buffer_give(id);
    }
}

static void
echo_receive(int fd)
{
    struct io_uring_sqe *sqe = ring_entry();

    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    ring_mark(sqe, ECHO_RECEIVE, (unsigned)fd);
}

static void
echo_send(int fd, unsigned id, unsigned size)
{
    struct io_uring_sqe *sqe = ring_entry();

    io_uring_prep_send(sqe, fd, buffer_at(id), size,
                       MSG_NOSIGNAL | MSG_WAITALL);
    ring_mark(sqe, ECHO_SEND, id);
}

static void
echo_received(const struct io_uring_cqe *cqe, int fd)
{
    if (cqe->res > 0) {
        echo_send(fd, cqe->flags >> IORING_CQE_BUFFER_SHIFT,
                  (unsigned)cqe->res);
    } else if (cqe->res != -ENOBUFS) {
        (void)close(fd); /* the load ended, or gave up and said why */
        return;
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        echo_receive(fd);
    }
}

static void
echo_complete(const struct io_uring_cqe *cqe)
{
    unsigned value = (unsigned)(cqe->user_data >> ECHO_KIND_BITS);

    switch (cqe->user_data & ((1 << ECHO_KIND_BITS) - 1)) {
    case ECHO_ACCEPT:
        ring_check("accept", cqe->res);
        echo_receive(cqe->res);
        break;
    case ECHO_RECEIVE:
        echo_received(cqe, (int)value);
        break;
    default:
        buffer_give(value); /* a connection that broke needs no answer */
    }
}

int
main(void)
{
    int listener = bench_listen(0);

    ring_open();
    struct io_uring_sqe *sqe = ring_entry();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    ring_mark(sqe, ECHO_ACCEPT, 0);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head;
        unsigned seen = 0;

        int result = io_uring_submit_and_wait(&ring, 1);
        if (result < 0 && result != -EINTR) {
            bench_die("io_uring_submit_and_wait", -result);
        }
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            echo_complete(cqe);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
}
