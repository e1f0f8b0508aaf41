/* talker.h - a protocol that remembers what it was told.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "kit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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
    free(self);
}

/* One on `loop` that is not connected; it goes with the test. */
static inline struct talker *
talker_new(kolk_loop *loop)
{
    struct talker *self = calloc(1, sizeof *self);

    if (self == NULL) {
        abort();
    }
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
        test_disown(fd);
    }
    return err;
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

/* Runs turns until it has been told something, or some seconds have gone. */
static inline bool
talker_wait_size(struct talker *self, size_t size)
{
    for (int i = 0; i < 5000 && self->size < size && self->losses == 0; i++) {
        if (kolk_run_once(self->loop) < 0) {
            return false;
        }
        usleep(i < 100 ? 0 : 1000);
    }
    return self->size >= size;
}
