/* net_transport_write.c - what is written arrives, by as few calls as possible.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "calls.h"
#include "net/transport.h" /* readiness, without an event */

/* A call that writes from inside of a turn. */
struct write_call {
    kolk_call call;
    struct talker *talker;
    const char *text;
    int peer;      /* descriptor of the other end */
    char seen[64]; /* what was there when it ran */
    void (*then)(struct write_call *self);
};

/* Reads what has arrived at the other end. */
static void
write_look(struct write_call *self)
{
    (void)talker_take(self->peer, self->seen, sizeof self->seen - 1);
}

static void
write_run(kolk_call *call)
{
    struct write_call *self = KOLK_CONTAINER_OF(call, struct write_call, call);

    if (self->text != NULL) {
        CHECK_OK(kolk_transport_write(self->talker->transport, self->text,
                                      strlen(self->text)));
    }
    if (self->then != NULL) {
        self->then(self);
    }
}

static void
write_queue(struct write_call *self, struct talker *talker, const char *text,
            int peer)
{
    self->talker = talker;
    self->text = text;
    self->peer = peer;
    kolk_call_init(&self->call, write_run, NULL);
    CHECK_OK(kolk_call_soon(talker->loop, &self->call));
}

/* ---- joining ---- */

TEST(writes_of_one_turn_leave_together)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call first = {.then = NULL}, second = {.then = write_look};
    char got[16] = "";
    int fds[2];

    calls_begin();
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_loop_set_write_delay(loop, KOLK_S(10));
    write_queue(&first, talker, "head ", fds[1]);
    write_queue(&second, talker, "and body", fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(second.seen, ""); /* not before the end of the turn */
    CHECK_INT(read(fds[1], got, sizeof got), 13);
    CHECK_STR(got, "head and body");
    CHECK(calls.writes == 1 || test_is_hard());
}

TEST(a_write_outside_of_a_run_leaves_at_once)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[16] = "";
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, "now", 3));
    CHECK_INT(read(fds[1], got, sizeof got), 3);
}

TEST(without_a_delay_each_step_sends_what_it_wrote)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call first = {.then = write_look}, second = first;
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_loop_set_write_delay(loop, 0);
    write_queue(&first, talker, "first", fds[1]);
    write_queue(&second, talker, "second", fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(first.seen, ""); /* looked before its step was over */
    CHECK_STR(second.seen, "first");
}

TEST(with_a_negative_delay_each_write_is_sent)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.then = write_look};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_loop_set_write_delay(loop, -1);
    write_queue(&call, talker, "now", fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(call.seen, "now");
}

TEST(the_environment_can_ask_for_each_write_to_be_sent)
{
    struct write_call call = {.then = write_look};
    int fds[2];

    CHECK_INT(setenv("KOLK_WRITE", "now", 1), 0);
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_queue(&call, talker, "now", fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(call.seen, "now");
}

static void
write_sleep_then_look(struct write_call *self)
{
    const struct timespec some = {.tv_nsec = 300000};

    (void)nanosleep(&some, NULL);
    write_look(self);
}

TEST_TIME(a_long_turn_does_not_hold_bytes_back)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call first = {.then = NULL},
                      second = {.then = write_sleep_then_look},
                      third = {.then = write_look};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_queue(&first, talker, "old", fds[1]);
    write_queue(&second, talker, NULL, fds[1]);
    write_queue(&third, talker, NULL, fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(third.seen, "old");
}

static void
write_flush(struct write_call *self)
{
    kolk_transport_flush(self->talker->transport);
    write_look(self);
}

TEST(flushing_sends_what_was_joined)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.then = write_flush};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_queue(&call, talker, "now", fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(call.seen, "now");
}

static void
write_ask_fileno(struct write_call *self)
{
    CHECK_OK(kolk_transport_fileno(self->talker->transport));
    write_look(self);
    CHECK_STR(self->seen, "joined");
    CHECK_OK(kolk_transport_write(self->talker->transport, "after", 5));
    write_look(self);
}

TEST(who_has_the_descriptor_sees_each_write)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.then = write_ask_fileno};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_queue(&call, talker, "joined", fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(call.seen, "afterd");
}

static void
write_run_nested(struct write_call *self)
{
    CHECK_OK(kolk_run_once(self->talker->loop));
}

