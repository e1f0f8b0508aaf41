/* datagram_kit.h - sockets that remember what they were told, for tests.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sys.h"

/* ---- addresses ---- */

static inline kolk_address
dg_parse(const char *host, uint16_t port)
{
    kolk_address address = {0};

    CHECK_OK(kolk_address_parse(host, port, &address));
    return address;
}

static inline kolk_address
dg_ipv4(uint16_t port)
{
    return dg_parse("127.0.0.1", port);
}

static inline kolk_address
dg_ipv6(uint16_t port)
{
    return dg_parse("::1", port);
}

static inline kolk_address
dg_unix(const char *path)
{
    kolk_address address = {0};

    CHECK_OK(kolk_address_unix(path, strlen(path), &address));
    return address;
}

/* An abstract name of this process's. */
static inline kolk_address
dg_abstract(const char *name)
{
    char path[64] = "";
    kolk_address address = {0};
    int size = snprintf(path + 1, sizeof path - 1, "kolk-%ld-%s",
                        (long)getpid(), name);

    CHECK_OK(kolk_address_unix(path, 1 + (size_t)size, &address));
    return address;
}

/* ---- plain sockets, closed at the end of the test ---- */

/* Bound to `local` unless that is NULL. */
static inline int
dg_plain(int family, const kolk_address *local)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    test_own(fd);
    if (local != NULL) {
        CHECK_INT(
            bind(fd, (const struct sockaddr *)&local->storage, local->size), 0);
    }
    return fd;
}

static inline kolk_address
dg_name_of(int fd)
{
    kolk_address name = {.size = sizeof name.storage};

    CHECK_INT(getsockname(fd, (struct sockaddr *)&name.storage, &name.size), 0);
    return name;
}

static inline void
dg_send_plain(int fd, const void *data, size_t size, const kolk_address *to)
{
    ssize_t sent = to != NULL
                       ? sendto(fd, data, size, 0,
                                (const struct sockaddr *)&to->storage, to->size)
                       : send(fd, data, size, 0);

    CHECK_INT(sent, size);
}

/* An address of the loopback where nobody receives. */
static inline kolk_address
dg_nobody(void)
{
    kolk_address any = dg_ipv4(0);
    int fd = dg_plain(AF_INET, &any);
    kolk_address name = dg_name_of(fd);

    test_close(fd);
    return name;
}

/* ---- sockets of the library's ---- */

enum { DG_RECORDS = 512, DG_BYTES = 16 };

struct dg {
    kolk_datagram_protocol protocol;
    kolk_datagram *datagram;
    kolk_loop *loop;

    /* what it was told */
    int received; /* datagrams */
    int errors;
    int pauses, resumes;
    int losses;
    int lost; /* what the last callback was told */
    size_t sizes[DG_RECORDS];
    char bytes[DG_RECORDS][DG_BYTES]; /* the first of each, terminated */
    int error[DG_RECORDS];
    kolk_address from; /* of the last one */

    /* what it does when it is told, or NULL */
    void (*on_received)(struct dg *self, const void *data, size_t size);
    void (*on_error)(struct dg *self, int error);
    void (*on_pause)(struct dg *self);
    void (*on_resume)(struct dg *self);
    void (*on_lost)(struct dg *self);
};

static inline struct dg *
dg_of(kolk_datagram_protocol *protocol, const kolk_datagram *datagram)
{
    struct dg *self = KOLK_CONTAINER_OF(protocol, struct dg, protocol);

    CHECK_PTR(self->datagram, datagram);
    CHECK_INT(self->losses, 0);
    kolk_loop_stop(self->loop);
    return self;
}

static inline void
dg_received(kolk_datagram_protocol *protocol, kolk_datagram *datagram,
            const void *data, size_t size, const kolk_address *from)
{
    struct dg *self = dg_of(protocol, datagram);

    if (self->received < DG_RECORDS) {
        size_t copied = size < DG_BYTES - 1 ? size : DG_BYTES - 1;

        self->sizes[self->received] = size;
        memcpy(self->bytes[self->received], data, copied);
        self->bytes[self->received][copied] = '\0';
    }
    self->received++;
    self->from = *from;
    if (self->on_received != NULL) {
        self->on_received(self, data, size);
    }
}

static inline void
dg_failed(kolk_datagram_protocol *protocol, kolk_datagram *datagram, int error)
{
    struct dg *self = dg_of(protocol, datagram);

    if (self->errors < DG_RECORDS) {
        self->error[self->errors] = error;
    }
    self->errors++;
    if (self->on_error != NULL) {
        self->on_error(self, error);
    }
}

static inline void
dg_paused(kolk_datagram_protocol *protocol, kolk_datagram *datagram)
{
    struct dg *self = dg_of(protocol, datagram);

    CHECK_INT(self->pauses++, self->resumes);
    if (self->on_pause != NULL) {
        self->on_pause(self);
    }
}

static inline void
dg_resumed(kolk_datagram_protocol *protocol, kolk_datagram *datagram)
{
    struct dg *self = dg_of(protocol, datagram);

    CHECK_INT(++self->resumes, self->pauses);
    if (self->on_resume != NULL) {
        self->on_resume(self);
    }
}

