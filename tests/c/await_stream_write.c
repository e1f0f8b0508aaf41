/* await_stream_write.c - writing to a stream, and waiting for the other side.
 *
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static kolk_stream *drain_stream;
static char noise[300000];

static void
write_pieces(kolk_stream *stream, int fd)
{
    struct iovec pieces[] = {{(void *)"two ", 4}, {(void *)"three ", 6}};
    char bytes[8];

    memcpy(bytes, "one ", 4);
    CHECK_OK(kolk_stream_write(stream, bytes, 4));
    memset(bytes, 'x', sizeof bytes); /* ours again */
    CHECK_OK(kolk_stream_writev(stream, pieces, 2));
    CHECK_OK(kolk_stream_print(stream, "%d and %s", 4, "five"));
    CHECK_OK(kolk_stream_write(stream, NULL, 0));
    peer_hears(fd, "one two three 4 and five");
    kolk_stream_free(stream);
}

TEST(what_is_written_arrives_in_order)
{
    peer_test_both(write_pieces);
}

static void
print_long(kolk_stream *stream, int fd)
{
    char heard[3001];

    CHECK_OK(kolk_stream_print(stream, "%3000d", 7));
    tasks_pass(3);
    CHECK_INT(peer_take(fd, heard, sizeof heard), 3000);
    CHECK_INT(heard[0], ' ');
    CHECK_INT(heard[2999], '7');
    kolk_stream_free(stream);
}

TEST(printed_text_may_be_long)
{
    peer_test_both(print_long);
}

/* ---- draining ---- */

static int
drain_note(void *unused)
{
    int err = kolk_stream_drain(drain_stream);

    (void)unused;
    tasks_note(err == 0 ? 'd' : err == -ECANCELED ? 'c' : 'e');
    return 0;
}

/* Writes until the buffer is above its mark. */
static void
drain_fill(kolk_stream *stream)
{
    drain_stream = stream;
    for (int i = 0; i < 20; i++) {
        CHECK_OK(kolk_stream_write(stream, noise, sizeof noise));
    }
    CHECK(kolk_transport_buffer_size(kolk_stream_transport(stream)) > 65536);
}

/* Lets the peer read until the task has nothing more to wait for. */
static void
drain_let(kolk_stream *stream, int fd)
{
    while (kolk_transport_buffer_size(kolk_stream_transport(stream)) > 0
           && kolk_checkpoint() == 0) {
        while (peer_take(fd, noise, sizeof noise) > 0) {
        }
    }
}

static void
drain_several(kolk_stream *stream, int fd)
{
    kolk_task *drainers[2];

    drain_stream = stream;
    CHECK_OK(kolk_stream_drain(stream)); /* nothing to wait for */
    drain_fill(stream);
    drainers[0] = tasks_spawn(drain_note, NULL);
    drainers[1] = tasks_spawn(drain_note, NULL);
    tasks_pass(3);
    CHECK_STR(tasks_notes(), "");
    drain_let(stream, fd);
    tasks_pass(2);
    CHECK_STR(tasks_notes(), "dd");
    CHECK_OK(kolk_stream_drain(stream));
    CHECK(drainers[1] != NULL);
    kolk_stream_free(stream);
}

TEST(several_tasks_drain)
{
    peer_test_both(drain_several);
}

static void
drain_cancelled(kolk_stream *stream, int fd)
{
    drain_fill(stream);
    kolk_task *drainer = tasks_spawn(drain_note, NULL);
    tasks_pass(2);
    if (drainer != NULL) {
        CHECK_INT(kolk_task_cancel(drainer), 1);
        CHECK_OK(kolk_join(drainer));
    }
    CHECK_STR(tasks_notes(), "c");
    drain_let(stream, fd); /* the bytes go on */
    CHECK_OK(kolk_stream_drain(stream));
    kolk_stream_free(stream);
}

TEST(cancelling_a_drain_leaves_the_bytes)
{
    peer_test_both(drain_cancelled);
}

static void
drain_reset(kolk_stream *stream, int fd)
{
    drain_fill(stream);
    kolk_task *drainer = tasks_spawn(drain_note, NULL);
    tasks_pass(2);
    peer_reset(fd);
    CHECK_OK(drainer != NULL ? kolk_join(drainer) : 0);
    CHECK_STR(tasks_notes(), "e");
    CHECK(kolk_stream_drain(stream) < 0);
    CHECK(kolk_stream_write(stream, "x", 1) < 0);
    CHECK_OK(kolk_stream_close(stream) < 0 ? 0 : -EPROTO);
}

TEST(a_reset_ends_a_drain_with_its_error)
{
    peer_test(PEER_TCP, NULL, drain_reset);
}

static void
drain_aborted(kolk_stream *stream, int fd)
{
    (void)fd;
    drain_fill(stream);
    kolk_task *drainer = tasks_spawn(drain_note, NULL);
    tasks_pass(2);
    kolk_stream_abort(stream);
    CHECK_OK(drainer != NULL ? kolk_join(drainer) : 0);
    CHECK_STR(tasks_notes(), "c");
}

TEST(aborting_a_stream_wakes_who_drains)
{
    peer_test_both(drain_aborted);
}

static int
greedy_write(void *unused)
{
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        if (!CHECK_OK(kolk_stream_write(drain_stream, "x", 1))
            || !CHECK_OK(kolk_stream_drain(drain_stream))) {
            break;
        }
    }
    tasks_note('.');
    return 0;
}

