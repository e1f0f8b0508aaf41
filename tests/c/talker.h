/* talker.h - a protocol that remembers what it was told.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "kit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TALKER_KEPT = 256 * 1024 };

/* What it was told, a letter each: data, eof, pause, resume, lost, readable. */
enum { TALKER_TRACE = 128 };

struct talker {
    kolk_protocol protocol;
    kolk_loop *loop;
    kolk_transport *transport; /* a reference, until talker_fini() */
    char got[TALKER_KEPT + 1];
    size_t size; /* of all that has come; what does not fit is counted only */
    char trace[TALKER_TRACE];
    bool keeps; /* answer to eof_received */
    int error;  /* of connection_lost */
    int losses;
    bool is_paused;
    bool is_open;
    bool is_over;  /* the test is: freed by the end of the connection */
    size_t wanted; /* of talker_wait_size() */
    char awaited;  /* of talker_wait_event() */

    /* called at each event, with its letter; may be NULL */
    void (*on)(struct talker *talker, char event);
};

static inline struct talker *
talker_of(kolk_protocol *protocol)
{
    return KOLK_CONTAINER_OF(protocol, struct talker, protocol);
}

static inline void
talker_note(struct talker *self, char event)
{
    size_t length = strlen(self->trace);

    /* Of data, one letter for all in a row. */
    if (length + 1 < TALKER_TRACE
        && (event != 'd' || length == 0 || self->trace[length - 1] != 'd')) {
        self->trace[length] = event;
    }
    if (self->on != NULL) {
        self->on(self, event);
    }
}

static inline void
talker_keep(struct talker *self, const void *data, size_t size)
{
    size_t room = self->size < TALKER_KEPT ? TALKER_KEPT - self->size : 0;

    if (room > 0) {
        memcpy(self->got + self->size, data, size < room ? size : room);
    }
    self->size += size;
}

static inline void
talker_data(kolk_protocol *protocol, kolk_transport *transport,
            const void *data, size_t size)
{
    struct talker *self = talker_of(protocol);

    CHECK(transport == self->transport || self->transport == NULL);
    CHECK(size > 0);
    talker_keep(self, data, size);
    talker_note(self, 'd');
}

static inline bool
talker_eof(kolk_protocol *protocol, kolk_transport *transport)
{
    struct talker *self = talker_of(protocol);

    (void)transport;
    talker_note(self, 'e');
    return self->keeps;
}

static inline void
talker_pause(kolk_protocol *protocol, kolk_transport *transport)
{
    struct talker *self = talker_of(protocol);

    (void)transport;
    CHECK(!self->is_paused);
    self->is_paused = true;
    talker_note(self, 'p');
}

static inline void
talker_resume(kolk_protocol *protocol, kolk_transport *transport)
{
    struct talker *self = talker_of(protocol);

    (void)transport;
    CHECK(self->is_paused);
    self->is_paused = false;
    talker_note(self, 'r');
}

static inline void
talker_lost(kolk_protocol *protocol, kolk_transport *transport, int error)
{
    struct talker *self = talker_of(protocol);

    (void)transport;
    if (self->is_over) {
        free(self);
        return;
    }
    self->error = error;
    self->losses++;
    CHECK_INT(self->losses, 1);
    talker_note(self, 'l');
    if (kolk_loop_is_running(self->loop)) {
        kolk_loop_stop(self->loop);
    }
}

static const kolk_protocol_ops talker_ops = {
    .data_received = talker_data,
    .eof_received = talker_eof,
    .pause_writing = talker_pause,
    .resume_writing = talker_resume,
    .connection_lost = talker_lost,
};

static inline void
talker_fini(void *talker)
{
    struct talker *self = talker;

    kolk_transport_unref(self->transport);
    self->is_over = true;
    self->on = NULL;
    if (!self->is_open || self->losses > 0) {
        free(self);
    }
}