static inline void
dg_lost(kolk_datagram_protocol *protocol, kolk_datagram *datagram, int error)
{
    struct dg *self = dg_of(protocol, datagram);

    self->losses++;
    self->lost = error;
    CHECK_ERR(kolk_datagram_fileno(datagram), -EBADF);
    if (self->on_lost != NULL) {
        self->on_lost(self);
    }
}

static const kolk_datagram_protocol_ops dg_ops = {
    .datagram_received = dg_received,
    .error_received = dg_failed,
    .pause_writing = dg_paused,
    .resume_writing = dg_resumed,
    .connection_lost = dg_lost,
};

/* For the end of the test: gives the reference up. The loop has one, too, until
 * it is closed. */
static inline void
dg_release(void *object)
{
    kolk_datagram_unref(((struct dg *)object)->datagram);
}

/* `self` stays until its loop has been closed: it is static. */
static inline void
dg_init(struct dg *self, kolk_loop *loop)
{
    memset(self, 0, sizeof *self);
    self->protocol.ops = &dg_ops;
    self->loop = loop;
}

static inline bool
dg_open_with(struct dg *self, kolk_loop *loop,
             const kolk_datagram_options *options)
{
    dg_init(self, loop);
    if (!CHECK_OK(kolk_datagram_open(loop, options, &self->protocol,
                                     &self->datagram))) {
        return false;
    }
    test_later(dg_release, self);
    return true;
}

/* Bound to `local`, connected to `remote`; either may be NULL. */
static inline bool
dg_open(struct dg *self, kolk_loop *loop, const kolk_address *local,
        const kolk_address *remote)
{
    kolk_datagram_options options = {0};

    if (local != NULL) {
        options.local = *local;
    }
    if (remote != NULL) {
        options.remote = *remote;
    }
    return dg_open_with(self, loop, &options);
}

static inline kolk_address
dg_name(const struct dg *self)
{
    kolk_address name = {0};

    CHECK_OK(kolk_datagram_sockname(self->datagram, &name));
    return name;
}

static inline void
dg_send(struct dg *self, const char *text, const kolk_address *to)
{
    CHECK_OK(kolk_datagram_send(self->datagram, text, strlen(text), to));
}

/* Runs the loop until `*count` is `goal`, which it does not exceed; for some
 * seconds of the loop's at most. */
static void
dg_tired(kolk_timer *timer)
{
    (void)timer;
    (void)kit_failed(__FILE__, __LINE__, "waited in vain");
}

static inline bool
dg_wait(kolk_loop *loop, const int *count, int goal)
{
    static kolk_timer patience;

    kolk_timer_init(&patience, dg_tired, NULL);
    CHECK_OK(kolk_call_later(loop, &patience, KOLK_S(10)));
    while (*count < goal && kit_failures() == 0) {
        CHECK_OK(kolk_run_forever(loop));
    }
    kolk_timer_stop(loop, &patience);
    return CHECK_INT(*count, goal);
}

/* ---- system calls, counted, and made to fail ---- */

static struct {
    struct kolk__sys real; /* as the kit has it */
    int sends, receives, controls;
    int fail_sends; /* so many sends fail with `send_error` */
    int send_error;
    int skip_sends; /* after so many that do not */
    int fail_receives;
    int receive_error;
    int fail_controls; /* so many registrations fail with ENOSPC */
} dg_calls;

static inline ssize_t
dg_sendto(int fd, const void *data, size_t size, int flags,
          const struct sockaddr *to, socklen_t to_size)
{
    dg_calls.sends++;
    if (dg_calls.skip_sends > 0) {
        dg_calls.skip_sends--;
    } else if (dg_calls.fail_sends > 0) {
        dg_calls.fail_sends--;
        errno = dg_calls.send_error;
        return -1;
    }
    return dg_calls.real.sendto(fd, data, size, flags, to, to_size);
}

static inline ssize_t
dg_recvfrom(int fd, void *data, size_t size, int flags, struct sockaddr *from,
            socklen_t *from_size)
{
    dg_calls.receives++;
    if (dg_calls.fail_receives > 0) {
        dg_calls.fail_receives--;
        errno = dg_calls.receive_error;
        return -1;
    }
    return dg_calls.real.recvfrom(fd, data, size, flags, from, from_size);
}

static inline int
dg_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    dg_calls.controls++;
    if (op != EPOLL_CTL_DEL && dg_calls.fail_controls > 0) {
        dg_calls.fail_controls--;
        errno = ENOSPC;
        return -1;
    }
    return dg_calls.real.epoll_ctl(epfd, op, fd, event);
}

/* Before the loop is opened. */
static inline void
dg_calls_watch(void)
{
    dg_calls.real = kolk__sys;
    kolk__sys.sendto = dg_sendto;
    kolk__sys.recvfrom = dg_recvfrom;
    kolk__sys.epoll_ctl = dg_epoll_ctl;
}

static inline void
dg_calls_fail_sends(int count, int error)
{
    dg_calls.fail_sends = count;
    dg_calls.send_error = error;
}