TEST(a_nested_run_sends_what_was_written_before)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call outer = {.then = write_run_nested},
                      inner = {.then = write_look};
    int fds[2];

    kolk_loop_set_write_delay(loop, KOLK_S(10));
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_queue(&outer, talker, "before", fds[1]);
    write_queue(&inner, talker, NULL, fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(inner.seen, "before");
}

static void
write_break(struct write_call *self)
{
    kolk_loop_break(self->talker->loop);
}

TEST(a_run_that_is_broken_off_has_sent_what_was_written)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.then = write_break};
    int fds[2];

    kolk_loop_set_write_delay(loop, KOLK_S(10));
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_queue(&call, talker, "sent", fds[1]);
    CHECK_ERR(kolk_run_forever(loop), -EINTR);
    write_look(&call);
    CHECK_STR(call.seen, "sent");
}

static void
write_more_at_the_end(kolk_call *call)
{
    struct write_call *self = KOLK_CONTAINER_OF(call, struct write_call, call);

    CHECK_OK(kolk_transport_write(self->talker->transport, "late", 4));
}

TEST(what_is_written_at_the_end_of_a_turn_leaves_with_it)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.talker = talker};
    char got[8] = "";
    int fds[2];

    kolk_loop_set_write_delay(loop, KOLK_S(10));
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_call_init(&call.call, write_more_at_the_end, NULL);
    CHECK_OK(kolk_turn_end(loop, &call.call));
    talker_pass(talker, 1);
    CHECK_INT(read(fds[1], got, sizeof got), 4);
}

/* ---- writes that nothing would join ---- */

/* Writes once, as all that happens in it, in each of some turns: more than it
 * takes to be believed. */
static void
write_alone_for_long(struct talker *talker, int peer)
{
    struct write_call call = {.then = NULL};
    char got[64];

    for (int i = 0; i < 20; i++) {
        write_queue(&call, talker, "alone", peer);
        talker_pass(talker, 1);
        CHECK_INT(talker_take(peer, got, sizeof got), 5);
    }
}

TEST(a_write_that_is_alone_leaves_at_once_from_the_callers_memory)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.then = write_look};
    int fds[2];

    calls_begin();
    kolk_loop_set_write_delay(loop, KOLK_S(10));
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_alone_for_long(talker, fds[1]);
    calls_clear();
    write_queue(&call, talker, "at once", fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(call.seen, "at once");
    CHECK(calls.base == call.text || test_is_hard());
    CHECK(calls.writes == 1 || test_is_hard());
}

static void
write_second(struct write_call *self)
{
    write_look(self);
    CHECK_OK(kolk_transport_write(self->talker->transport, "body", 4));
}

TEST(two_writes_a_turn_are_joined_also_after_one_that_was_alone)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.then = write_second};
    char got[16] = "";
    int fds[2];

    calls_begin();
    kolk_loop_set_write_delay(loop, KOLK_S(10));
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_alone_for_long(talker, fds[1]);
    write_queue(&call, talker, "head ", fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(call.seen, "head "); /* nobody could know */
    CHECK_INT(talker_take(fds[1], got, sizeof got), 4);
    for (int i = 0; i < 20; i++) {
        memset(call.seen, 0, sizeof call.seen);
        calls_clear();
        write_queue(&call, talker, "head ", fds[1]);
        talker_pass(talker, 1);
        CHECK_STR(call.seen, "");
        CHECK_INT(talker_take(fds[1], got, sizeof got), 9);
        CHECK_STR(got, "head body");
        CHECK(calls.writes == 1 || test_is_hard());
    }
}

TEST(a_write_waits_for_those_of_others_that_are_ready)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *one = talker_new(loop), *other = talker_new(loop);
    struct write_call first = {.then = write_look}, second = first;
    int fds[2], more[2];

    kolk_loop_set_write_delay(loop, KOLK_S(10));
    test_socketpair(fds);
    test_socketpair(more);
    CHECK_OK(talker_open(one, fds[0], NULL));
    CHECK_OK(talker_open(other, more[0], NULL));
    write_alone_for_long(one, fds[1]);
    write_alone_for_long(other, more[1]);
    write_queue(&first, one, "first", fds[1]);
    write_queue(&second, other, "second", more[1]);
    talker_pass(one, 1);
    CHECK_STR(first.seen, "");
    CHECK_STR(second.seen, "");
    write_look(&first);
    write_look(&second);
    CHECK_STR(first.seen, "first");
    CHECK_STR(second.seen, "second");
}

