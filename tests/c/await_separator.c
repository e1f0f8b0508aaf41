/* await_separator.c - where records end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

#include "await/separator.h"

#include <stdlib.h>
#include <string.h>

static kolk_bytes
bytes_of(const char *text)
{
    return (kolk_bytes){.data = text, .size = strlen(text)};
}

/* Where the first of up to three separators ends in `data`. */
static size_t
find(const char *data, const char *a, const char *b, const char *c)
{
    kolk_bytes separators[3] = {bytes_of(a)};
    size_t count = 1;

    if (b != NULL) {
        separators[count++] = bytes_of(b);
    }
    if (c != NULL) {
        separators[count++] = bytes_of(c);
    }
    return kolk__separator_find(data, strlen(data), 0, separators, count);
}

TEST_ONCE(a_record_ends_with_its_separator)
{
    CHECK_INT(find("a line\nanother\n", "\n", NULL, NULL), 7);
    CHECK_INT(find("\n", "\n", NULL, NULL), 1);
    CHECK_INT(find("no end", "\n", NULL, NULL), 0);
    CHECK_INT(find("", "\n", NULL, NULL), 0);
    CHECK_INT(find("key: value\r\n\r\nbody", "\r\n\r\n", NULL, NULL), 14);
    CHECK_INT(find("\n\r\n\n\r\n\r\n", "\r\n\r\n", NULL, NULL), 8);
    CHECK_INT(find("\r\n\r", "\r\n\r\n", NULL, NULL), 0);
    CHECK_INT(find("aaab", "aab", NULL, NULL), 4);
}

TEST_ONCE(of_several_separators_the_first_that_ends_counts)
{
    CHECK_INT(find("one;two\n", "\n", ";", NULL), 4);
    CHECK_INT(find("one;two\n", ";", "\n", NULL), 4);
    CHECK_INT(find("abcdef", "abcde", "cd", "f"), 4); /* begins later */
    CHECK_INT(find("abcdef", "cd", "abcd", "bcd"), 4);
    CHECK_INT(find("abcdef", "x", "y", "f"), 6);
    CHECK_INT(find("abcdef", "x", "y", "z"), 0);
}

TEST_ONCE(a_separator_that_came_in_pieces_is_found)
{
    const char *data = "body\r\n--edge\r\nmore";
    kolk_bytes edge[2] = {bytes_of("\r\n--edge\r\n"), bytes_of("\r\n--edge--")};

    for (size_t size = 0, searched = 0; size <= strlen(data); size++) {
        size_t end = kolk__separator_find(data, size, searched, edge, 2);

        CHECK_INT(end, size == 14 ? 14 : 0);
        if (end != 0) {
            break;
        }
        searched = size;
    }
}

TEST_ONCE(a_separator_far_away_is_found)
{
    enum { FAR = 100000 };
    char *data = malloc(FAR);
    kolk_bytes separators[2] = {bytes_of("never"), bytes_of("end")};

    test_later(free, data);
    for (size_t at = 3; at < FAR; at = at * 3 / 2 + 1) {
        memset(data, 'n', FAR);
        data[at - 3] = 'e';
        data[at - 1] = 'd';
        CHECK_INT(kolk__separator_find(data, FAR, 0, separators, 2), at);
        CHECK_INT(kolk__separator_find(data, FAR, 0, separators + 1, 1), at);
        CHECK_INT(kolk__separator_find(data, at - 1, 0, separators, 2), 0);
    }
}