static void
write_greedily(kolk_stream *stream, int fd)
{
    int turns = 0;

    (void)fd;
    drain_stream = stream;
    kolk_task *writer = tasks_spawn(greedy_write, NULL);
    while (tasks_notes()[0] == '\0' && kolk_checkpoint() == 0) {
        turns++;
    }
    CHECK(turns >= 10);
    CHECK_OK(writer != NULL ? kolk_join(writer) : 0);
    kolk_stream_free(stream);
}

TEST(a_writer_that_never_waits_lets_others_run)
{
    peer_test_both(write_greedily);
}

/* ---- the end of one side ---- */

static void
half_close(kolk_stream *stream, int fd)
{
    CHECK_OK(kolk_stream_write(stream, "question", 8));
    CHECK_OK(kolk_stream_write_eof(stream));
    CHECK_ERR(kolk_stream_write(stream, "x", 1), -EPIPE);
    CHECK_INT(peer_count_to_end(fd), 8);
    peer_say(fd, "answer");
    peer_read(stream, "answer");
    peer_close(fd);
    peer_read(stream, "");
    CHECK_OK(kolk_stream_close(stream));
}

TEST(reading_goes_on_after_the_end_was_written)
{
    peer_test_both(half_close);
}

static void
write_reset(kolk_stream *stream, int fd)
{
    peer_reset(fd);
    for (int i = 0; i < 10; i++) { /* dropped or refused, but no crash */
        int err = kolk_stream_write(stream, "x", 1);

        CHECK(err == 0 || err == -ECONNRESET || err == -EPIPE);
        tasks_pass(1);
    }
    char byte;
    CHECK(kolk_stream_read(stream, &byte, 1) <= 0);
    CHECK(kolk_stream_write(stream, "x", 1) < 0);
    kolk_stream_free(stream);
}

TEST(writing_after_a_reset_is_an_error)
{
    peer_test(PEER_TCP, NULL, write_reset);
}

/* ---- files ---- */

static int
file_of_noise(void)
{
    char path[] = "/tmp/kolk-stream-XXXXXX";
    int fd = mkstemp(path);

    CHECK(fd >= 0);
    (void)unlink(path);
    test_own(fd);
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (char)(i % 251);
    }
    CHECK_INT(pwrite(fd, noise, sizeof noise, 0), sizeof noise);
    return fd;
}

static int
file_hear(void *arg)
{
    static char heard[300100];
    int fd = *(int *)arg;
    size_t size = 0;
    int some;

    while ((some = kolk_recv(fd, heard + size, sizeof heard - size, 0)) > 0) {
        size += (size_t)some;
    }
    CHECK_INT(size, 100 + sizeof noise - 1000);
    CHECK(memcmp(heard, "before", 6) == 0);
    CHECK(memcmp(heard + 50, noise + 1000, sizeof noise - 1000) == 0);
    CHECK(memcmp(heard + size - 5, "after", 5) == 0);
    return 0;
}

static void
file_sent(kolk_stream *stream, int fd)
{
    int file = file_of_noise();
    uint64_t sent = 0;

    kolk_task *hearer = tasks_spawn(file_hear, &fd);
    CHECK_OK(kolk_stream_print(stream, "%-50s", "before"));
    CHECK_OK(kolk_stream_sendfile(stream, file, 1000, UINT64_MAX, &sent));
    CHECK_INT(sent, sizeof noise - 1000);
    CHECK_OK(kolk_stream_print(stream, "%50s", "after"));
    CHECK_OK(kolk_stream_close(stream));
    CHECK_OK(hearer != NULL ? kolk_join(hearer) : 0);
}

TEST(a_file_is_sent_between_what_is_written)
{
    peer_test_both(file_sent);
}

struct file_plan {
    kolk_stream *stream;
    int file;
    uint64_t sent;
    int result;
};

static int
file_send(void *arg)
{
    struct file_plan *plan = arg;

    plan->result = kolk_stream_sendfile(plan->stream, plan->file, 0, UINT64_MAX,
                                        &plan->sent);
    return 0;
}

static void
file_cancelled(kolk_stream *stream, int fd)
{
    struct file_plan plan = {.stream = stream, .file = file_of_noise()};

    (void)peer_fill(fd);
    drain_fill(stream); /* so that the file cannot go */
    kolk_task *sender = tasks_spawn(file_send, &plan);
    tasks_pass(3);
    if (sender != NULL) {
        CHECK_INT(kolk_task_cancel(sender), 1);
        CHECK_OK(kolk_join(sender));
        CHECK_ERR(plan.result, -ECANCELED);
        CHECK(plan.sent < sizeof noise);
    }
    kolk_stream_abort(stream);
}

TEST(sending_a_file_is_cancelled)
{
    peer_test_both(file_cancelled);
}

static void
file_none(kolk_stream *stream, int fd)
{
    uint64_t sent = 5;

    CHECK_ERR(kolk_stream_sendfile(stream, fd, 0, 10, &sent), -EINVAL);
    CHECK_INT(sent, 0);
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_ERR(kolk_stream_sendfile(stream, file_of_noise(), 0, 10, &sent),
              -ECANCELED);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    kolk_stream_free(stream);
}

TEST(what_is_no_file_is_not_sent)
{
    peer_test(PEER_UNIX, NULL, file_none);
}
