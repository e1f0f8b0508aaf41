/* toy.c - an engine for tests of the driver. See toy.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "toy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int toy_count;
char toy_trouble[] = "the toy's trouble";

static toy *
toy_of(const kolk_tls_engine *engine)
{
    return KOLK_CONTAINER_OF(engine, toy, engine);
}

/* Appends to a buffer of a toy's. */
static void
toy_append(unsigned char **buffer, size_t *used, size_t *room, const void *data,
           size_t size)
{
    if (*room - *used < size) {
        *room = 2 * (*used + size);
        *buffer = realloc(*buffer, *room);
        if (*buffer == NULL) {
            abort();
        }
    }
    if (size > 0) {
        memcpy(*buffer + *used, data, size);
        *used += size;
    }
}

void
toy_put(toy *self, char letter, const void *data, size_t size)
{
    const unsigned char head[TOY_HEAD] = {
        (unsigned char)letter,
        (unsigned char)(size >> 8),
        (unsigned char)size,
    };

    toy_append(&self->out, &self->out_size, &self->out_room, head, TOY_HEAD);
    toy_append(&self->out, &self->out_size, &self->out_room, data, size);
    for (size_t i = self->out_size - size; i < self->out_size; i++) {
        self->out[i] ^= 0xff;
    }
}

/* Throws the first record away; once in a while, also its memory. */
static void
toy_drop(toy *self, size_t size)
{
    self->plain = 0;
    self->in_begin += size;
    if (self->in_begin > self->in_size / 2) {
        self->in_size -= self->in_begin;
        memmove(self->in, self->in + self->in_begin, self->in_size);
        self->in_begin = 0;
    }
}

/* The letter of the first record, with its length; 0 if it has not come. */
static char
toy_first(const toy *self, size_t *length)
{
    size_t size = self->in_size - self->in_begin;

    if (size < TOY_HEAD) {
        return 0;
    }
    const unsigned char *head = self->in + self->in_begin;
    *length = (size_t)head[1] << 8 | head[2];
    return size >= TOY_HEAD + *length ? (char)head[0] : 0;
}

static int
toy_fail(toy *self, int error)
{
    self->error = error;
    return error;
}

/* Takes what is not data; the letter of what comes then, 0, or an error. */
static int
toy_digest(toy *self)
{
    size_t length;
    char letter;

    while ((letter = toy_first(self, &length)) != 0) {
        switch (letter) {
        case 'D':
            if (length > 0) {
                return letter;
            }
            break;
        case 'C':
            return letter;
        case 'H':
            self->heard++;
            if (self->is_server || self->heard < self->rounds) {
                toy_put(self, 'H', "hello", 5);
            }
            break;
        case 'U':
            toy_put(self, 'u', "updated", 7);
            break;
        case 'u':
            break;
        case 'A':
            return toy_fail(self, TOY_ERROR);
        default:
            toy_put(self, 'A', "?", 1);
            return toy_fail(self, -KOLK_ETLS);
        }
        toy_drop(self, TOY_HEAD + length);
    }
    return 0;
}

static int
toy_feed(kolk_tls_engine *engine, const void *data, size_t size)
{
    toy *self = toy_of(engine);

    CHECK_INT(self->error, 0);
    if (self->appetite > 0) {
        size_t room =
            self->in_size < self->appetite ? self->appetite - self->in_size : 0;
        size = size < room ? size : room;
    }
    toy_append(&self->in, &self->in_size, &self->in_room, data, size);
    return (int)size;
}

static void
toy_feed_eof(kolk_tls_engine *engine)
{
    toy *self = toy_of(engine);

    CHECK_INT(self->error, 0);
    CHECK(!self->has_ended);
    self->has_ended = true;
}

static size_t
toy_output(kolk_tls_engine *engine, void *buffer, size_t size)
{
    toy *self = toy_of(engine);

    size = size < self->out_size ? size : self->out_size;
    if (size > 0) {
        memcpy(buffer, self->out, size);
        self->out_size -= size;
        memmove(self->out, self->out + size, self->out_size);
    }
    return size;
}

static size_t
toy_output_size(const kolk_tls_engine *engine)
{
    return toy_of(engine)->out_size;
}

static int
toy_handshake(kolk_tls_engine *engine)
{
    toy *self = toy_of(engine);

    CHECK_INT(self->error, 0);
    if (!self->is_server && !self->has_begun) {
        self->has_begun = true;
        toy_put(self, 'H', "hello", 5);
    }
    int result = self->heard < self->rounds ? toy_digest(self) : 0;
    if (result < 0) {
        return result;
    }
    if (self->heard >= self->rounds) {
        return 0;
    }
    if (result != 0) {
        return toy_fail(self, -KOLK_ETLS); /* data before its time */
    }
    return self->has_ended ? toy_fail(self, -ECONNRESET) : -EAGAIN;
}

