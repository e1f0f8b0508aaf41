/* read_buffer.h - what a stream has received, and nobody has taken yet.
 *
 * SPDX-License-Identifier: MIT
 *
 * The bytes stand in one piece of memory, so that a record can be shown where
 * it is. Memory is there while bytes are: a stream that waits with nothing in
 * its buffer has none, and one that waits in the middle of a short record has
 * little. What most of them use, in turn, is a few large pieces that the loop
 * keeps, and that are still in the cache.
 *
 * What was taken stays in its place until something new is received. So what
 * a caller was shown is valid until then.
 */
#pragma once

#include <string.h>

#include "loop/loop.h"

/* How much one system call receives. */
enum { KOLK__PIECE_SIZE = 65536 };

typedef struct kolk__read_buffer {
    char *data;   /* NULL: no memory */
    size_t start; /* data[start, end) is what nobody has taken */
    size_t end;
    size_t capacity; /* of `data`; KOLK__PIECE_SIZE: one of the loop's */
} kolk__read_buffer;

static inline size_t
kolk__read_buffer_size(const kolk__read_buffer *buffer)
{
    return buffer->end - buffer->start;
}

/* Where they are, never NULL. */
static inline const char *
kolk__read_buffer_data(const kolk__read_buffer *buffer)
{
    return buffer->data != NULL ? buffer->data + buffer->start : "";
}

/* Takes `size` bytes, which are there, and returns where they are: valid until
 * the next call that makes room. */
static inline const char *
kolk__read_buffer_take(kolk__read_buffer *buffer, size_t size)
{
    const char *data = kolk__read_buffer_data(buffer);

    buffer->start += size;
    return data;
}

/* Copies up to `size` bytes out; how many. */
size_t kolk__read_buffer_copy(kolk__read_buffer *buffer, void *out,
                              size_t size);

/* Makes room for more at data[end, capacity), some bytes at least, moving what
 * is there, which is less than `limit`. Memory is for a piece, or the limit if
 * that is more. Returns 0 or -ENOMEM, and then nothing has changed. */
int kolk__read_buffer_reserve(kolk_loop *loop, kolk__read_buffer *buffer,
                              size_t limit);

/* `size` bytes were received there. */
static inline void
kolk__read_buffer_received(kolk__read_buffer *buffer, size_t size)
{
    buffer->end += size;
}

/* Puts `size` bytes behind what is there. Returns 0 or -ENOMEM. */
int kolk__read_buffer_add(kolk_loop *loop, kolk__read_buffer *buffer,
                          const void *bytes, size_t size);

/* Its task is going to wait: gives memory back that is not needed for that. */
void kolk__read_buffer_rest(kolk_loop *loop, kolk__read_buffer *buffer);

/* Gives all of its memory back; what is there is lost. */
void kolk__read_buffer_fini(kolk_loop *loop, kolk__read_buffer *buffer);
