/* await_stream_until.c - reading lines and records from a stream.
 *
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const kolk_bytes crlf2 = {.data = "\r\n\r\n", .size = 4};

static void
check_line(int size, const char *line, const char *text)
{
    CHECK_INT(size, strlen(text));
    CHECK(size < 0 || memcmp(line, text, (size_t)size) == 0);
}

static void
check_readline(kolk_stream *stream, const char *text)
{
    const char *line = NULL;
    int size = kolk_stream_readline(stream, &line);

    check_line(size, line, text);
}

static void
check_until(kolk_stream *stream, const kolk_bytes *separators, size_t count,
            const char *text)
{
    const char *line = NULL;
    int size = kolk_stream_read_until(stream, separators, count, &line);

    check_line(size, line, text);
}

/* ---- lines ---- */

static void
line_many(kolk_stream *stream, int fd)
{
    peer_say(fd, "one\ntwo\n\nthree\r\nfo");
    check_readline(stream, "one\n");
    check_readline(stream, "two\n");
    check_readline(stream, "\n");
    check_readline(stream, "three\r\n");
    peer_say(fd, "ur\nrest");
    peer_half_close(fd);
    check_readline(stream, "four\n");
    check_readline(stream, "rest");
    check_readline(stream, "");
    check_readline(stream, "");
    CHECK(kolk_stream_at_eof(stream));
    kolk_stream_free(stream);
}

TEST(lines_are_read_to_the_end_of_the_stream)
{
    peer_test_both(line_many);
}

static kolk_stream *line_stream;

static int
line_note(void *arg)
{
    int lines = *(int *)arg;
    const char *line;

    while (lines-- > 0) {
        int size = kolk_stream_readline(line_stream, &line);

        tasks_note(size > 0 ? line[size - 2] : size == -ECANCELED ? 'c' : 'e');
    }
    return 0;
}

static void
line_slowly(kolk_stream *stream, int fd)
{
    int lines = 3;

    line_stream = stream;
    kolk_task *reader = tasks_spawn(line_note, &lines);
    peer_say_slowly(fd, "line a\nb\nand c\n");
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    CHECK_STR(tasks_notes(), "abc");
    kolk_stream_free(stream);
}

TEST(a_line_may_come_byte_by_byte)
{
    peer_test_both(line_slowly);
}

static void
line_cancelled(kolk_stream *stream, int fd)
{
    int lines = 1;

    line_stream = stream;
    kolk_task *reader = tasks_spawn(line_note, &lines);
    tasks_pass(2);
    peer_say(fd, "half a ");
    tasks_pass(3);
    if (reader != NULL) {
        CHECK_INT(kolk_task_cancel(reader), 1);
        CHECK_OK(kolk_join(reader));
    }
    CHECK_STR(tasks_notes(), "c");
    peer_say(fd, "line\n");
    check_readline(stream, "half a line\n");
    kolk_stream_free(stream);
}

TEST(a_cancelled_line_stays_in_the_stream)
{
    peer_test_both(line_cancelled);
}

static void
line_borrowed(kolk_stream *stream, int fd)
{
    const char *line;

    peer_say(fd, "kept\nnext\n");
    if (CHECK_INT(kolk_stream_readline(stream, &line), 5)) {
        peer_say(fd, "more\n");
        tasks_pass(5);
        CHECK(memcmp(line, "kept\n", 5) == 0);
        CHECK_OK(kolk_stream_write(stream, line, 5)); /* does not read */
        CHECK_OK(kolk_stream_drain(stream));
        CHECK(memcmp(line, "kept\n", 5) == 0);
        peer_hears(fd, "kept\n");
    }
    kolk_stream_free(stream);
}

TEST(a_line_is_valid_until_the_next_one_is_read)
{
    peer_test_both(line_borrowed);
}

/* A buffer's worth of lines, several times over: all of them, in order. */
static int
line_write_many(void *arg)
{
    kolk_stream *stream = arg;

    for (int i = 0; i < 20000; i++) {
        if (!CHECK_OK(kolk_stream_print(stream, "%*d\n", i % 90, i))
            || !CHECK_OK(kolk_stream_drain(stream))) {
            break;
        }
    }
    return kolk_stream_close(stream);
}

static int
line_read_many(void *unused)
{
    kolk_stream *ends[2];
    const char *line;
    int size, count = 0;

    (void)unused;
    if (!CHECK_OK(kolk_stream_pair(ends))) {
        return 0;
    }
    if (tasks_spawn(line_write_many, ends[1]) == NULL) {
        kolk_stream_free(ends[1]);
    }
    while ((size = kolk_stream_readline(ends[0], &line)) > 0) {
        if (!CHECK_INT(strtol(line, NULL, 10), count)) {
            break;
        }
        count++;
    }
    CHECK_INT(size, 0);
    CHECK_INT(count, 20000);
    kolk_stream_free(ends[0]);
    return 0;
}

