/* watch.c - callbacks whenever a descriptor is ready. See kolk/watch.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A watch stands in its descriptor's ring while it is started, and in the
 * ready queue too once something was found. A stopped one is in neither, so
 * what epoll found for it before cannot run it.
 */
#include <errno.h>

#include "loop/descriptor.h"

static void
watch_run(kolk_call *call)
{
    kolk_watch *watch = KOLK_CONTAINER_OF(call, kolk_watch, call);

    watch->fn(watch);
}

kolk_watch *
kolk__watch_of(kolk_call *call)
{
    return call->fn == watch_run ? KOLK_CONTAINER_OF(call, kolk_watch, call)
                                 : NULL;
}

void
kolk_watch_init(kolk_watch *watch, int fd, kolk_watch_fn *fn,
                kolk_watch_fn *dropped)
{
    *watch = (kolk_watch){.fn = fn, .dropped = dropped, .fd = fd};
    kolk_call_init(&watch->call, watch_run, NULL);
}

/* Watches of the kind of `events` that are started. */
static size_t *
watch_count(kolk_loop *loop, unsigned events)
{
    return (events & KOLK_BACKGROUND) != 0 ? &loop->poller->background
                                           : &loop->poller->watched;
}

/* Puts back what a start that failed has changed. */
static int
watch_undo(kolk_watch *watch, unsigned events, int err)
{
    watch->events = events;
    if (events == 0) {
        kolk__ring_remove(&watch->link);
    }
    return err;
}

int
kolk_watch_start(kolk_loop *loop, kolk_watch *watch, unsigned events)
{
    unsigned before = watch->events;
    int err = kolk__loop_check(loop, "kolk_watch_start()");

    if (err < 0) {
        return err;
    }
    if (watch->fd < 0) {
        return -EBADF;
    }
    if ((events & (KOLK_READABLE | KOLK_WRITABLE | KOLK_PRIORITY)) == 0) {
        return -EINVAL;
    }
    events &= KOLK_READABLE | KOLK_WRITABLE | KOLK_PRIORITY | KOLK_BACKGROUND;
    struct kolk__descriptor *desc =
        kolk__descriptor_get(loop->poller, watch->fd);
    if (desc == NULL) {
        return -ENOMEM;
    }
    if (desc->listener != NULL) {
        return -EBUSY;
    }
    if (before == 0) {
        kolk__ring_push(&desc->watches, &watch->link);
    }
    watch->events = events;
    if (loop->debug) {
        kolk__descriptor_verify(loop, watch->fd, desc);
    }
    err = kolk__descriptor_update(loop, watch->fd, desc);
    if (err < 0) {
        return watch_undo(watch, before, err);
    }
    if (before != 0) {
        --*watch_count(loop, before);
    }
    ++*watch_count(loop, events);
    watch->ready &= events;
    if (watch->ready == 0 && kolk__call_is_linked(&watch->call)) {
        kolk__call_unlink(&watch->call);
    }
    return 0;
}

/* Takes `watch` out of every list. */
static void
watch_unlink(kolk_loop *loop, kolk_watch *watch)
{
    kolk__ring_remove(&watch->link);
    if (kolk__call_is_linked(&watch->call)) {
        kolk__call_unlink(&watch->call);
    }
    --*watch_count(loop, watch->events);
    watch->events = 0;
    watch->ready = 0;
}

void
kolk_watch_stop(kolk_loop *loop, kolk_watch *watch)
{
    if (watch->events == 0) {
        return;
    }
    watch_unlink(loop, watch);
    if (loop->generation != kolk__generation) {
        return; /* the registration is the parent's */
    }
    struct kolk__descriptor *desc =
        kolk__descriptor_find(loop->poller, watch->fd);
    /* What fails leaves too much registered, and is mended at the next event.
     */
    (void)kolk__descriptor_update(loop, watch->fd, desc);
}

void
kolk__watches_fire(kolk_loop *loop, struct kolk__descriptor *desc,
                   unsigned found, bool broken)
{
    for (kolk_link *link = desc->watches.next; link != &desc->watches;
         link = link->next) {
        kolk_watch *watch = KOLK_CONTAINER_OF(link, kolk_watch, link);
        unsigned ready = (broken ? watch->events : found & watch->events)
                         & ~(unsigned)KOLK_BACKGROUND;

        if (ready == 0) {
            continue;
        }
        if (kolk__call_is_linked(&watch->call)) {
            watch->ready |= ready;
        } else {
            watch->ready = ready;
            kolk__ready_push(loop, &watch->call);
        }
    }
}

void
kolk__watches_drop(kolk_loop *loop, struct kolk__descriptor *desc)
{
    while (!kolk__ring_is_empty(&desc->watches)) {
        kolk_watch *watch =
            KOLK_CONTAINER_OF(desc->watches.next, kolk_watch, link);

        watch_unlink(loop, watch);
        if (watch->dropped != NULL) {
            watch->dropped(watch);
        }
    }
}
