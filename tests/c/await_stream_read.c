/* await_stream_read.c - reading so many bytes from a stream.
 *
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"
#include "race.h"

#include <stdlib.h>
#include <string.h>

#include "await/stream.h" /* what a stream holds; waking as dispatch does */

/* ---- reading what comes ---- */

static void
read_there(kolk_stream *stream, int fd)
{
    char byte;

    peer_say(fd, "hello");
    peer_read(stream, "hello");
    peer_say(fd, "xyz");
    CHECK_INT(kolk_stream_read(stream, &byte, 1), 1);
    CHECK_INT(byte, 'x');
    CHECK_INT(kolk_stream_read(stream, &byte, 0), 0);
    peer_read(stream, "yz");
    kolk_stream_free(stream);
}

TEST(a_read_gives_what_is_there)
{
    peer_test_both(read_there);
}

static kolk_stream *reader_stream;

static int
reader_note(void *unused)
{
    char bytes[8192] = "";
    int size = kolk_stream_read(reader_stream, bytes, sizeof bytes - 1);

    (void)unused;
    tasks_note(size > 0             ? bytes[0]
               : size == 0          ? '0'
               : size == -ECANCELED ? 'c'
               : size == -EBUSY     ? 'b'
                                    : 'e');
    return 0;
}

static void
read_waits(kolk_stream *stream, int fd)
{
    reader_stream = stream;
    kolk_task *reader = tasks_spawn(reader_note, NULL);
    tasks_pass(3);
    CHECK_STR(tasks_notes(), "");
    peer_say(fd, "now");
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    CHECK_STR(tasks_notes(), "n");
    kolk_stream_free(stream);
}

TEST(a_read_waits_for_the_first_byte)
{
    peer_test_both(read_waits);
}

static void
read_end(kolk_stream *stream, int fd)
{
    char byte;

    CHECK(!kolk_stream_at_eof(stream));
    peer_say(fd, "last");
    peer_half_close(fd);
    peer_read(stream, "last");
    CHECK_INT(kolk_stream_read(stream, &byte, 1), 0);
    CHECK(kolk_stream_at_eof(stream));
    CHECK_INT(kolk_stream_read(stream, &byte, 1), 0);
    CHECK_OK(kolk_stream_write(stream, "still", 5)); /* the other way goes on */
    peer_hears(fd, "still");
    kolk_stream_free(stream);
}

TEST(the_end_is_told_after_all_data_and_again)
{
    peer_test_both(read_end);
}

static void
read_event(kolk_stream *stream, int fd)
{
    reader_stream = stream;
    kolk_task *reader = tasks_spawn(reader_note, NULL);
    tasks_pass(3);
    peer_say(fd, "data");
    peer_close(fd);
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    reader = tasks_spawn(reader_note, NULL);
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    CHECK_STR(tasks_notes(), "d0");
    kolk_stream_free(stream);
}

TEST(data_and_end_in_one_event_are_both_seen)
{
    peer_test_both(read_event);
}

static void
read_reset(kolk_stream *stream, int fd)
{
    char byte;

    peer_say(fd, "before");
    peer_reset(fd);
    peer_read(stream, "before");
    CHECK_ERR(kolk_stream_read(stream, &byte, 1), -ECONNRESET);
    CHECK_ERR(kolk_stream_read(stream, &byte, 1), -ECONNRESET);
    CHECK(!kolk_stream_at_eof(stream));
    kolk_stream_free(stream);
}

TEST(what_came_before_a_reset_is_read_first)
{
    peer_test(PEER_TCP, NULL, read_reset);
}

static void
read_after_failed_write(kolk_stream *stream, int fd)
{
    char byte;

    peer_say(fd, "before");
    peer_reset(fd);
    int err = kolk_stream_write(stream, "lost", 4);
    CHECK(err == 0 || err == -ECONNRESET || err == -EPIPE);
    tasks_pass(4);
    peer_read(stream, "before");
    CHECK(kolk_stream_read(stream, &byte, 1) <= 0);
    kolk_stream_free(stream);
}

TEST(what_came_is_read_although_a_write_has_failed_first)
{
    peer_test(PEER_TCP, NULL, read_after_failed_write);
}

/* ---- who may read ---- */

