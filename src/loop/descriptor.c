/* descriptor.c - what a loop knows of each descriptor number, and readiness.
 *
 * SPDX-License-Identifier: MIT
 *
 * A table with two levels, so that entries have stable addresses and a number
 * costs nothing until it is used. Each entry stands for at most one
 * registration with epoll, of one of two kinds:
 *
 *  - Edge-triggered, for everything, once per life, while there are operations
 *    only: then a message costs a receive and a send, and epoll_ctl() nothing.
 *    Two flags remember whether a direction may be tried; hang-ups and errors
 *    are remembered for good, because data and the end of the stream may come
 *    in one event, and then no other follows.
 *  - Level-triggered, for exactly what somebody waits for, as soon as there is
 *    a watch, whose owner may read as little as it likes.
 *
 * A descriptor that has an owner (kolk__listener) has the first kind.
 *
 * Events carry the number and a generation, which counts the files that had
 * the number. So an event that was found for a file that has been closed
 * since says nothing about the next one.
 */
#include "loop/descriptor.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/sys.h"
#include "loop/op.h"

static const uint32_t DESCRIPTOR_EDGE =
    EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;

/* ---- the table ---- */

static int
descriptor_grow(kolk__poller *poller, size_t count)
{
    size_t size = count * sizeof(struct kolk__descriptor *);
    struct kolk__descriptor **chunks = kolk__sys.realloc(poller->chunks, size);

    if (chunks == NULL) {
        return -ENOMEM;
    }
    for (size_t i = poller->chunk_count; i < count; i++) {
        chunks[i] = NULL;
    }
    poller->chunks = chunks;
    poller->chunk_count = count;
    return 0;
}

static void
descriptor_init(struct kolk__descriptor *desc)
{
    kolk__ring_init(&desc->readers);
    kolk__ring_init(&desc->writers);
    kolk__ring_init(&desc->polls);
    kolk__ring_init(&desc->files);
    kolk__ring_init(&desc->watches);
    desc->ready_in = desc->ready_out = true;
}

static struct kolk__descriptor *
descriptor_get_slow(kolk__poller *poller, int fd)
{
    size_t chunk = (unsigned)fd / KOLK__CHUNK_SIZE;

    if (chunk >= poller->chunk_count
        && descriptor_grow(poller, chunk + 1) < 0) {
        return NULL;
    }
    struct kolk__descriptor *first =
        kolk__sys.calloc(KOLK__CHUNK_SIZE, sizeof *first);
    if (first == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < KOLK__CHUNK_SIZE; i++) {
        descriptor_init(&first[i]);
    }
    poller->chunks[chunk] = first;
    return &first[(unsigned)fd % KOLK__CHUNK_SIZE];
}

struct kolk__descriptor *
kolk__descriptor_get(kolk__poller *poller, int fd)
{
    struct kolk__descriptor *desc = kolk__descriptor_find(poller, fd);

    return KOLK_LIKELY(desc != NULL) ? desc : descriptor_get_slow(poller, fd);
}

int
kolk__descriptor_each(kolk_loop *loop,
                      int (*fn)(kolk_loop *loop, int fd,
                                struct kolk__descriptor *desc, void *arg),
                      void *arg)
{
    const kolk__poller *poller = loop->poller;
    int result = 0;

    for (size_t i = 0; i < poller->chunk_count; i++) {
        struct kolk__descriptor *chunk = poller->chunks[i];

        for (size_t j = 0; chunk != NULL && j < KOLK__CHUNK_SIZE; j++) {
            int fd = (int)(i * KOLK__CHUNK_SIZE + j);

            result = fn(loop, fd, &chunk[j], arg);
            if (result != 0) {
                return result;
            }
        }
    }
    return result;
}

void
kolk__descriptors_free(kolk__poller *poller)
{
    for (size_t i = 0; i < poller->chunk_count; i++) {
        kolk__sys.free(poller->chunks[i]);
    }
    kolk__sys.free(poller->chunks);
}

/* ---- the registration ---- */

/* Looks up once what a short read means here. Not knowing costs one receive a
 * message, so a failure is no error. */