TEST(many_lines_come_out_in_order)
{
    tasks_run(line_read_many, NULL);
}

/* ---- lines that are too long ---- */

static void
line_long_and_ended(kolk_stream *stream, int fd)
{
    const char *line = NULL;

    peer_say(fd, "12345678\n123456789\nok\n");
    CHECK_ERR(kolk_stream_readline(stream, &line), -KOLK_ELIMIT);
    CHECK_ERR(kolk_stream_readline(stream, &line), -KOLK_ELIMIT);
    CHECK_PTR(line, NULL);
    check_readline(stream, "ok\n");
    peer_say(fd, "1234567\n"); /* fits */
    check_readline(stream, "1234567\n");
    kolk_stream_free(stream);
}

TEST(a_line_that_is_too_long_is_thrown_away)
{
    kolk_stream_options options = {.limit = 8};

    peer_test(PEER_UNIX, &options, line_long_and_ended);
}

static void
line_long_in_pieces(kolk_stream *stream, int fd)
{
    const char *line = NULL;

    peer_say(fd, "123456789");
    CHECK_ERR(kolk_stream_readline(stream, &line), -KOLK_ELIMIT);
    peer_say(fd, "GET /smuggled");
    tasks_pass(2);
    peer_say(fd, " away\nnext\n");
    check_readline(stream, "next\n");
    peer_say(fd, "987654321");
    CHECK_ERR(kolk_stream_readline(stream, &line), -KOLK_ELIMIT);
    peer_say(fd, "and");
    peer_read(stream, "and"); /* who reads bytes gets them */
    peer_say(fd, "a line\n");
    check_readline(stream, "a line\n");
    peer_say(fd, "987654321");
    CHECK_ERR(kolk_stream_readline(stream, &line), -KOLK_ELIMIT);
    peer_say(fd, "the end of it");
    peer_half_close(fd);
    check_readline(stream, "");
    kolk_stream_free(stream);
}

TEST(the_rest_of_a_long_line_is_no_line_of_its_own)
{
    kolk_stream_options options = {.limit = 8};

    peer_test(PEER_UNIX, &options, line_long_in_pieces);
}

/* ---- any separators ---- */

static void
until_one(kolk_stream *stream, int fd)
{
    peer_say(fd, "GET /\r\nHost: a\r\n\r\nbody\r\n\r");
    check_until(stream, &crlf2, 1, "GET /\r\nHost: a\r\n\r\n");
    peer_say(fd, "\nnext");
    check_until(stream, &crlf2, 1, "body\r\n\r\n");
    peer_read(stream, "next");
    kolk_stream_free(stream);
}

TEST(a_record_ends_with_its_separator)
{
    peer_test_both(until_one);
}

static void
until_several(kolk_stream *stream, int fd)
{
    kolk_bytes both[] = {{"--end--", 7}, {"\n", 1}, {"--", 2}};

    peer_say(fd, "a\nb--end--");
    check_until(stream, both, 3, "a\n");
    check_until(stream, both, 3, "b--");
    peer_say(fd, "--end--");
    check_until(stream, both, 1, "end----end--");
    kolk_stream_free(stream);
}

TEST(the_separator_that_ends_first_ends_the_record)
{
    peer_test_both(until_several);
}

static void
until_slowly(kolk_stream *stream, int fd)
{
    kolk_bytes both[] = {{"\r\n.\r\n", 5}, {"\r\n!\r\n", 5}};
    const char *text = "..\r\n..\r.\n!\r\n.\r\n!\r\n";

    for (const char *at = text; *at != '\0'; at++) {
        kolk_timeout timeout;
        const char *line;

        peer_send(fd, at, 1);
        if (at[1] == '\0') {
            break;
        }
        CHECK_OK(kolk_timeout_begin(&timeout, kolk_now(NULL)));
        int size = kolk_stream_read_until(stream, both, 2, &line);
        size = kolk_timeout_end(&timeout, size);
        if (!CHECK(size == -ETIMEDOUT || (size == 15 && at == text + 14))) {
            break;
        }
    }
    char rest[4] = "";
    CHECK_OK(kolk_stream_read_exactly(stream, rest, 3, NULL));
    CHECK_STR(rest, "!\r\n");
    kolk_stream_free(stream);
}