static void
read_busy(kolk_stream *stream, int fd)
{
    const char *line;
    char byte;

    reader_stream = stream;
    kolk_task *reader = tasks_spawn(reader_note, NULL);
    tasks_pass(2);
    CHECK_ERR(kolk_stream_read(stream, &byte, 1), -EBUSY);
    CHECK_ERR(kolk_stream_read_exactly(stream, &byte, 1, NULL), -EBUSY);
    CHECK_ERR(kolk_stream_readline(stream, &line), -EBUSY);
    CHECK_ERR(kolk_stream_read_until(
                  stream, &(kolk_bytes){.data = "x", .size = 1}, 1, &line),
              -EBUSY);
    CHECK_ERR(kolk_stream_peek(stream, 1, &line), -EBUSY);
    peer_say(fd, "r");
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    CHECK_STR(tasks_notes(), "r");
    kolk_stream_free(stream);
}

TEST(only_one_task_reads_at_a_time)
{
    peer_test_both(read_busy);
}

static kolk_stream *misuse_kept;

static void
misuse_keep(kolk_stream *stream, int fd)
{
    (void)fd;
    misuse_kept = stream;
}

TEST(reading_outside_a_task_is_misuse)
{
    const char *line;
    char byte;

    peer_free_later(&misuse_kept);
    peer_test(PEER_UNIX, NULL, misuse_keep); /* outlives its loop */
    CHECK(misuse_kept != NULL);
    CHECK_ERR(kolk_stream_read(misuse_kept, &byte, 1), -KOLK_EMISUSE);
    CHECK_ERR(kolk_stream_read_exactly(misuse_kept, &byte, 1, NULL),
              -KOLK_EMISUSE);
    CHECK_ERR(kolk_stream_readline(misuse_kept, &line), -KOLK_EMISUSE);
    CHECK_ERR(kolk_stream_drain(misuse_kept), -KOLK_EMISUSE);
    CHECK_ERR(kolk_stream_close(misuse_kept), -KOLK_EMISUSE);
    misuse_kept = NULL;
}

/* ---- fairness ---- */

static int
greedy_read(void *unused)
{
    char byte;

    (void)unused;
    for (int i = 0; i < 1000; i++) {
        if (!CHECK_INT(kolk_stream_read(reader_stream, &byte, 1), 1)) {
            break;
        }
    }
    tasks_note('.');
    return 0;
}

static void
read_greedily(kolk_stream *stream, int fd)
{
    char bytes[1000];
    int turns = 0;

    memset(bytes, 'b', sizeof bytes);
    peer_send(fd, bytes, sizeof bytes);
    reader_stream = stream;
    kolk_task *reader = tasks_spawn(greedy_read, NULL);
    while (tasks_notes()[0] == '\0' && kolk_checkpoint() == 0) {
        turns++;
    }
    CHECK(turns >= 10);
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    kolk_stream_free(stream);
}

TEST(a_reader_that_never_waits_lets_others_run)
{
    peer_test_both(read_greedily);
}

/* ---- exactly so many bytes ---- */

static void
exactly_pieces(kolk_stream *stream, int fd)
{
    char bytes[64] = "";
    size_t got = 99;

    peer_say(fd, "abcdefgh");
    CHECK_INT(kolk_stream_read_exactly(stream, bytes, 5, &got), 0);
    CHECK_STR(bytes, "abcde");
    CHECK_INT(got, 5);
    CHECK_INT(kolk_stream_read_exactly(stream, bytes, 0, &got), 0);
    CHECK_INT(got, 0);
    CHECK_INT(kolk_stream_read_exactly(stream, bytes, 3, NULL), 0);
    CHECK_STR(bytes, "fghde");
    kolk_stream_free(stream);
}

TEST(records_of_a_known_size_are_read)
{
    peer_test_both(exactly_pieces);
}

struct exactly {
    kolk_stream *stream;
    char *bytes;
    size_t size, got;
    int result;
};

static int
exactly_read(void *arg)
{
    struct exactly *self = arg;

    self->got = SIZE_MAX;
    self->result = kolk_stream_read_exactly(self->stream, self->bytes,
                                            self->size, &self->got);
    return 0;
}

static void
exactly_slowly(kolk_stream *stream, int fd)
{
    char bytes[16] = "";
    struct exactly self = {.stream = stream, .bytes = bytes, .size = 10};

    kolk_task *reader = tasks_spawn(exactly_read, &self);
    peer_say_slowly(fd, "0123456789");
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    CHECK_INT(self.result, 0);
    CHECK_INT(self.got, 10);
    CHECK_STR(bytes, "0123456789");
    kolk_stream_free(stream);
}

TEST(a_record_may_come_byte_by_byte)
{
    peer_test_both(exactly_slowly);
}