static uint8_t
descriptor_stream(int fd)
{
    int domain = 0, type = 0, protocol = 0;
    socklen_t length = sizeof domain;

    if (kolk__sys.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0
        || type != SOCK_STREAM
        || kolk__sys.getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0
        || kolk__sys.getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length)
               < 0) {
        return KOLK__STREAM_NONE;
    }
    if (domain == AF_UNIX) {
        return KOLK__STREAM_UNIX;
    }
    return protocol == IPPROTO_TCP ? KOLK__STREAM_TCP : KOLK__STREAM_NONE;
}

static void
descriptor_remember_file(int fd, struct kolk__descriptor *desc)
{
    struct stat info = {0};

    (void)kolk__sys.fstat(fd, &info); /* unknown: then nothing is verified */
    desc->device = info.st_dev;
    desc->inode = info.st_ino;
}

static int
descriptor_ctl(kolk_loop *loop, int command, int fd,
               const struct kolk__descriptor *desc, uint32_t mask)
{
    struct epoll_event event = {
        .events = mask,
        .data.u64 = (uint64_t)desc->generation << 32 | (unsigned)fd,
    };

    if (kolk__sys.epoll_ctl(loop->poller->epoll_fd, command, fd, &event) < 0) {
        return -errno;
    }
    return 0;
}

/* Sets `mask`, not 0, also where a descriptor has been closed, and its number
 * given out again, behind our back. */
static int
descriptor_set(kolk_loop *loop, int fd, const struct kolk__descriptor *desc,
               uint32_t mask)
{
    bool is_known = desc->mask != 0;
    int err = descriptor_ctl(loop, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
                             desc, mask);

    if (err == -ENOENT) {
        return descriptor_ctl(loop, EPOLL_CTL_ADD, fd, desc, mask);
    }
    if (err == -EEXIST) {
        return descriptor_ctl(loop, EPOLL_CTL_MOD, fd, desc, mask);
    }
    return err;
}

static uint32_t
descriptor_mask_of(unsigned events)
{
    return (events & KOLK_READABLE ? EPOLLIN : 0u)
           | (events & KOLK_WRITABLE ? EPOLLOUT : 0u)
           | (events & KOLK_PRIORITY ? EPOLLPRI : 0u);
}

static bool
descriptor_waits(const kolk_link *ring)
{
    return !kolk__ring_is_empty(ring)
           && KOLK_CONTAINER_OF(ring->next, kolk_op, link)->state
                  == KOLK__OP_WAITING;
}

/* What somebody waits for. */
static uint32_t
descriptor_needs(const struct kolk__descriptor *desc)
{
    uint32_t needs = 0;

    if (descriptor_waits(&desc->readers)) {
        needs |= EPOLLIN;
    }
    if (descriptor_waits(&desc->writers)) {
        needs |= EPOLLOUT;
    }
    for (kolk_link *link = desc->polls.next; link != &desc->polls;
         link = link->next) {
        const kolk_op *op = KOLK_CONTAINER_OF(link, kolk_op, link);
        needs |= descriptor_mask_of(op->extra);
    }
    for (kolk_link *link = desc->watches.next; link != &desc->watches;
         link = link->next) {
        const kolk_watch *watch = KOLK_CONTAINER_OF(link, kolk_watch, link);
        needs |= descriptor_mask_of(watch->events);
    }
    return needs;
}

/* What the registration should be: that of operations stays. */
static uint32_t
descriptor_mask(const struct kolk__descriptor *desc)
{
    uint32_t needs;

    if (kolk__ring_is_empty(&desc->watches)) {
        if (desc->is_edge) {
            return DESCRIPTOR_EDGE;
        }
        needs = descriptor_needs(desc);
        return needs != 0 ? DESCRIPTOR_EDGE : 0;
    }
    return descriptor_needs(desc);
}

int
kolk__descriptor_update(kolk_loop *loop, int fd, struct kolk__descriptor *desc)
{
    uint32_t mask = descriptor_mask(desc);

    if (KOLK_LIKELY(mask == desc->mask)) {
        return 0;
    }
    if (mask == 0) {
        kolk__descriptor_unregister(loop, fd, desc);
        return 0;
    }
    int err = descriptor_set(loop, fd, desc, mask);
    if (err < 0) {
        return err;
    }
    if (desc->mask == 0 && loop->debug) {
        descriptor_remember_file(fd, desc);
    }
    if (mask == DESCRIPTOR_EDGE && !desc->is_edge) {
        desc->stream = descriptor_stream(fd);
    }
    /* What may be tried is not known; if it may, an event follows. */
    desc->is_edge = mask == DESCRIPTOR_EDGE;
    desc->ready_in = desc->ready_out = true;
    desc->mask = mask;
    return 0;
}