static int
toy_read(kolk_tls_engine *engine, void *buffer, size_t size)
{
    toy *self = toy_of(engine);
    size_t length = 0;

    CHECK_INT(self->error, 0);
    CHECK(size > 0);
    int next = self->is_closed ? 'C' : toy_digest(self);
    if (next == 'C') {
        self->is_closed = true;
        return 0;
    }
    if (next <= 0) {
        return next < 0          ? next
               : self->has_ended ? toy_fail(self, -KOLK_ETRUNCATED)
                                 : -EAGAIN;
    }
    (void)toy_first(self, &length);
    size_t left = length - self->plain;
    size = size < left ? size : left;
    for (size_t i = 0; i < size; i++) {
        ((unsigned char *)buffer)[i] =
            self->in[self->in_begin + TOY_HEAD + self->plain + i] ^ 0xff;
    }
    self->plain += size;
    if (self->plain == length) {
        toy_drop(self, TOY_HEAD + length);
    }
    return (int)size;
}

static int
toy_write(kolk_tls_engine *engine, const void *data, size_t size)
{
    toy *self = toy_of(engine);

    CHECK_INT(self->error, 0);
    CHECK(!self->is_shut);
    CHECK(size > 0);
    if (self->refuses_writes > 0) {
        self->refuses_writes--;
        return -EAGAIN;
    }
    size = size < TOY_RECORD ? size : TOY_RECORD;
    toy_put(self, 'D', data, size);
    self->records++;
    return (int)size;
}

static int
toy_shutdown(kolk_tls_engine *engine)
{
    toy *self = toy_of(engine);

    CHECK_INT(self->error, 0);
    CHECK(!self->is_shut);
    self->is_shut = true;
    toy_put(self, 'C', "", 0);
    return 0;
}

static void *
toy_error(kolk_tls_engine *engine)
{
    return toy_of(engine)->error == TOY_ERROR ? toy_trouble : NULL;
}

static void
toy_free(kolk_tls_engine *engine)
{
    toy *self = toy_of(engine);

    toy_count--;
    free(self->in);
    free(self->out);
    free(self);
}

static const kolk_tls_engine_ops toy_ops = {
    .feed = toy_feed,
    .feed_eof = toy_feed_eof,
    .output = toy_output,
    .output_size = toy_output_size,
    .handshake = toy_handshake,
    .read = toy_read,
    .write = toy_write,
    .shutdown = toy_shutdown,
    .error = toy_error,
    .free = toy_free,
};

toy *
toy_new(bool is_server)
{
    toy *self = calloc(1, sizeof *self);

    if (self == NULL) {
        abort();
    }
    self->engine.ops = &toy_ops;
    self->is_server = is_server;
    self->rounds = 1;
    toy_count++;
    return self;
}

/* ---- the other end ---- */

static void
peer_fini(void *object)
{
    toy_peer *self = object;

    toy_free(&self->toy->engine);
    free(self);
}

toy_peer *
toy_peer_new(int fd, bool is_server)
{
    toy_peer *self = calloc(1, sizeof *self);
    const int size = 4096;

    if (self == NULL) {
        abort();
    }
    self->fd = fd;
    self->toy = toy_new(is_server);
    test_later(peer_fini, self);
    CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    return self;
}

size_t
toy_peer_send(toy_peer *peer)
{
    toy *self = peer->toy;

    while (self->out_size > 0) {
        size_t size = peer->step > 0 && peer->step < self->out_size
                          ? peer->step
                          : self->out_size;
        ssize_t sent = send(peer->fd, self->out, size, MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN) {
            self->out_size = 0; /* nobody takes it any more */
        }
        if (sent <= 0) {
            break;
        }
        self->out_size -= (size_t)sent;
        memmove(self->out, self->out + sent, self->out_size);
        if (peer->step > 0) {
            break;
        }
    }
    return self->out_size;
}

size_t
toy_peer_receive(toy_peer *peer, size_t size)
{
    char bytes[4096];
    size_t all = 0;

    while (size == 0 || all < size) {
        size_t part =
            size > 0 && size - all < sizeof bytes ? size - all : sizeof bytes;
        ssize_t got = recv(peer->fd, bytes, part, 0);

        if (got == 0 && !peer->toy->has_ended) {
            toy_feed_eof(&peer->toy->engine);
        }
        if (got <= 0) {
            break;
        }
        (void)toy_feed(&peer->toy->engine, bytes, (size_t)got);
        all += (size_t)got;
    }
    return all;
}

void
toy_peer_forget(toy_peer *peer)
{
    peer->toy->in_begin = peer->toy->in_size = 0;
}

void
toy_peer_say(toy_peer *peer, const char *text)
{
    toy_put(peer->toy, 'D', text, strlen(text));
    (void)toy_peer_send(peer);
}

int
toy_peer_hear(toy_peer *peer, char *buffer, size_t size)
{
    size_t got = 0;
    int result = -EAGAIN;

    (void)toy_peer_receive(peer, 0);
    while (got + 1 < size) {
        result = toy_read(&peer->toy->engine, buffer + got, size - 1 - got);
        if (result <= 0) {
            break;
        }
        got += (size_t)result;
    }
    buffer[got] = '\0';
    return got > 0 ? (int)got : result;
}

void
toy_peer_shake(toy_peer *peer, kolk_loop *loop)
{
    bool is_done = false;

    for (int i = 0; i < 100 && !is_done; i++) {
        is_done = toy_handshake(&peer->toy->engine) == 0
                  && peer->toy->out_size == 0 && i > 4;
        (void)toy_peer_send(peer);
        CHECK_OK(kolk_run_once(loop));
        (void)toy_peer_receive(peer, 0);
    }
    CHECK(is_done);
}
