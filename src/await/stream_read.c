/* stream_read.c - taking bytes out of a stream. See kolk/stream.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Bytes are received in the task's own step: into the caller's memory if there
 * is much room, else into the stream's buffer, as much as there is, so that a
 * program that reads in small steps needs few system calls. A request to cancel
 * is looked at only where the task would have to wait. So nothing is ever
 * received and not given to somebody.
 */
#include "await/stream.h"

#include <errno.h>

/* From this size on, memory of the caller's is received into directly. */
enum { READ_DIRECT = 4096 };

/* ---- receiving ---- */

static void
read_interrupt(kolk__coro *coro)
{
    kolk__wake(coro, -ECANCELED);
}

/* The task may not wait, so what the loop has not heard of yet is looked for,
 * too. */
static int
read_try_last(kolk_stream *stream, void *to, size_t size)
{
    stream->transport->in.desc->ready_in = true;
    return kolk_transport_try_read(stream->transport, to, size);
}

/* Takes what is there, without waiting; -EAGAIN if nothing is. */
static inline int
read_try(kolk_stream *stream, void *to, size_t size)
{
    if (KOLK_UNLIKELY(stream->has_ended)) {
        return 0;
    }
    int result = kolk__transport_read(stream->transport, to, size);
    if (KOLK_LIKELY(result > 0)) {
        return result;
    }
    if (result == -EAGAIN && kolk__this_thread.loop->current->is_cancelled) {
        result = read_try_last(stream, to, size);
    }
    stream->has_ended = result == 0;
    return result;
}

/* Waits until there may be something. Returns 0 or -ECANCELED. Inlined, as each
 * message comes by here. */
static inline __attribute__((always_inline)) int
read_wait(kolk_stream *stream, kolk__stream_wait *wait)
{
    kolk__coro *coro = kolk__this_thread.loop->current;

    if (stream->buffer.data != NULL) {
        kolk__read_buffer_rest(stream->loop, &stream->buffer);
    }
    if (KOLK_UNLIKELY(coro->is_cancelled)) {
        return kolk__wait_refused(coro);
    }
    kolk__transport_wait(stream->transport, &stream->waiter);
    int result = kolk__stream_park_here(stream, &stream->reader, wait,
                                        "stream read", read_interrupt);
    if (KOLK_UNLIKELY(result < 0) && !wait->is_gone) {
        kolk__transport_wait_end(stream->transport);
    }
    return result;
}

/* Is it known that there is nothing now, but may be later? Then the task waits
 * without a try. */
static inline bool
read_must_wait(const kolk_stream *stream)
{
    const kolk_transport *transport = stream->transport;

    return (KOLK_LIKELY(transport->reads_wire)
                ? !transport->in.desc->ready_in
                : transport->reads && !kolk__transport_may_read(transport))
           && !kolk__this_thread.loop->current->is_cancelled;
}

/* Receives up to `size` bytes: how many, at least one; 0 at the end; or an
 * error, after which the stream must not be touched if `wait` says so. */
static inline int
read_receive(kolk_stream *stream, void *to, size_t size,
             kolk__stream_wait *wait)
{
    int result;

    do {
        if (!read_must_wait(stream)) {
            result = read_try(stream, to, size);
            if (KOLK_LIKELY(result != -EAGAIN)) {
                return result;
            }
        }
        result = read_wait(stream, wait);
    } while (KOLK_LIKELY(result == 0));
    return result;
}

/* The same, into the buffer, behind what is there. */
static int
read_fill_try(kolk_stream *stream)
{
    kolk__read_buffer *buffer = &stream->buffer;
    int result = kolk__read_buffer_reserve(stream->loop, buffer, stream->limit);

    if (KOLK_LIKELY(result == 0)) {
        result = read_try(stream, buffer->data + buffer->end,
                          buffer->capacity - buffer->end);
        if (KOLK_LIKELY(result > 0)) {
            kolk__read_buffer_received(buffer, (size_t)result);
        }
    }
    return result;
}

int
kolk__stream_fill(kolk_stream *stream, kolk__stream_wait *wait)
{
    int result;

    do {
        if (!read_must_wait(stream)) {
            result = read_fill_try(stream);
            if (KOLK_LIKELY(result != -EAGAIN)) {
                return result;
            }
        }
        result = read_wait(stream, wait);
    } while (KOLK_LIKELY(result == 0));
    return result;
}

/* ---- so many bytes ---- */