static void
descriptor_forget(struct kolk__descriptor *desc)
{
    desc->mask = 0;
    desc->generation++;
    desc->is_edge = false;
    desc->ready_in = desc->ready_out = true;
    desc->is_closing = desc->is_broken = false;
    desc->no_ring = false;
    desc->stream = KOLK__STREAM_NONE;
}

void
kolk__descriptor_unregister(kolk_loop *loop, int fd,
                            struct kolk__descriptor *desc)
{
    if (desc->mask != 0) {
        /* May have been closed behind our back, which is as good. */
        (void)descriptor_ctl(loop, EPOLL_CTL_DEL, fd, desc, 0);
    }
    descriptor_forget(desc);
}

void
kolk__descriptor_verify(kolk_loop *loop, int fd, struct kolk__descriptor *desc)
{
    struct stat info;

    if (desc->mask == 0 || desc->inode == 0 || kolk__sys.fstat(fd, &info) < 0
        || (info.st_ino == desc->inode && info.st_dev == desc->device)) {
        return;
    }
    kolk__report(loop, -EBADF, NULL,
                 "descriptor %d was closed behind the loop's back: call "
                 "kolk_forget() before close()",
                 fd);
    descriptor_forget(desc);
}

static void
descriptor_revoke(kolk_loop *loop, struct kolk__descriptor *desc)
{
    kolk__listener *listener = desc->listener;

    if (listener != NULL) {
        desc->listener = NULL;
        loop->poller->listening--;
        listener->ops->revoked(loop, listener);
    }
}

void
kolk__descriptor_reset(kolk_loop *loop, int fd)
{
    struct kolk__descriptor *desc = kolk__descriptor_find(loop->poller, fd);

    if (desc == NULL
        || (desc->mask == 0 && kolk__ring_is_empty(&desc->readers)
            && kolk__ring_is_empty(&desc->writers) && desc->listener == NULL)) {
        return;
    }
    descriptor_forget(desc);
    kolk__op_cancel_ring(loop, &desc->readers);
    kolk__op_cancel_ring(loop, &desc->writers);
    kolk__op_cancel_ring(loop, &desc->polls);
    descriptor_revoke(loop, desc);
}

/* ---- owners ---- */

/* What is known may be of a file that has been closed, and the registration
 * with it. Asks epoll, and forgets the file unless it is still there. */
static int
descriptor_reregister(kolk_loop *loop, int fd, struct kolk__descriptor *desc)
{
    int err = descriptor_ctl(loop, EPOLL_CTL_MOD, fd, desc, DESCRIPTOR_EDGE);

    if (err < 0) {
        kolk__descriptor_reset(loop, fd);
    }
    return err;
}

void
kolk__descriptor_doubt(kolk_loop *loop, int fd, struct kolk__descriptor *desc)
{
    (void)descriptor_reregister(loop, fd, desc); /* either way it is settled */
}

static int
descriptor_register(kolk_loop *loop, int fd, struct kolk__descriptor *desc)
{
    if (desc->mask != 0) {
        int err = descriptor_reregister(loop, fd, desc);

        if (err == 0) {
            return desc->listener != NULL ? -EBUSY : 0;
        }
    } else {
        kolk__descriptor_reset(loop, fd);
    }
    return descriptor_set(loop, fd, desc, DESCRIPTOR_EDGE);
}

int
kolk__descriptor_listen(kolk_loop *loop, int fd, kolk__listener *listener,
                        struct kolk__descriptor **out)
{
    struct kolk__descriptor *desc = kolk__descriptor_get(loop->poller, fd);

