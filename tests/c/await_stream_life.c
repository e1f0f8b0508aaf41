/* await_stream_life.c - opening, closing and leaving streams.
 *
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char noise[3000000];

/* ---- opening ---- */

static int
open_refused(void *unused)
{
    kolk_stream *stream = NULL;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    (void)unused;
    CHECK_ERR(kolk_stream_open(-1, NULL, &stream), -EBADF);
    CHECK_ERR(kolk_stream_open(file, NULL, &stream), -EINVAL);
    CHECK_PTR(stream, NULL);
    CHECK_INT(close(file), 0); /* still ours */
    return 0;
}

TEST(what_is_no_stream_is_refused)
{
    kolk_stream *stream = NULL;

    tasks_run(open_refused, NULL);
    CHECK_ERR(kolk_stream_open(0, NULL, &stream), -KOLK_EMISUSE);
    kolk_stream_free(NULL);
}

static int
pair_main(void *unused)
{
    kolk_stream *ends[2];

    (void)unused;
    if (!CHECK_OK(kolk_stream_pair(ends))) {
        return 0;
    }
    CHECK_OK(kolk_stream_write(ends[0], "there", 5));
    peer_read(ends[1], "there");
    CHECK_OK(kolk_stream_write(ends[1], "and back", 8));
    peer_read(ends[0], "and back");
    CHECK_OK(kolk_stream_close(ends[0]));
    peer_read(ends[1], "");
    CHECK_OK(kolk_stream_close(ends[1]));
    return 0;
}

TEST(a_pair_of_streams_is_connected)
{
    tasks_run(pair_main, NULL);
}

/* ---- closing ---- */

struct life {
    kolk_stream *stream;
    int fd;
    int result;
    int count;
};

static int
life_close(void *arg)
{
    struct life *life = arg;

    life->result = kolk_stream_close(life->stream);
    tasks_note('c');
    return 0;
}

static int
life_hear(void *arg)
{
    struct life *life = arg;

    life->count = peer_count_to_end(life->fd);
    CHECK_OK(life->count);
    return 0;
}

static void
close_delivers(kolk_stream *stream, int fd)
{
    struct life life = {.stream = stream, .fd = fd, .result = 1};

    CHECK_OK(kolk_stream_write(stream, noise, sizeof noise));
    kolk_task *closer = tasks_spawn(life_close, &life);
    tasks_pass(5);
    CHECK_STR(tasks_notes(), ""); /* the peer has not read */
    kolk_task *hearer = tasks_spawn(life_hear, &life);
    CHECK_OK(closer != NULL ? kolk_join(closer) : 0);
    CHECK_OK(hearer != NULL ? kolk_join(hearer) : 0);
    CHECK_OK(life.result);
    CHECK_INT(life.count, sizeof noise);
}

TEST(closing_waits_until_a_slow_peer_has_everything)
{
    peer_test_both(close_delivers);
}

static void
close_reset(kolk_stream *stream, int fd)
{
    struct life life = {.stream = stream};

    CHECK_OK(kolk_stream_write(stream, noise, sizeof noise));
    kolk_task *closer = tasks_spawn(life_close, &life);
    tasks_pass(3);
    peer_reset(fd);
    CHECK_OK(closer != NULL ? kolk_join(closer) : 0);
    CHECK(life.result == -ECONNRESET || life.result == -EPIPE);
}

TEST(closing_says_that_not_all_was_sent)
{
    peer_test(PEER_TCP, NULL, close_reset);
}

static void
close_cancelled(kolk_stream *stream, int fd)
{
    struct life life = {.stream = stream, .fd = fd, .result = 1};

    CHECK_OK(kolk_stream_write(stream, noise, sizeof noise));
    kolk_task *closer = tasks_spawn(life_close, &life);
    tasks_pass(3);
    if (closer != NULL) {
        CHECK_INT(kolk_task_cancel(closer), 1);
        CHECK_OK(kolk_join(closer));
        CHECK_ERR(life.result, -ECANCELED);
    }
    CHECK(peer_count_to_end(fd) < (int)sizeof noise);
}

TEST(cancelling_a_close_drops_what_is_left)
{
    peer_test_both(close_cancelled);
}

static void
close_requested(kolk_stream *stream, int fd)
{
    CHECK_OK(kolk_stream_write(stream, "all of it", 9));
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_OK(kolk_stream_close(stream)); /* has nothing to wait for */
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    CHECK_INT(peer_count_to_end(fd), 9);
}