int
kolk_stream_read(kolk_stream *stream, void *buffer, size_t size)
{
    kolk__stream_wait wait;
    int err =
        kolk__stream_read_begin(stream, "kolk_stream_read() outside a task");

    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    /* However large `size` is, one system call's result is an int. */
    wait.is_gone = false;
    stream->is_in_line = false;
    if (kolk__read_buffer_size(&stream->buffer) == 0) {
        if (size >= READ_DIRECT) {
            return kolk__stream_read_end(
                read_receive(stream, buffer, size, &wait));
        }
        if (size == 0) {
            return 0;
        }
        int result = kolk__stream_fill(stream, &wait);
        if (result <= 0) {
            return result;
        }
    }
    return kolk__stream_read_end(
        (int)kolk__read_buffer_copy(&stream->buffer, buffer, size));
}

/* The task is cancelled with `got` bytes in its memory. Puts as many of the
 * last ones back as the stream may hold; returns how many stay with the
 * caller. */
static size_t
read_put_back(kolk_stream *stream, const char *bytes, size_t got)
{
    size_t back = got < stream->limit ? got : stream->limit;
    int err = kolk__read_buffer_add(stream->loop, &stream->buffer,
                                    bytes + got - back, back);

    return err < 0 ? got : got - back;
}

/* Receives the rest of a record that is longer than the buffer should be. */
static int
read_exactly_direct(kolk_stream *stream, char *bytes, size_t size, size_t *got)
{
    kolk__stream_wait wait = {.is_gone = false};

    *got = kolk__read_buffer_copy(&stream->buffer, bytes, size);
    while (*got < size) {
        size_t left = size - *got;
        int result = read_receive(stream, bytes + *got,
                                  left < INT_MAX ? left : INT_MAX, &wait);

        if (result <= 0) {
            if (result == -ECANCELED && !wait.is_gone) {
                *got = read_put_back(stream, bytes, *got);
            }
            return result < 0 ? result : -KOLK_EOF;
        }
        *got += (size_t)result;
    }
    return 0;
}

/* A record that fits into the buffer stays there until it is complete. */
static int
read_exactly_buffered(kolk_stream *stream, char *bytes, size_t size,
                      size_t *got)
{
    kolk__read_buffer *buffer = &stream->buffer;
    kolk__stream_wait wait = {.is_gone = false};

    *got = 0;
    while (kolk__read_buffer_size(buffer) < size) {
        int result = kolk__stream_fill(stream, &wait);

        if (result < 0) {
            return result;
        }
        if (result == 0) {
            *got = kolk__read_buffer_copy(buffer, bytes, size);
            return -KOLK_EOF;
        }
    }
    *got = kolk__read_buffer_copy(buffer, bytes, size);
    return 0;
}

int
kolk_stream_read_exactly(kolk_stream *stream, void *buffer, size_t size,
                         size_t *got)
{
    size_t count;
    int err = kolk__stream_read_begin(
        stream, "kolk_stream_read_exactly() outside a task");

    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    stream->is_in_line = false;
    if (size < READ_DIRECT && size <= stream->limit) {
        err = read_exactly_buffered(stream, buffer, size, &count);
    } else {
        err = read_exactly_direct(stream, buffer, size, &count);
    }
    if (got != NULL) {
        *got = count;
    }
    return kolk__stream_read_end(err);
}

/* ---- without taking ---- */

int
kolk_stream_peek(kolk_stream *stream, size_t size, const char **data)
{
    kolk__stream_wait wait = {.is_gone = false};
    int err =
        kolk__stream_read_begin(stream, "kolk_stream_peek() outside a task");

    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    if (size > stream->limit) {
        return -KOLK_ELIMIT;
    }
    stream->is_in_line = false;
    while (kolk__read_buffer_size(&stream->buffer) < size) {
        int result = kolk__stream_fill(stream, &wait);

        if (result < 0) {
            return result;
        }
        if (result == 0) {
            break;
        }
    }
    *data = kolk__read_buffer_data(&stream->buffer);
    return kolk__stream_read_end((int)kolk__read_buffer_size(&stream->buffer));
}

void
kolk_stream_skip(kolk_stream *stream, size_t size)
{
    if (KOLK_UNLIKELY(size > kolk__read_buffer_size(&stream->buffer))) {
        (void)kolk__misuse(stream->loop, "kolk_stream_skip() of more than a "
                                         "peek has shown");
        size = kolk__read_buffer_size(&stream->buffer);
    }
    (void)kolk__read_buffer_take(&stream->buffer, size);
}

bool
kolk_stream_at_eof(const kolk_stream *stream)
{
    return stream->has_ended && kolk__read_buffer_size(&stream->buffer) == 0;
}