    if (desc == NULL) {
        return -ENOMEM;
    }
    if (!kolk__ring_is_empty(&desc->watches)) {
        return -EBUSY;
    }
    int err = descriptor_register(loop, fd, desc);
    if (err == 0) {
        desc->mask = DESCRIPTOR_EDGE;
        desc->is_edge = true;
        desc->ready_in = false;
        desc->ready_out = true;
        desc->stream = descriptor_stream(fd);
        if (loop->debug) {
            descriptor_remember_file(fd, desc);
        }
    } else if (err != -EPERM) {
        return err;
    }
    desc->listener = listener;
    loop->poller->listening++;
    *out = desc;
    return 0;
}

void
kolk__descriptor_unlisten(kolk_loop *loop, int fd,
                          struct kolk__descriptor *desc)
{
    desc->listener = NULL;
    loop->poller->listening--;
    if (loop->generation == kolk__generation) {
        kolk_forget(loop, fd);
    }
}

/* ---- events ---- */

static void
descriptor_wake_polls(kolk_loop *loop, struct kolk__descriptor *desc,
                      unsigned found)
{
    kolk_link *link = desc->polls.next;

    while (link != &desc->polls) {
        kolk_op *op = KOLK_CONTAINER_OF(link, kolk_op, link);

        link = link->next;
        if ((op->extra & found) != 0) {
            kolk__ring_unlink(&op->link);
            kolk__op_end(loop, op, (int)(op->extra & found));
        }
    }
}

/* In terms of watch.h. */
static unsigned
descriptor_found(uint32_t events)
{
    unsigned found = 0;

    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        found |= KOLK_READABLE;
    }
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        found |= KOLK_WRITABLE;
    }
    if ((events & EPOLLPRI) != 0) {
        found |= KOLK_PRIORITY;
    }
    return found;
}

/* An event of a registration that is not, or not only, plain readiness of an
 * edge-triggered one. */
static void
descriptor_event_slow(kolk_loop *loop, int fd, struct kolk__descriptor *desc,
                      uint32_t events)
{
    const uint32_t plain = EPOLLIN | EPOLLOUT | EPOLLPRI;
    unsigned found = descriptor_found(events);
    bool is_unneeded =
        !desc->is_edge && (events & plain & ~descriptor_needs(desc)) != 0;

    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        desc->is_closing = true;
        desc->ready_in = true;
    }
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        desc->is_broken = true;
        desc->ready_out = true;
    }
    if ((events & EPOLLPRI) != 0) {
        desc->stream = KOLK__STREAM_NONE; /* urgent data cuts reads short */
    }
    desc->ready_in |= (found & KOLK_READABLE) != 0;
    desc->ready_out |= (found & KOLK_WRITABLE) != 0;
    if ((found & KOLK_READABLE) != 0) {
        kolk__op_serve(loop, desc, &desc->readers);
    }
    if ((found & KOLK_WRITABLE) != 0) {
        kolk__op_serve(loop, desc, &desc->writers);
    }
    descriptor_wake_polls(loop, desc, found);
    if (desc->listener != NULL) {
        desc->listener->ops->event(loop, desc->listener, events);
    }
    kolk__watches_fire(loop, desc, found,
                       (events & (EPOLLHUP | EPOLLERR)) != 0);
    if (is_unneeded) {
        /* Tried again at the next event if it fails. */
        (void)kolk__descriptor_update(loop, fd, desc);
    }
}

void
kolk__descriptor_event(kolk_loop *loop, int fd, struct kolk__descriptor *desc,
                       uint32_t events)
{
    if (KOLK_UNLIKELY(!desc->is_edge
                      || (events & ~(uint32_t)(EPOLLIN | EPOLLOUT)) != 0
                      || !kolk__ring_is_bare(&desc->polls))) {
        descriptor_event_slow(loop, fd, desc, events);
        return;
    }
    if ((events & EPOLLIN) != 0) {
        desc->ready_in = true;
        if (!kolk__ring_is_bare(&desc->readers)) {
            kolk__op_serve(loop, desc, &desc->readers);
        }
    }
    if ((events & EPOLLOUT) != 0) {
        desc->ready_out = true;
        if (!kolk__ring_is_bare(&desc->writers)) {
            kolk__op_serve(loop, desc, &desc->writers);
        }
    }
    if (desc->listener != NULL) {
        desc->listener->ops->event(loop, desc->listener, events);
    }
}