static void
exactly_end(kolk_stream *stream, int fd)
{
    char bytes[8] = "";
    char *large = malloc(10000);
    size_t got = 0;

    peer_say(fd, "abc");
    peer_half_close(fd);
    CHECK_ERR(kolk_stream_read_exactly(stream, bytes, 5, &got), -KOLK_EOF);
    CHECK_INT(got, 3);
    CHECK_STR(bytes, "abc");
    CHECK_ERR(kolk_stream_read_exactly(stream, large, 10000, &got), -KOLK_EOF);
    CHECK_INT(got, 0);
    free(large);
    kolk_stream_free(stream);
}

TEST(a_record_that_is_cut_says_how_much_of_it_came)
{
    peer_test_both(exactly_end);
}

/* Reads `self->size` bytes, of which `sent` have come; the task is cancelled,
 * and what remains is checked: nothing is lost, in order. */
static void
exactly_cancel(struct exactly *self, int fd, size_t sent)
{
    char *bytes = malloc(sent);

    for (size_t i = 0; i < sent; i++) {
        bytes[i] = (char)(i * 7 + i / 256);
    }
    kolk_task *reader = tasks_spawn(exactly_read, self);
    for (size_t i = 0; i < sent; i += 4000) {
        peer_send(fd, bytes + i, sent - i < 4000 ? sent - i : 4000);
        tasks_pass(3);
    }
    if (reader != NULL) {
        CHECK_INT(kolk_task_cancel(reader), 1);
        CHECK_OK(kolk_join(reader));
        CHECK_ERR(self->result, -ECANCELED);
    }
    size_t kept = self->got;
    if (CHECK(kept <= sent) && kolk_is_cancelled() == false) {
        CHECK(memcmp(self->bytes, bytes, kept) == 0);
        CHECK_OK(kolk_stream_read_exactly(self->stream, self->bytes,
                                          sent - kept, NULL));
        CHECK(memcmp(self->bytes, bytes + kept, sent - kept) == 0);
    }
    free(bytes);
}

static void
exactly_cancelled(kolk_stream *stream, int fd)
{
    struct exactly self = {.stream = stream, .bytes = malloc(100000)};

    self.size = 100;
    exactly_cancel(&self, fd, 40);
    CHECK_INT(self.got, 0);
    self.size = 60000;
    exactly_cancel(&self, fd, 50000);
    CHECK_INT(self.got, 0);
    free(self.bytes);
    kolk_stream_free(stream);
}

TEST(a_cancelled_record_stays_in_the_stream)
{
    peer_test_both(exactly_cancelled);
}

static void
exactly_cancelled_beyond(kolk_stream *stream, int fd)
{
    struct exactly self = {
        .stream = stream, .bytes = malloc(100000), .size = 90000};

    exactly_cancel(&self, fd, 80000);
    CHECK_INT(self.got, 80000 - stream->limit);
    free(self.bytes);
    kolk_stream_free(stream);
}

TEST(a_cancelled_record_beyond_the_limit_stays_with_the_caller)
{
    peer_test_both(exactly_cancelled_beyond);
}

/* ---- without taking ---- */

static void
peek_pieces(kolk_stream *stream, int fd)
{
    const char *data = NULL;

    CHECK_INT(kolk_stream_peek(stream, 0, &data), 0);
    peer_say(fd, "GET / HTTP/1.1");
    CHECK_INT(kolk_stream_peek(stream, 3, &data), 14);
    CHECK(data != NULL && memcmp(data, "GET /", 5) == 0);
    kolk_stream_skip(stream, 4);
    CHECK_INT(kolk_stream_peek(stream, 1, &data), 10);
    CHECK(data != NULL && memcmp(data, "/ HTTP/1.1", 10) == 0);
    CHECK_ERR(kolk_stream_peek(stream, SIZE_MAX, &data), -KOLK_ELIMIT);
    peer_half_close(fd);
    CHECK_INT(kolk_stream_peek(stream, 11, &data), 10); /* the end */
    CHECK(!kolk_stream_at_eof(stream));
    kolk_stream_skip(stream, 10);
    CHECK(kolk_stream_at_eof(stream));
    CHECK_INT(kolk_stream_peek(stream, 1, &data), 0);
    kolk_stream_skip(stream, 1); /* misuse: nothing is there */
    CHECK(kolk_stream_at_eof(stream));
    kolk_stream_free(stream);
}

TEST(bytes_are_looked_at_without_being_taken)
{
    peer_test_both(peek_pieces);
}

/* ---- memory ---- */

static void
memory_idle(kolk_stream *stream, int fd)
{
    const char *data;

    peer_say(fd, "xy");
    CHECK_INT(kolk_stream_peek(stream, 1, &data), 2);
    CHECK(stream->buffer.data != NULL);
    kolk_stream_skip(stream, 2);
    reader_stream = stream;
    kolk_task *reader = tasks_spawn(reader_note, NULL);
    tasks_pass(2);
    CHECK_PTR(stream->buffer.data, NULL);
    peer_say(fd, "z");
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    kolk_stream_free(stream);
}