/* One on `loop` that is not connected; it goes with the test. */
static inline struct talker *
talker_new(kolk_loop *loop)
{
    struct talker *self = calloc(1, sizeof *self);

    if (self == NULL) {
        abort();
    }
    (void)signal(SIGPIPE, SIG_IGN); /* of the other side's writes */
    self->protocol.ops = &talker_ops;
    self->loop = loop;
    test_later(talker_fini, self);
    return self;
}

/* Opens its transport, which owns `fd` then. */
static inline int
talker_open(struct talker *self, int fd, const kolk_transport_options *options)
{
    int err = kolk_transport_open(self->loop, fd, options, &self->protocol,
                                  &self->transport);

    if (err == 0) {
        self->is_open = true;
        test_disown(fd);
        if (options != NULL && options->write_fd > 0) {
            test_disown(options->write_fd);
        }
    }
    return err;
}

/* `heir` is told from now on. */
static inline void
talker_hand_over(struct talker *self, struct talker *heir)
{
    kolk_transport_set_protocol(self->transport, &heir->protocol);
    heir->is_open = true;
    self->is_open = false;
}

/* Runs the loop until the connection is lost; why. */
static inline int
talker_wait(struct talker *self)
{
    while (self->losses == 0) {
        if (kolk_run_forever(self->loop) < 0 || kit_failures() > 0) {
            return -ECHILD; /* no result of any test here */
        }
    }
    return self->error;
}

/* Runs some turns, without waiting for anything. */
static inline void
talker_pass(struct talker *self, int turns)
{
    for (int i = 0; i < turns; i++) {
        CHECK_OK(kolk_run_once(self->loop));
    }
}

/* Runs turns until `is_there(self)`, for some seconds at most. Returns whether
 * it is. */
static inline bool
talker_wait_until(struct talker *self,
                  bool (*is_there)(const struct talker *self))
{
    for (int i = 0; i < 4000 && !is_there(self); i++) {
        if (kolk_run_once(self->loop) < 0 || kit_failures() > 0) {
            return false;
        }
        usleep(i < 200 ? 0 : 1000);
    }
    return is_there(self);
}

static inline bool
talker_has_wanted(const struct talker *self)
{
    return self->size >= self->wanted || self->losses > 0;
}

/* The same until it has `size` bytes. */
static inline bool
talker_wait_size(struct talker *self, size_t size)
{
    self->wanted = size;
    return talker_wait_until(self, talker_has_wanted) && self->size >= size;
}

static inline bool
talker_has_heard(const struct talker *self)
{
    return strchr(self->trace, self->awaited) != NULL;
}

/* The same until it was told `event`. */
static inline bool
talker_wait_event(struct talker *self, char event)
{
    self->awaited = event;
    return talker_wait_until(self, talker_has_heard);
}

/* ---- the other side: descriptors, not of the loop ---- */

/* Both ends of a TCP connection, non-blocking; the test's. */
static inline void
talker_tcp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    test_own(listener);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_INT(listen(listener, 1), 0);
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_own(fds[0]);
    CHECK_INT(connect(fds[0], (struct sockaddr *)&address, size), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    test_own(fds[1]);
    CHECK_INT(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    test_close(listener);
}

/* Closes `fd` so that the other end is reset. */
static inline void
talker_reset(int fd)
{
    struct linger at_once = {.l_onoff = 1};

    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once),
              0);
    test_close(fd);
}

/* Takes what is there; how many bytes. */
static inline size_t
talker_take(int fd, void *buffer, size_t size)
{
    size_t taken = 0;
    ssize_t n = 1;

    while (taken < size && n > 0) {
        n = read(fd, (char *)buffer + taken, size - taken);
        taken += n > 0 ? (size_t)n : 0;
    }
    return taken;
}

/* Writes until the kernel refuses; how many bytes. */
static inline size_t
talker_fill(int fd)
{
    static const char zeros[65536];
    size_t filled = 0;
    ssize_t n;

    while ((n = write(fd, zeros, sizeof zeros)) > 0) {
        filled += (size_t)n;
    }
    return filled;
}
