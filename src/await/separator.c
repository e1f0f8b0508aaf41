/* separator.c - where does a record end?
 *
 * SPDX-License-Identifier: MIT
 *
 * A separator is found by its last byte: memchr() jumps to each, and what
 * stands before it is compared. So the search is about places where something
 * ends, which need no care where data comes in pieces: a separator that began
 * in the piece before is found by its end in this one.
 *
 * With several separators a window is searched for all of them before the
 * next, twice as wide, is. Otherwise one that never comes would be looked for
 * in all that has come, again for each record.
 */
#include "await/separator.h"

#include <string.h>

enum { SEPARATOR_WINDOW = 256 };

/* The first place in data[from, to) where `separator` ends, counted as above;
 * it may begin before `from`. */
static size_t
separator_end(const char *data, size_t from, size_t to,
              const kolk_bytes *separator)
{
    const char *bytes = separator->data;
    size_t before = separator->size - 1; /* its bytes but the last */
    size_t at = from > before ? from : before;

    while (at < to) {
        const char *last = memchr(data + at, bytes[before], to - at);

        if (last == NULL) {
            return 0;
        }
        at = (size_t)(last - data) + 1;
        if (before == 0 || memcmp(last - before, bytes, before) == 0) {
            return at;
        }
    }
    return 0;
}

/* The same for the first that ends of several. */
static size_t
separator_first_end(const char *data, size_t from, size_t to,
                    const kolk_bytes *separators, size_t count)
{
    size_t first = 0;

    for (size_t i = 0; i < count; i++) {
        size_t end = separator_end(data, from, to, &separators[i]);

        if (end != 0) {
            first = end;
            to = end - 1; /* only an earlier one is of interest */
        }
    }
    return first;
}

size_t
kolk__separator_find(const char *data, size_t size, size_t searched,
                     const kolk_bytes *separators, size_t count)
{
    size_t window = count > 1 ? SEPARATOR_WINDOW : size;

    while (searched < size) {
        size_t to = size - searched > window ? searched + window : size;
        size_t end = separator_first_end(data, searched, to, separators, count);

        if (end != 0) {
            return end;
        }
        searched = to;
        window *= 2;
    }
    return 0;
}
