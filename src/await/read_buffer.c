/* read_buffer.c - what a stream has received, and nobody has taken yet.
 *
 * SPDX-License-Identifier: MIT
 *
 * Memory is of three kinds, told apart by its size: a piece of the loop's, more
 * than that for a record that is longer, or less for the beginning of a record
 * whose task waits for the rest.
 */
#include "await/read_buffer.h"

#include "base/sys.h"
#include "loop/handle.h"

enum {
    PIECES_MAX = 16, /* free ones that a loop keeps: 1 MiB */
    /* a waiting task's bytes are moved to memory of their own up to this many,
     * which takes no longer than the wait's other work */
    READ_BUFFER_SMALL = 1024,
};

/* ---- the loop's free pieces ---- */

struct kolk__pieces {
    kolk__handle handle; /* freed with the loop */
    kolk_loop *loop;
    size_t count;
    char *free[PIECES_MAX];
};

static void *
pieces_node(kolk__handle *handle)
{
    (void)handle;
    return NULL; /* the library's own */
}

static void
pieces_drop(kolk_loop *loop, kolk__handle *handle)
{
    struct kolk__pieces *pieces = loop->pieces;

    kolk__handle_close(handle);
    while (pieces->count > 0) {
        kolk__sys.free(pieces->free[--pieces->count]);
    }
    loop->pieces = NULL;
    kolk__sys.free(pieces);
}

static const kolk__handle_ops pieces_ops = {
    .kind = KOLK_NODE_TRANSPORT,
    .node = pieces_node,
    .drop = pieces_drop,
};

/* NULL: no memory, or the loop is being closed and keeps nothing. */
static struct kolk__pieces *
pieces_open(kolk_loop *loop)
{
    if (loop->closing) {
        return NULL;
    }
    struct kolk__pieces *pieces = kolk__sys.calloc(1, sizeof *pieces);
    if (pieces != NULL) {
        pieces->loop = loop;
        kolk__handle_open(loop, &pieces->handle, &pieces_ops);
        loop->pieces = pieces;
    }
    return pieces;
}

static char *
piece_take(kolk_loop *loop)
{
    struct kolk__pieces *pieces = loop->pieces;

    if (KOLK_LIKELY(pieces != NULL && pieces->count > 0)) {
        return pieces->free[--pieces->count];
    }
    return kolk__sys.malloc(KOLK__PIECE_SIZE);
}

static void
piece_give(kolk_loop *loop, char *piece)
{
    struct kolk__pieces *pieces =
        loop->pieces != NULL ? loop->pieces : pieces_open(loop);

    if (KOLK_LIKELY(pieces != NULL && pieces->count < PIECES_MAX)) {
        pieces->free[pieces->count++] = piece;
    } else {
        kolk__sys.free(piece);
    }
}

/* ---- memory ---- */

static char *
read_buffer_alloc(kolk_loop *loop, size_t capacity)
{
    return capacity == KOLK__PIECE_SIZE ? piece_take(loop)
                                        : kolk__sys.malloc(capacity);
}

static void
read_buffer_free(kolk_loop *loop, const kolk__read_buffer *buffer)
{
    if (buffer->capacity == KOLK__PIECE_SIZE) {
        piece_give(loop, buffer->data);
    } else {
        kolk__sys.free(buffer->data);
    }
}

/* Moves what is there to the start of `capacity` bytes of other memory. */
static int
read_buffer_move(kolk_loop *loop, kolk__read_buffer *buffer, size_t capacity)
{
    size_t size = kolk__read_buffer_size(buffer);
    char *data = read_buffer_alloc(loop, capacity);

    if (data == NULL) {
        return -ENOMEM;
    }
    if (buffer->data != NULL) {
        memcpy(data, kolk__read_buffer_data(buffer), size);
        read_buffer_free(loop, buffer);
    }
    *buffer =
        (kolk__read_buffer){.data = data, .end = size, .capacity = capacity};
    return 0;
}

/* ---- the interface ---- */

size_t
kolk__read_buffer_copy(kolk__read_buffer *buffer, void *out, size_t size)
{
    size_t there = kolk__read_buffer_size(buffer);

    if (size > there) {
        size = there;
    }
    if (size > 0) {
        memcpy(out, kolk__read_buffer_take(buffer, size), size);
    }
    return size;
}

/* How much memory to go on to when `capacity` bytes are full. */
static size_t
read_buffer_grown(size_t capacity, size_t limit)
{
    return capacity < limit - capacity ? capacity * 2 : limit;
}

int
kolk__read_buffer_reserve(kolk_loop *loop, kolk__read_buffer *buffer,
                          size_t limit)
{
    size_t size = kolk__read_buffer_size(buffer);

    if (buffer->capacity < KOLK__PIECE_SIZE) {
        return read_buffer_move(loop, buffer, KOLK__PIECE_SIZE);
    }
    /* No more than was taken is moved, unless there is no room at all: so
     * each byte is moved about once. */
    if (size <= buffer->start
        || (buffer->end == buffer->capacity && buffer->start > 0)) {
        memmove(buffer->data, kolk__read_buffer_data(buffer), size);
        buffer->start = 0;
        buffer->end = size;
    }
    if (KOLK_LIKELY(buffer->end < buffer->capacity)) {
        return 0;
    }
    return read_buffer_move(loop, buffer,
                            read_buffer_grown(buffer->capacity, limit));
}

int
kolk__read_buffer_add(kolk_loop *loop, kolk__read_buffer *buffer,
                      const void *bytes, size_t size)
{
    size_t there = kolk__read_buffer_size(buffer);

    if (size > buffer->capacity - buffer->end) {
        size_t capacity =
            there + size > KOLK__PIECE_SIZE ? there + size : KOLK__PIECE_SIZE;
        int err = read_buffer_move(loop, buffer, capacity);

        if (err < 0) {
            return err;
        }
    }
    if (size > 0) {
        memcpy(buffer->data + buffer->end, bytes, size);
        buffer->end += size;
    }
    return 0;
}

void
kolk__read_buffer_rest(kolk_loop *loop, kolk__read_buffer *buffer)
{
    size_t size = kolk__read_buffer_size(buffer);

    if (size == 0) {
        kolk__read_buffer_fini(loop, buffer);
    } else if (size <= READ_BUFFER_SMALL
               && buffer->capacity >= KOLK__PIECE_SIZE) {
        /* Without memory it stays where it is. */
        (void)read_buffer_move(loop, buffer, size);
    }
}

void
kolk__read_buffer_fini(kolk_loop *loop, kolk__read_buffer *buffer)
{
    if (buffer->data != NULL) {
        read_buffer_free(loop, buffer);
        *buffer = (kolk__read_buffer){.data = NULL};
    }
}
