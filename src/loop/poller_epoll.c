/* poller_epoll.c - waiting with epoll: readiness, for every backend.
 *
 * SPDX-License-Identifier: MIT
 *
 * epoll_pwait2(2) sleeps for nanoseconds. Old kernels, container profiles and
 * emulators do not have it; there, whole milliseconds are epoll_wait(2)'s, and
 * what is left is a timerfd's in the set, because rounding up would make every
 * short sleep a millisecond late.
 */
#include <errno.h>

#include "base/sys.h"
#include "loop/descriptor.h"

/* Has epoll_pwait2(2) been refused? For all loops; only ever set. */
static bool epoll_is_coarse;

static inline int
epoll_call_bare(kolk__poller *poller, int timeout)
{
    return kolk__sys.epoll_wait(poller->epoll_fd, poller->events,
                                KOLK__POLLER_EVENTS, timeout);
}

static __attribute__((noinline)) int
epoll_call_hooked(kolk_loop *loop, int timeout)
{
    kolk_hooks *hooks = kolk__block_begin(loop);
    int count = epoll_call_bare(loop->poller, timeout);

    kolk__block_end(hooks);
    return count;
}

static inline int
epoll_call(kolk_loop *loop, int timeout)
{
    return KOLK_UNLIKELY(loop->hooks != NULL) && timeout != 0
               ? epoll_call_hooked(loop, timeout)
               : epoll_call_bare(loop->poller, timeout);
}

/* Sleeps for less than a millisecond by the timerfd. Without one, sleeping too
 * long is all that is left. */
static int
epoll_wait_timer(kolk_loop *loop, kolk_time delay)
{
    kolk__poller *poller = loop->poller;
    struct itimerspec when = {.it_value.tv_nsec = delay};
    struct epoll_event event = {.events = EPOLLIN | EPOLLET,
                                .data.u64 = KOLK__EVENT_TIMER};
    int timeout = -1;

    if (poller->timer_fd < 0) {
        int fd = kolk__sys.timerfd_create(CLOCK_MONOTONIC,
                                          TFD_NONBLOCK | TFD_CLOEXEC);
        if (fd >= 0
            && kolk__sys.epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event)
                   < 0) {
            (void)kolk__sys.close(fd); /* nothing is buffered in it */
            fd = -1;
        }
        poller->timer_fd = fd;
    }
    if (poller->timer_fd < 0
        || kolk__sys.timerfd_settime(poller->timer_fd, 0, &when, NULL) < 0) {
        timeout = 1;
    }
    return epoll_call(loop, timeout);
}

static int
epoll_wait_coarse(kolk_loop *loop, kolk_time delay)
{
    const kolk_time longest = KOLK_MS(INT32_MAX);

    return delay < KOLK_MS(1)
               ? epoll_wait_timer(loop, delay)
               : epoll_call(loop, (int)((delay < longest ? delay : longest)
                                        / KOLK_MS(1)));
}

static int
epoll_wait_fine(kolk_loop *loop, kolk_time delay)
{
    kolk__poller *poller = loop->poller;
    struct timespec timeout = {.tv_sec = delay / KOLK_S(1),
                               .tv_nsec = delay % KOLK_S(1)};
    kolk_hooks *hooks = kolk__block_begin(loop);
    int count = kolk__sys.epoll_pwait2(poller->epoll_fd, poller->events,
                                       KOLK__POLLER_EVENTS, &timeout, NULL);

    kolk__block_end(hooks);
    /* Profiles answer EPERM to what they do not know. */
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) {
        __atomic_store_n(&epoll_is_coarse, true, __ATOMIC_RELAXED);
        return epoll_wait_coarse(loop, delay);
    }
    return count;
}

/* Sleeps until something has come or `delay` is over. */
static __attribute__((noinline)) int
epoll_wait_while(kolk_loop *loop, kolk_time delay)
{
    return __atomic_load_n(&epoll_is_coarse, __ATOMIC_RELAXED)
               ? epoll_wait_coarse(loop, delay)
               : epoll_wait_fine(loop, delay);
}

int
kolk__epoll_wait(kolk_loop *loop, kolk_time delay)
{
    int count = delay == 0            ? epoll_call(loop, 0)
                : delay == KOLK_NEVER ? epoll_call(loop, -1)
                                      : epoll_wait_while(loop, delay);

    if (KOLK_UNLIKELY(count < 0)) {
        return errno == EINTR ? 0 : -errno;
    }
    return count;
}

int
kolk__epoll_look(kolk_loop *loop)
{
    int count = epoll_call(loop, 0);

    return count < 0 ? -errno : count;
}

/* An event of a file that the number does not stand for any more. If the
 * number still leads to it, the registration can be taken out. */
static void
epoll_event_stale(kolk_loop *loop, int fd, const struct kolk__descriptor *desc)
{
    if (desc == NULL || desc->mask == 0) {
        (void)kolk__sys.epoll_ctl(loop->poller->epoll_fd, EPOLL_CTL_DEL, fd,
                                  NULL);
    }
}

void
kolk__epoll_dispatch(kolk_loop *loop, int events)
{
    kolk__poller *poller = loop->poller;

    for (int i = 0; i < events; i++) {
        uint64_t data = poller->events[i].data.u64;

        if (KOLK_UNLIKELY(data >= KOLK__EVENT_TIMER)) {
            if (data == KOLK__EVENT_INBOX) {
                kolk__inbox_heard(loop->inbox);
            }
            continue; /* being awake is all that the timer is for */
        }
        int fd = (int)(uint32_t)data;
        struct kolk__descriptor *desc = kolk__descriptor_find(poller, fd);
        if (KOLK_LIKELY(desc != NULL
                        && desc->generation == (uint32_t)(data >> 32))) {
            kolk__descriptor_event(loop, fd, desc, poller->events[i].events);
        } else {
            epoll_event_stale(loop, fd, desc);
        }
    }
}

static int
epoll_fileno(kolk_loop *loop)
{
    return loop->poller->epoll_fd;
}

const kolk__poller_ops kolk__poller_epoll = {
    .name = "epoll",
    .wait = kolk__epoll_wait,
    .dispatch = kolk__epoll_dispatch,
    .fileno = epoll_fileno,
};
