/* await_read_buffer.c - the memory of what was received.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

#include "await/read_buffer.h"

#include <stdlib.h>

static kolk_loop *loop;
static kolk__read_buffer buffer;

static void
buffer_fini(void *unused)
{
    (void)unused;
    kolk__read_buffer_fini(loop, &buffer);
}

static void
buffer_open(void)
{
    loop = test_loop_open();
    test_later(buffer_fini, NULL);
}

/* Receives `size` bytes that go on counting where the last ones ended. */
static void
receive(size_t size, size_t limit)
{
    static unsigned char next;

    while (size > 0) {
        CHECK_OK(kolk__read_buffer_reserve(loop, &buffer, limit));
        size_t some = buffer.capacity - buffer.end;
        CHECK(some > 0);
        some = some < size ? some : size;
        for (size_t i = 0; i < some; i++) {
            buffer.data[buffer.end + i] = (char)next++;
        }
        kolk__read_buffer_received(&buffer, some);
        size -= some;
    }
}

/* Takes `size` bytes, which have to go on counting. */
static void
take(size_t size)
{
    static unsigned char next;
    const char *data = kolk__read_buffer_take(&buffer, size);

    for (size_t i = 0; i < size; i++) {
        CHECK_INT((unsigned char)data[i], next);
        next++;
    }
}

TEST_ONCE(bytes_come_out_as_they_came_in)
{
    unsigned seed = 1;
    size_t there = 0;

    buffer_open();
    for (int round = 0; round < 300; round++) {
        seed = seed * 1103515245 + 12345;
        size_t in = (seed >> 16) % 3000;
        if (there + in < 100000) {
            receive(in, 100000);
            there += in;
        }
        seed = seed * 1103515245 + 12345;
        size_t out = there * ((seed >> 16) % 5) / 4;
        take(out < there ? out : there);
        there -= out < there ? out : there;
        if (seed % 3 == 0) {
            kolk__read_buffer_rest(loop, &buffer);
        }
        CHECK_INT(kolk__read_buffer_size(&buffer), there);
    }
}

TEST_ONCE(a_buffer_that_is_empty_has_no_memory_while_it_rests)
{
    buffer_open();
    receive(10, 100);
    take(10);
    kolk__read_buffer_rest(loop, &buffer);
    CHECK_PTR(buffer.data, NULL);
    CHECK_INT(buffer.capacity, 0);
}

TEST_ONCE(the_beginning_of_a_record_rests_in_little_memory)
{
    buffer_open();
    receive(100, 1000);
    take(60);
    kolk__read_buffer_rest(loop, &buffer);
    CHECK_INT(buffer.capacity, 40);
    kolk__read_buffer_rest(loop, &buffer); /* no further */
    receive(10, 1000);
    CHECK_INT(buffer.capacity, KOLK__PIECE_SIZE);
    take(50);
}

TEST_ONCE(what_was_taken_stays_until_more_is_received)
{
    buffer_open();
    receive(100, 1000);
    const char *line = kolk__read_buffer_take(&buffer, 10);
    CHECK_INT(line[9], 9);
    const char *next = kolk__read_buffer_take(&buffer, 90);
    CHECK_INT(line[9], 9);
    CHECK_INT(next[89], 99);
}

TEST_ONCE(a_buffer_grows_to_the_limit_and_no_further)
{
    enum { LIMIT = 5 * KOLK__PIECE_SIZE / 2 };

    buffer_open();
    receive(KOLK__PIECE_SIZE, LIMIT);
    CHECK_INT(buffer.capacity, KOLK__PIECE_SIZE);
    receive(1, LIMIT);
    CHECK_INT(buffer.capacity, 2 * KOLK__PIECE_SIZE);
    receive(LIMIT - KOLK__PIECE_SIZE - 1, LIMIT);
    CHECK_INT(buffer.capacity, LIMIT);
    take(LIMIT);
    receive(3, LIMIT);
    CHECK_INT(buffer.capacity, LIMIT);
    take(3);
    kolk__read_buffer_rest(loop, &buffer);
    CHECK_PTR(buffer.data, NULL);
}

TEST_ONCE(a_piece_that_is_given_back_is_used_again)
{
    kolk__read_buffer other = {.data = NULL};

    buffer_open();
    receive(1, 10);
    const char *piece = buffer.data;
    take(1);
    kolk__read_buffer_rest(loop, &buffer);
    CHECK_OK(kolk__read_buffer_reserve(loop, &other, 10));
    if (!test_is_hard()) { /* where the list of pieces may not be had */
        CHECK_PTR(other.data, piece);
    }
    kolk__read_buffer_fini(loop, &other);
}

TEST_ONCE(a_buffer_may_outlive_its_loops_end)
{
    buffer_open();
    kolk__loop_ref(loop);
    receive(1, 10);
    take(1);
    kolk_loop *keep = loop;
    test_loop_close(loop);
    kolk__read_buffer_fini(keep, &buffer);
    kolk__loop_unref(keep);
}

TEST_ONCE(bytes_are_put_back_behind_what_is_there)
{
    enum { LARGE = 3 * KOLK__PIECE_SIZE };
    char bytes[300];
    char *large = malloc(LARGE);

    test_later(free, large);
    buffer_open();
    memset(bytes, 'b', sizeof bytes);
    memset(large, 'l', LARGE);
    CHECK_OK(kolk__read_buffer_add(loop, &buffer, "start", 5));
    CHECK_OK(kolk__read_buffer_add(loop, &buffer, bytes, sizeof bytes));
    CHECK_OK(kolk__read_buffer_add(loop, &buffer, large, LARGE));
    CHECK(memcmp(kolk__read_buffer_take(&buffer, 5), "start", 5) == 0);
    CHECK(memcmp(kolk__read_buffer_take(&buffer, sizeof bytes), bytes,
                 sizeof bytes)
          == 0);
    CHECK_INT(kolk__read_buffer_copy(&buffer, large, SIZE_MAX), LARGE);
    CHECK_INT(large[0], 'l');
    CHECK_INT(large[LARGE - 1], 'l');
    CHECK_INT(kolk__read_buffer_copy(&buffer, large, 10), 0);
}
