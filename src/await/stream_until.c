/* stream_until.c - lines and records. See kolk/stream.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A record is shown where it was received. The search for its end goes on
 * where it stopped when more has come.
 */
#include "await/stream.h"

#include <errno.h>

#include "await/separator.h"

static bool
until_is_senseless(const kolk_bytes *separators, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (separators[i].size == 0) {
            return true;
        }
    }
    return count == 0;
}

int
kolk_stream_read_until(kolk_stream *stream, const kolk_bytes *separators,
                       size_t count, const char **line)
{
    kolk__read_buffer *buffer = &stream->buffer;
    kolk__stream_wait wait = {.is_gone = false};
    size_t searched = 0;
    int err =
        kolk__stream_read_begin(stream, "kolk_stream_read_until() outside a "
                                        "task");

    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    if (until_is_senseless(separators, count)) {
        return -EINVAL;
    }
    stream->is_in_line = false;
    for (;;) {
        size_t size = kolk__read_buffer_size(buffer);

        size = size < stream->limit ? size : stream->limit;
        size_t end = kolk__separator_find(kolk__read_buffer_data(buffer), size,
                                          searched, separators, count);
        if (end != 0) {
            *line = kolk__read_buffer_take(buffer, end);
            return kolk__stream_read_end((int)end);
        }
        if (size == stream->limit) {
            return -KOLK_ELIMIT;
        }
        searched = size;
        int result = kolk__stream_fill(stream, &wait);
        if (result <= 0) {
            return result < 0 ? result : -KOLK_EOF;
        }
    }
}

/* ---- lines ---- */

/* Where the line that the buffer begins with ends, counted with its '\n'; 0:
 * not in the buffer. There is none in the first `searched` bytes. */
static inline size_t
until_line_end(const kolk__read_buffer *buffer, size_t searched)
{
    const char *data = kolk__read_buffer_data(buffer);
    size_t size = kolk__read_buffer_size(buffer);

    if (size == searched) {
        return 0;
    }
    const char *end = memchr(data + searched, '\n', size - searched);
    return end != NULL ? (size_t)(end - data) + 1 : 0;
}

/* Waits for the end of the line that the buffer begins with. Returns its size;
 * 0 if the stream ends before; -KOLK_ELIMIT after throwing away what has come,
 * which is no line yet and more than the limit allows; or an error. */
static int
until_line_comes(kolk_stream *stream)
{
    kolk__stream_wait wait = {.is_gone = false};

    for (;;) {
        size_t size = kolk__read_buffer_size(&stream->buffer);

        if (size >= stream->limit) {
            (void)kolk__read_buffer_take(&stream->buffer, size);
            stream->is_in_line = true;
            return -KOLK_ELIMIT;
        }
        int result = kolk__stream_fill(stream, &wait);
        if (result <= 0) {
            return result;
        }
        size_t end = until_line_end(&stream->buffer, size);
        if (end != 0) {
            return (int)end;
        }
    }
}

/* Takes a line of `size` bytes, which is there. */
static int
until_line_take(kolk_stream *stream, size_t size, const char **line)
{
    const char *data = kolk__read_buffer_take(&stream->buffer, size);

    if (size > stream->limit) {
        return -KOLK_ELIMIT;
    }
    *line = data;
    return (int)size;
}

/* Throws away the rest of a line that was too long. Returns 0; or an error, and
 * then the rest is still to come. */
static int
until_line_skip(kolk_stream *stream)
{
    kolk__stream_wait wait = {.is_gone = false};

    for (;;) {
        size_t end = until_line_end(&stream->buffer, 0);

        if (end != 0) {
            (void)kolk__read_buffer_take(&stream->buffer, end);
            break;
        }
        (void)kolk__read_buffer_take(&stream->buffer,
                                     kolk__read_buffer_size(&stream->buffer));
        int result = kolk__stream_fill(stream, &wait);
        if (result < 0) {
            return result;
        }
        if (result == 0) {
            break;
        }
    }
    stream->is_in_line = false;
    return 0;
}

/* What a call comes to that could not just take a line out of the buffer. */
static int
until_line_slow(kolk_stream *stream, const char **line)
{
    if (stream->is_in_line) {
        int err = until_line_skip(stream);

        if (err < 0) {
            return err;
        }
    }
    size_t size = until_line_end(&stream->buffer, 0);
    if (size == 0) {
        int result = until_line_comes(stream);

        if (result < 0) {
            return result;
        }
        /* At the end of the stream, what is left. */
        size = result > 0 ? (size_t)result
                          : kolk__read_buffer_size(&stream->buffer);
    }
    return until_line_take(stream, size, line);
}

int
kolk_stream_readline(kolk_stream *stream, const char **line)
{
    int err = kolk__stream_read_begin(stream, "kolk_stream_readline() outside "
                                              "a task");

    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    if (KOLK_LIKELY(!stream->is_in_line)) {
        size_t end = until_line_end(&stream->buffer, 0);

        if (KOLK_LIKELY(end != 0 && end <= stream->limit)) {
            *line = kolk__read_buffer_take(&stream->buffer, end);
            return kolk__stream_read_end((int)end);
        }
    }
    return kolk__stream_read_end(until_line_slow(stream, line));
}