TEST(what_the_kernel_refuses_of_a_write_that_is_alone_is_kept)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char text[] = "as it was", got[32] = "";
    struct write_call call = {.then = write_look};
    int fds[2];

    calls_begin();
    kolk_loop_set_write_delay(loop, KOLK_S(10));
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_alone_for_long(talker, fds[1]);
    calls.refusals = 1;
    write_queue(&call, talker, text, fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(call.seen, "");
    memset(text, 'x', sizeof text - 1);
    CHECK_OK(kolk_transport_write(talker->transport, ", and more", 10));
    talker->transport->in.desc->ready_out = true; /* the event's part */
    kolk_transport_flush(talker->transport);
    CHECK_INT(talker_take(fds[1], got, sizeof got), 19);
    CHECK_STR(got, "as it was, and more");
}

static void
write_to_nobody(struct write_call *self)
{
    CHECK_INT(close(self->peer), 0);
    CHECK_OK(kolk_transport_write(self->talker->transport, "lost", 4));
    CHECK_INT(self->talker->losses, 0);
}

TEST(a_failure_of_a_write_that_is_alone_is_told_later)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.then = write_to_nobody};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_alone_for_long(talker, fds[1]);
    write_queue(&call, talker, NULL, fds[1]);
    talker_pass(talker, 5);
    CHECK_INT(talker->losses, 1);
    CHECK_ERR(talker->error, -EPIPE);
}

static void
write_hurry(struct write_call *self)
{
    kolk_loop_set_write_delay(self->talker->loop, -1);
    write_look(self);
}

TEST(who_takes_the_delay_away_sends_what_was_joined)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.then = write_hurry};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_queue(&call, talker, "now", fds[1]);
    talker_pass(talker, 1);
    CHECK_STR(call.seen, "now");
}

/* ---- big writes ---- */

static char write_large[64 * 1024];

static void
write_big(struct write_call *self)
{
    CHECK_OK(kolk_transport_write(self->talker->transport, write_large, 20000));
    CHECK(calls.writes == 1 || test_is_hard());
    CHECK(calls.pieces == 2 || test_is_hard());
    CHECK(calls.base == write_large || test_is_hard());
    calls_clear();
}

TEST(a_big_write_leaves_at_once_from_the_callers_memory)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_call call = {.then = write_big};
    static char got[30000];
    int fds[2];

    calls_begin();
    memset(write_large, 'L', sizeof write_large);
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    write_queue(&call, talker, "head", fds[1]);
    talker_pass(talker, 1);
    CHECK_INT(talker_take(fds[1], got, sizeof got), 20004);
    CHECK(memcmp(got, "headLLLL", 8) == 0);
    CHECK(calls.writes == 0 || test_is_hard());
}

/* asyncio keeps a reference to a bytearray, and sends what is in it then. */
TEST(bytes_that_change_after_the_write_are_sent_as_they_were)
{
    static char sent[600000], got[sizeof sent];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    size_t size = 0;
    int fds[2];

    memset(sent, 'a', sizeof sent);
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, sent, sizeof sent));
    memset(sent, 'b', sizeof sent);
    CHECK_OK(kolk_transport_write(talker->transport, sent, 1));
    sent[0] = 'c';
    for (int i = 0; i < 100000 && size < sizeof sent + 1; i++) {
        if (size < sizeof sent) {
            size += talker_take(fds[1], got + size, sizeof got - size);
        } else {
            size += talker_take(fds[1], sent, 1);
        }
        talker_pass(talker, 1);
    }
    CHECK_INT(size, sizeof sent + 1);
    CHECK(memchr(got, 'b', sizeof got) == NULL);
    CHECK_INT(sent[0], 'b');
}

/* uvloop 0.23 cuts it without an error. */
TEST(one_write_of_more_than_two_gigabytes_is_sent_whole)
{
    const size_t most = 0x7ffff000, size = (1UL << 31) + 4096;
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    /* Pages that are never touched: the table takes them for the kernel. */
    void *memory = mmap(NULL, size, PROT_READ,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    calls_begin();
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    calls.most = most;
    int err = kolk_transport_write(talker->transport, memory, size);
    CHECK_INT(munmap(memory, size), 0);
    CHECK_OK(err);
    CHECK_INT(calls.writes, 2);
    CHECK_INT(calls.size, size - most);
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 0);
}

