/* bytes.c - a queue of bytes. See bytes.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/bytes.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"

enum { BYTES_ROOM_MIN = 512 };

/* Makes room for `size` more bytes behind the last one. They move to the front
 * only where as many have left as are moved, so that each is moved once. */
static int
bytes_grow(kolk__bytes *bytes, size_t size)
{
    size_t used = kolk__bytes_size(bytes);

    if (bytes->begin >= used && size <= bytes->room - used) {
        memmove(bytes->memory, bytes->memory + bytes->begin, used);
        bytes->begin = 0;
        bytes->end = used;
        return 0;
    }
    if (size > SIZE_MAX / 2 - bytes->end) {
        return -ENOMEM;
    }
    size_t room = bytes->room > 0 ? 2 * bytes->room : BYTES_ROOM_MIN;
    room = room < bytes->end + size ? bytes->end + size : room;
    void *memory = kolk__sys.realloc(bytes->memory, room);
    if (memory == NULL) {
        return -ENOMEM;
    }
    bytes->memory = memory;
    bytes->room = room;
    return 0;
}

int
kolk__bytes_push(kolk__bytes *bytes, const void *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (size > bytes->room - bytes->end) {
        int err = bytes_grow(bytes, size);

        if (err < 0) {
            return err;
        }
    }
    memcpy(bytes->memory + bytes->end, data, size);
    bytes->end += size;
    return 0;
}

size_t
kolk__bytes_take(kolk__bytes *bytes, void *buffer, size_t size)
{
    size_t there = kolk__bytes_size(bytes);

    size = size < there ? size : there;
    if (size > 0) {
        memcpy(buffer, kolk__bytes_data(bytes), size);
        kolk__bytes_skip(bytes, size);
    }
    return size;
}

void
kolk__bytes_skip(kolk__bytes *bytes, size_t size)
{
    bytes->begin += size;
    if (bytes->begin == bytes->end) {
        kolk__bytes_clear(bytes);
    }
}

void
kolk__bytes_clear(kolk__bytes *bytes)
{
    kolk__sys.free(bytes->memory);
    *bytes = (kolk__bytes){0};
}