TEST(a_stream_that_waits_has_no_buffer)
{
    peer_test_both(memory_idle);
}

/* ---- cancellation in one turn ---- */

static struct {
    kolk_stream *streams[2];
    int fds[2];
} read_race;

static void
race_begin(struct race *race)
{
    (void)race;
    for (int i = 0; i < 2; i++) {
        (void)peer_open(PEER_UNIX, NULL, &read_race.streams[i],
                        &read_race.fds[i]);
    }
}

static int
race_wait(struct race *race, int who)
{
    char byte;

    (void)race;
    return kolk_stream_read(read_race.streams[who], &byte, 1);
}

/* What a dispatch does that finds the byte. */
static void
race_wake(struct race *race)
{
    kolk_transport *transport = kolk_stream_transport(read_race.streams[0]);

    (void)race;
    peer_say(read_race.fds[0], "w");
    transport->in.desc->ready_in = true;
    kolk__transport_wake_reader(transport);
}

static void
race_end(struct race *race)
{
    (void)race;
    peer_say(read_race.fds[1], "x");
}

/* The byte that came is with the first reader or still in the stream. */
static void
race_check(struct race *race)
{
    char byte = 0;

    if (race->is_woken && !race->has_won) {
        CHECK_INT(kolk_stream_read(read_race.streams[0], &byte, 1), 1);
        CHECK_INT(byte, 'w');
    }
    for (int i = 0; i < 2; i++) {
        kolk_stream_free(read_race.streams[i]);
        read_race.streams[i] = NULL;
        peer_close(read_race.fds[i]);
    }
}

static int
race_main(void *unused)
{
    static const struct race_kind kind = {.begin = race_begin,
                                          .wait = race_wait,
                                          .wake = race_wake,
                                          .end = race_end,
                                          .check = race_check};
    struct race race = {.kind = &kind};

    (void)unused;
    race_run(&race);
    return 0;
}

TEST(no_byte_is_lost_whatever_happens_in_one_turn)
{
    peer_free_later(&read_race.streams[0]);
    peer_free_later(&read_race.streams[1]);
    tasks_run(race_main, NULL);
}

static void
cancel_with_data(kolk_stream *stream, int fd)
{
    char byte = 0;

    peer_say(fd, "ab");
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_INT(kolk_stream_read(stream, &byte, 1), 1); /* results win */
    CHECK_INT(byte, 'a');
    CHECK_INT(kolk_stream_read(stream, &byte, 1), 1);
    CHECK_ERR(kolk_stream_read(stream, &byte, 1), -ECANCELED);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    kolk_stream_free(stream);
}

TEST(what_is_there_is_read_although_a_request_is_pending)
{
    peer_test_both(cancel_with_data);
}

/* ---- the stream goes while a task waits ---- */

static void
abort_reader(kolk_stream *stream, int fd)
{
    (void)fd;
    reader_stream = stream;
    kolk_task *reader = tasks_spawn(reader_note, NULL);
    tasks_pass(2);
    kolk_stream_abort(stream);
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    CHECK_STR(tasks_notes(), "c");
}

TEST(aborting_a_stream_wakes_its_reader)
{
    peer_test_both(abort_reader);
}

/* The reader has been woken by a byte, and does not get to read it. */
static void
abort_woken_reader(kolk_stream *stream, int fd)
{
    kolk_transport *transport = kolk_stream_transport(stream);

    reader_stream = stream;
    kolk_task *reader = tasks_spawn(reader_note, NULL);
    tasks_pass(2);
    peer_say(fd, "x");
    transport->in.desc->ready_in = true;
    kolk__transport_wake_reader(transport);
    kolk_stream_abort(stream);
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    CHECK_STR(tasks_notes(), "c");
}

TEST(a_reader_that_was_woken_does_not_touch_a_stream_that_has_gone)
{
    peer_test_both(abort_woken_reader);
}

static void
free_under_reader(kolk_stream *stream, int fd)
{
    (void)fd;
    reader_stream = stream;
    kolk_task *reader = tasks_spawn(reader_note, NULL);
    tasks_pass(2);
    kolk_stream_free(stream); /* misuse, and nothing breaks */
    CHECK_OK(reader != NULL ? kolk_join(reader) : 0);
    CHECK_STR(tasks_notes(), "c");
}

TEST(freeing_a_stream_under_its_reader_breaks_nothing)
{
    peer_test_both(free_under_reader);
}