TEST(pieces_are_written_in_order_empty_ones_too)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char a[] = "one", b[] = "two";
    struct iovec pieces[] = {{a, 3}, {NULL, 0}, {b, 3}}, none = {NULL, 0};
    char got[16] = "";
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_writev(talker->transport, pieces, 3));
    CHECK_OK(kolk_transport_writev(talker->transport, &none, 1));
    CHECK_OK(kolk_transport_writev(talker->transport, NULL, 0));
    CHECK_OK(kolk_transport_write(talker->transport, NULL, 0));
    CHECK_ERR(kolk_transport_writev(talker->transport, pieces, -1), -EINVAL);
    CHECK_INT(read(fds[1], got, sizeof got), 6);
    CHECK_STR(got, "onetwo");
}

TEST(sizes_that_cannot_be_are_refused)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char byte = 'x';
    struct iovec pieces[] = {{&byte, SIZE_MAX}, {&byte, 2}};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_ERR(kolk_transport_writev(talker->transport, pieces, 2), -EINVAL);
    CHECK_ERR(kolk_transport_write(talker->transport, &byte, SIZE_MAX),
              -EINVAL);
    CHECK_INT(talker->losses, 0);
}

/* Writes in sizes of every kind to a reader that is slow. */
TEST(a_long_stream_of_writes_arrives_in_order)
{
    static char pattern[70000], got[70000];
    static const size_t sizes[] = {1,    7,     100,  3000, 4096, 5000,
                                   8191, 20000, 8192, 1,    70000};
    const size_t rounds = test_count(40);
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    size_t sent = 0, taken = 0;
    int fds[2];

    for (size_t i = 0; i < sizeof pattern; i++) {
        pattern[i] = (char)(i % 249);
    }
    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    for (size_t i = 0; i < rounds * 11; i++) {
        size_t size = sizes[i % 11], from = sent % 249;

        size = size < sizeof pattern - from ? size : sizeof pattern - from;
        CHECK_OK(kolk_transport_write(talker->transport, pattern + from, size));
        sent += size;
        if (i % 3 == 0) {
            talker_pass(talker, 1);
        }
    }
    for (int i = 0; i < 100000 && taken < sent; i++) {
        size_t size = talker_take(fds[1], got, 1 + taken % 60000);

        CHECK(memcmp(got, pattern + taken % 249, size) == 0);
        taken += size;
        talker_pass(talker, 1);
    }
    CHECK_INT(taken, sent);
}

/* ---- refused by the kernel ---- */

TEST(what_the_kernel_refuses_is_sent_when_there_is_room)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    static char sink[300000];
    char got[16] = "";
    int fds[2];

    test_socketpair(fds);
    (void)talker_fill(fds[0]);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, "patient", 7));
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 7);
    talker_pass(talker, 3);
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 7);
    for (int i = 0; i < 1000; i++) {
        size_t size = talker_take(fds[1], sink, sizeof sink);

        if (size >= 7) {
            memcpy(got, sink + size - 7, 7);
        }
        talker_pass(talker, 1);
    }
    CHECK_STR(got, "patient");
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 0);
}

static int write_mallocs; /* that may succeed */

static void *
write_malloc(size_t size)
{
    return write_mallocs-- > 0 ? calls.real.malloc(size) : NULL;
}

TEST(without_memory_nothing_is_written)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    static char sink[400000];
    int fds[2];

    test_socketpair(fds);
    size_t filled = talker_fill(fds[0]);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    calls_begin();
    kolk__sys.malloc = write_malloc;
    CHECK_ERR(kolk_transport_write(talker->transport, "lost", 4), -ENOMEM);
    CHECK_ERR(kolk_transport_write(talker->transport, write_large, 60000),
              -ENOMEM);
    write_mallocs = 1;
    CHECK_ERR(kolk_transport_write(talker->transport, write_large, 7000),
              -ENOMEM); /* two blocks, of which one is there */
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 0);
    kolk__sys.malloc = calls.real.malloc;
    CHECK_OK(kolk_transport_write(talker->transport, "kept", 4));
    size_t taken = 0;
    for (int i = 0; i < 1000 && taken < filled + 4; i++) {
        taken += talker_take(fds[1], sink, sizeof sink);
        talker_pass(talker, 1);
    }
    CHECK_INT(taken, filled + 4);
    CHECK_INT(talker->losses, 0);
}

