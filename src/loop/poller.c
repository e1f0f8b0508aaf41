/* poller.c - opening and closing the kernel side of a loop, and which it is.
 *
 * SPDX-License-Identifier: MIT
 *
 * The epoll set is there on every backend, and so is made here, with the
 * inbox's eventfd in it. Closing has two parts, because nodes that are in the
 * ready queue or the inbox go back to their owners in between.
 */
#include <errno.h>

#include "base/sys.h"
#include "loop/descriptor.h"
#include "loop/op.h"

static void
poller_choose(kolk_loop *loop)
{
    kolk__poller *poller = loop->poller;

    poller->ops = &kolk__poller_epoll;
    if (loop->asked == KOLK_BACKEND_URING) {
#ifdef KOLK_HAVE_URING
        poller->ops = &kolk__poller_uring;
        loop->why = "asked for";
#else
        loop->why = "built without liburing";
#endif
    } else {
        loop->why = loop->asked == KOLK_BACKEND_EPOLL ? "asked for" : "default";
    }
}

int
kolk__poller_open(kolk_loop *loop)
{
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u64 = KOLK__EVENT_INBOX};
    kolk__poller *poller = kolk__sys.calloc(1, sizeof *poller);
    int err;

    if (poller == NULL) {
        return -ENOMEM;
    }
    poller->timer_fd = -1;
    kolk__ring_init(&poller->others);
    poller->epoll_fd = kolk__sys.epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll_fd < 0) {
        err = -errno;
        goto free_poller;
    }
    if (kolk__sys.epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, loop->inbox->fd,
                            &event)
        < 0) {
        err = -errno;
        goto close_epoll;
    }
    loop->poller = poller;
    poller_choose(loop);
    return 0;

close_epoll:
    (void)kolk__sys.close(poller->epoll_fd); /* nothing is buffered in it */
free_poller:
    kolk__sys.free(poller);
    return err;
}

const char *
kolk_loop_backend(const kolk_loop *loop, const char **why)
{
    if (why != NULL) {
        *why = loop->why;
    }
    return loop->poller->ops->name;
}

/* ---- closing ---- */

static int
poller_settle_each(kolk_loop *loop, int fd, struct kolk__descriptor *desc,
                   void *arg)
{
    (void)fd, (void)arg;
    kolk__op_cancel_ring(loop, &desc->readers);
    kolk__op_cancel_ring(loop, &desc->writers);
    kolk__op_cancel_ring(loop, &desc->polls);
    kolk__op_cancel_ring(loop, &desc->files);
    return 0;
}

void
kolk__poller_settle(kolk_loop *loop)
{
    (void)kolk__descriptor_each(loop, poller_settle_each, NULL);
    kolk__op_cancel_ring(loop, &loop->poller->others);
}

static int
poller_drop_each(kolk_loop *loop, int fd, struct kolk__descriptor *desc,
                 void *arg)
{
    (void)fd, (void)arg;
    kolk__watches_drop(loop, desc);
    return 0;
}

void
kolk__poller_close(kolk_loop *loop)
{
    kolk__poller *poller = loop->poller;

    (void)kolk__descriptor_each(loop, poller_drop_each, NULL);
#ifdef KOLK_HAVE_URING
    kolk__uring_close(loop);
#endif
    if (poller->timer_fd >= 0) {
        (void)kolk__sys.close(poller->timer_fd); /* nothing is buffered */
    }
    (void)kolk__sys.close(poller->epoll_fd);
    kolk__descriptors_free(poller);
    kolk__sys.free(poller);
    loop->poller = NULL;
}

/* ---- visiting ---- */

/* Operations in the ready queue are shown from there; those of tasks are the
 * library's own. */
static int
poller_visit_ops(kolk_visitor *visitor, const kolk_link *ring)
{
    int result = 0;

    for (kolk_link *link = ring->next; link != ring && result == 0;
         link = link->next) {
        kolk_op *op = KOLK_CONTAINER_OF(link, kolk_op, link);

        if (op->ended == NULL && !kolk__call_is_linked(&op->call)) {
            result = visitor->fn(visitor, KOLK_NODE_OP, op);
        }
    }
    return result;
}

static int
poller_visit_each(kolk_loop *loop, int fd, struct kolk__descriptor *desc,
                  void *arg)
{
    const kolk_link *rings[] = {&desc->readers, &desc->writers, &desc->polls,
                                &desc->files};
    kolk_visitor *visitor = arg;
    int result = 0;

    (void)loop, (void)fd;
    for (size_t i = 0; i < sizeof rings / sizeof *rings && result == 0; i++) {
        result = poller_visit_ops(visitor, rings[i]);
    }
    for (kolk_link *link = desc->watches.next;
         link != &desc->watches && result == 0; link = link->next) {
        result = visitor->fn(visitor, KOLK_NODE_WATCH,
                             KOLK_CONTAINER_OF(link, kolk_watch, link));
    }
    return result;
}

int
kolk__poller_visit(kolk_loop *loop, kolk_visitor *visitor)
{
    if (loop->poller == NULL) {
        return 0; /* the loop is being closed */
    }
    int result = kolk__descriptor_each(loop, poller_visit_each, visitor);

    return result != 0 ? result
                       : poller_visit_ops(visitor, &loop->poller->others);
}
