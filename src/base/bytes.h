/* bytes.h - a queue of bytes that takes no memory while it is empty.
 *
 * SPDX-License-Identifier: MIT
 *
 * Bytes are pushed behind and taken in front, and lie in one piece. A queue of
 * zeros is an empty one.
 */
#pragma once

#include <kolk/base.h>

typedef struct kolk__bytes {
    unsigned char *memory; /* NULL while it is empty */
    size_t begin, end;     /* where the bytes are in it */
    size_t room;           /* the size of the memory */
} kolk__bytes;

static inline size_t
kolk__bytes_size(const kolk__bytes *bytes)
{
    return bytes->end - bytes->begin;
}

/* The first of them; valid until the next push. */
static inline const void *
kolk__bytes_data(const kolk__bytes *bytes)
{
    return bytes->memory + bytes->begin;
}

/* Returns 0; or -ENOMEM, and then nothing was pushed. */
KOLK_MUST_CHECK int kolk__bytes_push(kolk__bytes *bytes, const void *data,
                                     size_t size);

/* Takes up to `size` bytes to `buffer`; how many. */
size_t kolk__bytes_take(kolk__bytes *bytes, void *buffer, size_t size);

/* Throws the first `size` of them away. */
void kolk__bytes_skip(kolk__bytes *bytes, size_t size);

/* Throws all of them away. */
void kolk__bytes_clear(kolk__bytes *bytes);