/* A part has left, so the stream would have a hole. */
TEST(without_memory_for_the_rest_the_connection_is_lost)
{
    static char sent[1000000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    calls_begin();
    kolk__sys.malloc = write_malloc;
    write_mallocs = 0;
    CHECK_ERR(kolk_transport_write(talker->transport, sent, sizeof sent),
              -ENOMEM);
    kolk__sys.malloc = calls.real.malloc;
    CHECK_INT(talker_wait(talker), -ENOMEM);
}

/* ---- chunks ---- */

enum { WRITE_CHUNKS = 3 };

struct write_chunk {
    kolk_chunk chunk;
    int number;
    kolk_transport *transport;
    int again; /* how often it is written anew by its release */
};

static char write_order[32];

static void
write_released(kolk_chunk *chunk)
{
    struct write_chunk *self =
        KOLK_CONTAINER_OF(chunk, struct write_chunk, chunk);
    size_t length = strlen(write_order);

    if (length + 1 < sizeof write_order) {
        write_order[length] = (char)('0' + self->number);
    }
    if (self->again > 0) {
        self->again--;
        CHECK_OK(kolk_transport_write_chunk(self->transport, chunk));
    }
}

TEST(chunks_are_released_in_order_once_they_are_sent)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_chunk chunks[WRITE_CHUNKS];
    static char sink[400000];
    int fds[2];

    test_socketpair(fds);
    (void)talker_fill(fds[0]);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    for (int i = 0; i < WRITE_CHUNKS; i++) {
        chunks[i] = (struct write_chunk){
            .chunk = {.data = write_large,
                      .size = i == 1 ? 0 : 1000,
                      .released = write_released},
            .number = i,
        };
        CHECK_OK(
            kolk_transport_write_chunk(talker->transport, &chunks[i].chunk));
        CHECK_OK(kolk_transport_write(talker->transport, "-", 1));
    }
    CHECK_STR(write_order, "1"); /* nothing in it to wait for */
    for (int i = 0; i < 1000 && strlen(write_order) < 3; i++) {
        (void)talker_take(fds[1], sink, sizeof sink);
        talker_pass(talker, 1);
    }
    CHECK_STR(write_order, "102");
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 0);
}

TEST(a_release_may_write_again)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_chunk chunk = {
        .chunk = {.data = "tick", .size = 4, .released = write_released},
        .again = 5,
    };
    char got[64] = "";
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    chunk.transport = talker->transport;
    CHECK_OK(kolk_transport_write_chunk(talker->transport, &chunk.chunk));
    talker_pass(talker, 10);
    CHECK_INT(chunk.again, 0);
    CHECK_INT(read(fds[1], got, sizeof got), 24);
    CHECK_STR(write_order, "000000");
}

TEST(a_big_release_that_writes_again_does_not_recurse)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_chunk chunk = {
        .chunk = {.data = write_large,
                  .size = sizeof write_large,
                  .released = write_released},
        .again = 2000,
    };
    static char sink[400000];
    size_t taken = 0;
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    chunk.transport = talker->transport;
    CHECK_OK(kolk_transport_write_chunk(talker->transport, &chunk.chunk));
    for (int i = 0; i < 1000000 && chunk.again > 0; i++) {
        taken += talker_take(fds[1], sink, sizeof sink);
        talker_pass(talker, 1);
        if (kit_failures() > 0) {
            break;
        }
    }
    CHECK_INT(chunk.again, 0);
    CHECK(taken > 0);
    kolk_transport_abort(talker->transport);
}

TEST(writing_after_the_end_is_dropped_with_an_error)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct write_chunk chunk = {
        .chunk = {.data = "x", .size = 1, .released = write_released}};
    struct iovec piece = {write_large, 10};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_transport_abort(talker->transport);
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -ESHUTDOWN);
    CHECK_INT(talker_wait(talker), -ECANCELED);
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -ESHUTDOWN);
    CHECK_ERR(kolk_transport_writev(talker->transport, &piece, 1), -ESHUTDOWN);
    CHECK_ERR(kolk_transport_write_chunk(talker->transport, &chunk.chunk),
              -ESHUTDOWN);
    CHECK_ERR(kolk_transport_write_eof(talker->transport), -ESHUTDOWN);
    CHECK_STR(write_order, "");
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 0);
}

TEST(a_transport_that_only_reads_cannot_be_written)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_transport_options options = {.read_only = true};
    int fds[2];

    test_pipe(fds);
    CHECK_OK(talker_open(talker, fds[0], &options));
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -EPIPE);
    CHECK(!kolk_transport_can_write_eof(talker->transport));
    CHECK_ERR(kolk_transport_write_eof(talker->transport), -EOPNOTSUPP);
}
