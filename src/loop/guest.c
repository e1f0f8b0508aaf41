/* guest.c - one descriptor for another loop to poll.
 *
 * SPDX-License-Identifier: MIT
 *
 * An epoll set over three: the poller's own descriptor (events, and the inbox,
 * which it watches), a timerfd for the next deadline, and an eventfd that is
 * written while work is ready. It is brought up to date at the end of every
 * turn, and at each push in between, so the host needs nothing but its poll.
 */
#include "loop/loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/sys.h"
#include "loop/poller.h"

/* When to try again what the kernel had no memory for. */
#define GUEST_RETRY KOLK_MS(5)

/* What no timer's deadline is. */
#define GUEST_NO_DEADLINE ((kolk_time)-1)

struct kolk__guest {
    int epoll_fd;
    int timer_fd;
    int ready_fd;
    int poller_fd;      /* the one that is in the set */
    bool is_deaf;       /* the host may not notice what the poller has */
    bool ready_written; /* is ready_fd readable? */
    kolk_time deadline; /* what timer_fd is set to, on the loop's clock */
};

static int
guest_add(const struct kolk__guest *guest, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (kolk__sys.epoll_ctl(guest->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return -errno;
    }
    return 0;
}

static void
guest_free(struct kolk__guest *guest)
{
    const int fds[] = {guest->epoll_fd, guest->timer_fd, guest->ready_fd};

    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) {
            (void)kolk__sys.close(fds[i]); /* nothing is buffered in these */
        }
    }
    kolk__sys.free(guest);
}

static int
guest_open(struct kolk__guest *guest)
{
    guest->epoll_fd = kolk__sys.epoll_create1(EPOLL_CLOEXEC);
    guest->timer_fd =
        kolk__sys.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    guest->ready_fd = kolk__sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    guest->poller_fd = -1;
    guest->deadline = KOLK_NEVER;
    if (guest->epoll_fd < 0 || guest->timer_fd < 0 || guest->ready_fd < 0) {
        return -errno;
    }
    int err = guest_add(guest, guest->timer_fd);
    return err < 0 ? err : guest_add(guest, guest->ready_fd);
}

int
kolk_loop_fileno(kolk_loop *loop)
{
    int err = kolk__loop_check(loop, "kolk_loop_fileno()");

    if (err < 0) {
        return err;
    }
    if (loop->guest == NULL) {
        struct kolk__guest *guest = kolk__sys.calloc(1, sizeof *guest);

        if (guest == NULL) {
            return -ENOMEM;
        }
        err = guest_open(guest);
        if (err < 0) {
            guest_free(guest);
            return err;
        }
        loop->guest = guest;
        loop->guest_idle = loop->runs == 0;
        kolk__guest_update(loop);
    }
    return loop->guest->epoll_fd;
}

/* The ring of io_uring is made late, and then takes the poller's place. */
static void
guest_set_poller(kolk_loop *loop, struct kolk__guest *guest)
{
    bool was_deaf = guest->is_deaf;
    int fd = loop->poller->ops->fileno(loop);

    guest->is_deaf = fd < 0;
    if (fd < 0 || fd == guest->poller_fd) {
        return;
    }
    if (guest->poller_fd >= 0) {
        /* May have been closed meanwhile, which is as good. */
        (void)kolk__sys.epoll_ctl(guest->epoll_fd, EPOLL_CTL_DEL,
                                  guest->poller_fd, NULL);
    }
    int err = guest_add(guest, fd);
    guest->poller_fd = err < 0 ? -1 : fd;
    guest->is_deaf = err < 0;
    if (err < 0 && !was_deaf) {
        kolk__report(loop, err, NULL, "watching a guest loop's poller failed");
    }
}

static void
guest_write_ready(struct kolk__guest *guest, bool is_ready)
{
    static const uint64_t one = 1;
    uint64_t count;

    if (is_ready == guest->ready_written) {
        return;
    }
    ssize_t n = is_ready
                    ? kolk__sys.write(guest->ready_fd, &one, sizeof one)
                    : kolk__sys.read(guest->ready_fd, &count, sizeof count);
    /* On failure it stays what it was, and the next update tries again. */
    if (n == (ssize_t)sizeof one) {
        guest->ready_written = is_ready;
    }
}

static void
guest_set_ready(kolk_loop *loop, struct kolk__guest *guest)
{
    guest_write_ready(guest, !kolk__ring_is_empty(&loop->ready)
                                 || !kolk__ring_is_empty(&loop->turn_end)
                                 || loop->stopping);
}

static void
guest_set_timer(kolk_loop *loop, struct kolk__guest *guest)
{
    struct itimerspec when = {0};
    kolk_time deadline = kolk__timers_next(loop);

    /* While work is ready, the host knows already, and a clock that jumps where
     * the loop would sleep must not be asked. */
    if (guest->ready_written
        || (deadline == guest->deadline && loop->clock == NULL
            && !guest->is_deaf)) {
        return;
    }
    kolk_time delay =
        deadline != KOLK_NEVER ? kolk__loop_delay(loop, deadline) : KOLK_NEVER;
    if (guest->is_deaf && delay > GUEST_RETRY) {
        delay = GUEST_RETRY;
        deadline = GUEST_NO_DEADLINE;
    }
    if (delay != KOLK_NEVER) {
        delay = delay > 0 ? delay : 1; /* zero would disarm it */
        when.it_value.tv_sec = delay / KOLK_S(1);
        when.it_value.tv_nsec = delay % KOLK_S(1);
    }
    if (kolk__sys.timerfd_settime(guest->timer_fd, 0, &when, NULL) == 0) {
        guest->deadline = deadline;
    } else {
        guest_write_ready(guest, true); /* the next turn tries again */
    }
}

void
kolk__guest_update(kolk_loop *loop)
{
    struct kolk__guest *guest = loop->guest;

    if (guest != NULL) {
        guest_set_poller(loop, guest);
        guest_set_ready(loop, guest);
        guest_set_timer(loop, guest);
    }
}

void
kolk__guest_close(kolk_loop *loop)
{
    if (loop->guest != NULL) {
        guest_free(loop->guest);
        loop->guest = NULL;
        loop->guest_idle = false;
    }
}