TEST(a_record_may_come_byte_by_byte_with_timeouts_between)
{
    peer_test_both(until_slowly);
}

static void
until_limit(kolk_stream *stream, int fd)
{
    kolk_bytes end = {";", 1};
    const char *line = NULL;

    peer_say(fd, "1234567;12345678;");
    check_until(stream, &end, 1, "1234567;");
    CHECK_ERR(kolk_stream_read_until(stream, &end, 1, &line), -KOLK_ELIMIT);
    CHECK_ERR(kolk_stream_read_until(stream, &end, 1, &line), -KOLK_ELIMIT);
    CHECK_PTR(line, NULL);
    peer_read(stream, "12345678;"); /* nothing was taken */
    kolk_stream_free(stream);
}

TEST(a_record_beyond_the_limit_stays_in_the_stream)
{
    kolk_stream_options options = {.limit = 8};

    peer_test(PEER_TCP, &options, until_limit);
}

static void
until_end(kolk_stream *stream, int fd)
{
    kolk_bytes end = {";", 1};
    const char *line = NULL;

    peer_say(fd, "one;two");
    peer_half_close(fd);
    check_until(stream, &end, 1, "one;");
    CHECK_ERR(kolk_stream_read_until(stream, &end, 1, &line), -KOLK_EOF);
    CHECK_ERR(kolk_stream_read_until(stream, &end, 1, &line), -KOLK_EOF);
    peer_read(stream, "two");
    CHECK_ERR(kolk_stream_read_until(stream, &end, 1, &line), -KOLK_EOF);
    kolk_stream_free(stream);
}

TEST(what_is_left_of_a_record_at_the_end_can_be_read)
{
    peer_test_both(until_end);
}

static void
until_reset(kolk_stream *stream, int fd)
{
    const char *line = NULL;

    peer_say(fd, "one\ntwo");
    peer_reset(fd);
    check_readline(stream, "one\n");
    CHECK_ERR(kolk_stream_readline(stream, &line), -ECONNRESET);
    CHECK_ERR(kolk_stream_readline(stream, &line), -ECONNRESET);
    peer_read(stream, "two");
    CHECK_ERR(kolk_stream_readline(stream, &line), -ECONNRESET);
    kolk_stream_free(stream);
}

TEST(what_is_left_of_a_line_after_a_reset_can_be_read)
{
    peer_test(PEER_TCP, NULL, until_reset);
}

static void
until_senseless(kolk_stream *stream, int fd)
{
    kolk_bytes separators[] = {{"x", 1}, {"", 0}};
    const char *line = NULL;

    (void)fd;
    CHECK_ERR(kolk_stream_read_until(stream, separators, 0, &line), -EINVAL);
    CHECK_ERR(kolk_stream_read_until(stream, separators, 2, &line), -EINVAL);
    kolk_stream_free(stream);
}

TEST(separators_that_are_none_are_refused)
{
    peer_test(PEER_UNIX, NULL, until_senseless);
}

/* A record of a megabyte, of which the peer sends more than the kernel holds.
 */
static int
until_write_large(void *arg)
{
    enum { SIZE = 1000000 };
    kolk_stream *stream = arg;
    char *bytes = malloc(SIZE);

    memset(bytes, 'l', SIZE);
    bytes[SIZE - 1] = '\n';
    CHECK_OK(kolk_stream_write(stream, bytes, SIZE));
    CHECK_OK(kolk_stream_write(stream, "small\n", 6));
    free(bytes);
    return kolk_stream_close(stream);
}

static int
until_read_large(void *unused)
{
    kolk_stream_options options = {.limit = 1000000};
    kolk_stream *stream, *other;
    const char *line = NULL;
    int fds[2];

    (void)unused;
    if (!peer_connected(PEER_UNIX, fds)) {
        return 0;
    }
    if (!CHECK_OK(kolk_stream_open(fds[0], &options, &stream))) {
        test_own(fds[0]);
        test_own(fds[1]);
        return 0;
    }
    if (!CHECK_OK(kolk_stream_open(fds[1], NULL, &other))) {
        test_own(fds[1]);
    } else if (tasks_spawn(until_write_large, other) == NULL) {
        kolk_stream_free(other);
    } else {
        if (CHECK_INT(kolk_stream_readline(stream, &line), 1000000)) {
            CHECK(line[999998] == 'l' && line[999999] == '\n');
        }
        check_readline(stream, "small\n");
        check_readline(stream, "");
    }
    kolk_stream_free(stream);
    return 0;
}

TEST(a_record_may_be_as_long_as_the_limit)
{
    tasks_run(until_read_large, NULL);
}
