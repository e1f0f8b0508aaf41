/* base_bytes.c - a queue of bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

#include "base/bytes.h"
#include "base/sys.h"

#include <string.h>

static void
bytes_free(void *object)
{
    kolk__bytes_clear(object);
}

TEST_ONCE(an_empty_queue_has_no_memory)
{
    kolk__bytes bytes = {0};
    char out[4];

    CHECK_OK(kolk__bytes_push(&bytes, "", 0));
    CHECK(bytes.memory == NULL);
    CHECK_INT(kolk__bytes_take(&bytes, out, 4), 0);
    CHECK_OK(kolk__bytes_push(&bytes, "abc", 3));
    CHECK_INT(kolk__bytes_size(&bytes), 3);
    CHECK_INT(kolk__bytes_take(&bytes, out, 4), 3);
    CHECK(memcmp(out, "abc", 3) == 0);
    CHECK(bytes.memory == NULL);
    kolk__bytes_clear(&bytes);
}

TEST_ONCE(bytes_leave_in_the_order_they_came)
{
    static kolk__bytes bytes;
    size_t pushed = 0, taken = 0;
    unsigned char piece[97];

    test_later(bytes_free, &bytes);
    for (size_t round = 0; round < test_count(4000); round++) {
        size_t size = round * 31 % sizeof piece;

        for (size_t i = 0; i < size; i++) {
            piece[i] = (unsigned char)(pushed++ % 251);
        }
        CHECK_OK(kolk__bytes_push(&bytes, piece, size));
        size = kolk__bytes_take(&bytes, piece, round * 17 % sizeof piece);
        for (size_t i = 0; i < size; i++) {
            CHECK_INT(piece[i], taken++ % 251);
        }
        CHECK_INT(kolk__bytes_size(&bytes), pushed - taken);
    }
}

/* What goes through it leaves room for what comes. */
TEST_ONCE(a_queue_that_stays_short_stays_small)
{
    static kolk__bytes bytes;
    char piece[100] = "";

    test_later(bytes_free, &bytes);
    CHECK_OK(kolk__bytes_push(&bytes, piece, sizeof piece));
    for (size_t round = 0; round < test_count(10000); round++) {
        CHECK_OK(kolk__bytes_push(&bytes, piece, sizeof piece));
        CHECK_INT(kolk__bytes_take(&bytes, piece, sizeof piece), sizeof piece);
    }
    CHECK(bytes.room <= 1024);
}

TEST_ONCE(without_memory_nothing_is_pushed)
{
    static kolk__bytes bytes;
    char out[4] = "";

    test_later(bytes_free, &bytes);
    CHECK_OK(kolk__bytes_push(&bytes, "abc", 3));
    CHECK_ERR(kolk__bytes_push(&bytes, "x", SIZE_MAX), -ENOMEM);
    CHECK_ERR(kolk__bytes_push(&bytes, "x", SIZE_MAX / 2), -ENOMEM);
    CHECK_INT(kolk__bytes_take(&bytes, out, sizeof out), 3);
    CHECK_STR(out, "abc");
}
