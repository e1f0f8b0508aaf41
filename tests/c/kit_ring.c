/* kit_ring.c - liburing's part of the watched table.
 *
 * SPDX-License-Identifier: MIT
 *
 * Its calls return -errno. A ring that is busy once is tried again; one that
 * is refused from some moment on is lost.
 */
#include "kit.h"

#include "kit_sys.h"

#include <errno.h>

#ifdef KOLK_HAVE_URING

static int
ring_error(const char *name)
{
    if (kit_sys_fails(name)) {
        return kit_sys_mode() == KIT_SYS_EVER ? -EPERM : -EAGAIN;
    }
    return kit_sys_interrupts() ? -EINTR : 0;
}

#define RING_CALL(name, params, args, error)                                   \
    static int ring_##name params                                              \
    {                                                                          \
        return kit_sys_fails(#name) ? -(error) : kit_sys_real.name args;       \
    }

/* Entering the kernel, which may complete operations. */
#define RING_ENTER(name, params, args)                                         \
    static int ring_##name params                                              \
    {                                                                          \
        int result = ring_error(#name);                                        \
        result = result < 0 ? result : kit_sys_real.name args;                 \
        kit_polled((int)io_uring_cq_ready(ring));                              \
        return result;                                                         \
    }

RING_CALL(io_uring_queue_init_params,
          (unsigned entries, struct io_uring *ring,
           struct io_uring_params *params),
          (entries, ring, params), ENOMEM)
RING_CALL(io_uring_ring_dontfork, (struct io_uring * ring), (ring), EINVAL)
RING_CALL(io_uring_register_ring_fd, (struct io_uring * ring), (ring), EINVAL)
RING_CALL(io_uring_register_probe,
          (struct io_uring * ring, struct io_uring_probe *probe,
           unsigned count),
          (ring, probe, count), EINVAL)
RING_CALL(io_uring_register_eventfd, (struct io_uring * ring, int fd),
          (ring, fd), ENOMEM)
RING_CALL(io_uring_register_buf_ring,
          (struct io_uring * ring, struct io_uring_buf_reg *reg,
           unsigned flags),
          (ring, reg, flags), ENOMEM)
RING_CALL(io_uring_register_sync_cancel,
          (struct io_uring * ring, struct io_uring_sync_cancel_reg *reg),
          (ring, reg), EINVAL)
RING_ENTER(io_uring_submit, (struct io_uring * ring), (ring))
RING_ENTER(io_uring_submit_and_wait, (struct io_uring * ring, unsigned count),
           (ring, kit_sys_may_sleep() ? count : 0))
RING_ENTER(io_uring_submit_and_get_events, (struct io_uring * ring), (ring))
RING_ENTER(io_uring_get_events, (struct io_uring * ring), (ring))

static int
ring_io_uring_submit_and_wait_timeout(struct io_uring *ring,
                                      struct io_uring_cqe **cqe, unsigned count,
                                      struct __kernel_timespec *timeout,
                                      sigset_t *mask)
{
    struct __kernel_timespec none = {0};
    int result = ring_error("io_uring_submit_and_wait_timeout");

    if (result == 0) {
        timeout = timeout == NULL && !kit_sys_may_sleep() ? &none : timeout;
        result = kit_sys_real.io_uring_submit_and_wait_timeout(ring, cqe, count,
                                                               timeout, mask);
    }
    kit_polled((int)io_uring_cq_ready(ring));
    return result;
}

void
kit_ring_init(void)
{
    kolk__sys.io_uring_queue_init_params = ring_io_uring_queue_init_params;
    kolk__sys.io_uring_ring_dontfork = ring_io_uring_ring_dontfork;
    kolk__sys.io_uring_register_ring_fd = ring_io_uring_register_ring_fd;
    kolk__sys.io_uring_register_probe = ring_io_uring_register_probe;
    kolk__sys.io_uring_register_eventfd = ring_io_uring_register_eventfd;
    kolk__sys.io_uring_register_buf_ring = ring_io_uring_register_buf_ring;
    kolk__sys.io_uring_register_sync_cancel =
        ring_io_uring_register_sync_cancel;
    kolk__sys.io_uring_submit = ring_io_uring_submit;
    kolk__sys.io_uring_submit_and_wait = ring_io_uring_submit_and_wait;
    kolk__sys.io_uring_submit_and_wait_timeout =
        ring_io_uring_submit_and_wait_timeout;
    kolk__sys.io_uring_submit_and_get_events =
        ring_io_uring_submit_and_get_events;
    kolk__sys.io_uring_get_events = ring_io_uring_get_events;
}
#else
void
kit_ring_init(void)
{
}
#endif