TEST(closing_with_a_request_pending_sends_what_can_be_sent)
{
    peer_test_both(close_requested);
}

static void
close_requested_full(kolk_stream *stream, int fd)
{
    CHECK_OK(kolk_stream_write(stream, noise, sizeof noise));
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_ERR(kolk_stream_close(stream), -ECANCELED);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    CHECK(peer_count_to_end(fd) < (int)sizeof noise);
}

TEST(closing_with_a_request_pending_does_not_wait)
{
    peer_test_both(close_requested_full);
}

static void
close_unread(kolk_stream *stream, int fd)
{
    peer_say(fd, "a question that nobody reads");
    tasks_pass(2);
    CHECK_OK(kolk_stream_write(stream, "answer", 6));
    CHECK_OK(kolk_stream_close(stream));
    CHECK_INT(peer_count_to_end(fd), 6); /* no reset has overtaken it */
}

TEST(an_answer_arrives_although_the_question_was_not_read)
{
    peer_test_both(close_unread);
}

static void
close_while_reading(kolk_stream *stream, int fd)
{
    struct life life = {.stream = stream, .fd = fd};

    CHECK_OK(kolk_stream_write(stream, noise, sizeof noise));
    kolk_task *closer = tasks_spawn(life_close, &life);
    tasks_pass(2);
    kolk_stream_abort(stream);
    CHECK_OK(closer != NULL ? kolk_join(closer) : 0);
    CHECK_ERR(life.result, -ECANCELED);
}

TEST(aborting_a_stream_ends_its_close)
{
    peer_test_both(close_while_reading);
}

/* ---- leaving it to itself ---- */

static void
free_delivers(kolk_stream *stream, int fd)
{
    CHECK_OK(kolk_stream_write(stream, noise, sizeof noise));
    kolk_stream_free(stream);
    CHECK_INT(peer_count_to_end(fd), sizeof noise);
}

TEST(what_was_written_is_sent_after_the_stream_was_freed)
{
    peer_test_both(free_delivers);
}

static void
abort_drops(kolk_stream *stream, int fd)
{
    CHECK_OK(kolk_stream_write(stream, noise, sizeof noise));
    kolk_stream_abort(stream);
    CHECK(peer_count_to_end(fd) < (int)sizeof noise);
}

TEST(what_was_written_is_not_sent_after_an_abort)
{
    peer_test_both(abort_drops);
}

static void
free_and_leave(kolk_stream *stream, int fd)
{
    (void)fd;
    CHECK_OK(kolk_stream_write(stream, noise, sizeof noise));
    kolk_stream_free(stream); /* the loop is closed while it sends */
}

TEST(closing_the_loop_ends_what_is_still_being_sent)
{
    peer_test_both(free_and_leave);
}

static kolk_stream *life_kept;

static void
keep_stream(kolk_stream *stream, int fd)
{
    const char *data;

    peer_say(fd, "left");
    CHECK_INT(kolk_stream_peek(stream, 1, &data), 4);
    CHECK_OK(kolk_stream_write(stream, "dropped", 7));
    life_kept = stream;
}

TEST(a_stream_may_be_freed_after_its_loop_was_closed)
{
    peer_free_later(&life_kept);
    peer_test(PEER_TCP, NULL, keep_stream);
    CHECK(life_kept != NULL && kolk_stream_write(life_kept, "x", 1) < 0);
    kolk_stream_free(life_kept);
    life_kept = NULL;
    peer_test(PEER_UNIX, NULL, keep_stream);
    CHECK(life_kept != NULL && kolk_stream_write(life_kept, "x", 1) < 0);
    kolk_stream_abort(life_kept);
    life_kept = NULL;
}

/* A task that obeys no request, in a shield. */
static int
deaf_read(void *arg)
{
    KOLK_SHIELD(shield);
    char byte;

    return kolk_stream_read(arg, &byte, 1);
}

static void
keep_deaf_reader(kolk_stream *stream, int fd)
{
    (void)fd;
    life_kept = stream;
    (void)tasks_spawn(deaf_read, stream);
    tasks_pass(2);
}

TEST(a_stream_may_be_freed_whose_reader_did_not_end_with_the_loop)
{
    peer_free_later(&life_kept);
    peer_test(PEER_UNIX, NULL, keep_deaf_reader);
}
