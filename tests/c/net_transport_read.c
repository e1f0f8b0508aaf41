/* net_transport_read.c - what comes is told: pushed, or pulled.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"

#include "calls.h"

/* ---- pushed ---- */

/* Hangs with who takes a short read for the end of what is there: then there
 * is one event, and no other. */
static void
read_before_the_wait(kolk_loop *loop, int fds[2])
{
    struct talker *talker = talker_new(loop);

    CHECK_INT(write(fds[1], "all of it", 9), 9);
    CHECK_INT(shutdown(fds[1], SHUT_WR), 0);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->got, "all of it");
    CHECK_STR(talker->trace, "del");
}

TEST(data_and_the_end_that_come_before_the_wait)
{
    kolk_loop *loop = test_real_loop_open();
    int fds[2];

    test_socketpair(fds);
    read_before_the_wait(loop, fds);
    talker_tcp_pair(fds);
    read_before_the_wait(loop, fds);
}

TEST(data_and_the_end_that_come_while_it_waits)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    talker_pass(talker, 3);
    CHECK_INT(write(fds[1], "all of it", 9), 9);
    test_close(fds[1]);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->got, "all of it");
    CHECK_STR(talker->trace, "del");
}

TEST(a_message_costs_one_receive)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    calls_begin();
    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    talker_pass(talker, 3);
    CHECK_INT(calls.reads, 0);
    for (size_t i = 1; i <= 10; i++) {
        CHECK_INT(write(fds[1], "message", 7), 7);
        CHECK(talker_wait_size(talker, 7 * i));
    }
    CHECK(calls.reads <= 10 || test_is_hard());
}

TEST(a_long_stream_arrives_whole)
{
    static char sent[200000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    size_t size = 0;
    int fds[2];

    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = (char)(i % 251);
    }
    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    while (size < sizeof sent && kit_failures() == 0) {
        ssize_t n = write(fds[1], sent + size, sizeof sent - size);

        size += n > 0 ? (size_t)n : 0;
        talker_pass(talker, 1);
    }
    CHECK(talker_wait_size(talker, sizeof sent));
    CHECK(memcmp(talker->got, sent, sizeof sent) == 0);
}

TEST(a_flood_does_not_keep_the_others_waiting)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *flooded = talker_new(loop), *other = talker_new(loop);
    int fds[2], others[2];
    int size = 1 << 22;

    test_socketpair(fds);
    test_socketpair(others);
    (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    CHECK_OK(talker_open(flooded, fds[0], NULL));
    CHECK_OK(talker_open(other, others[0], NULL));
    size_t filled = talker_fill(fds[1]);
    CHECK_INT(write(others[1], "x", 1), 1);
    for (int i = 0; i < 3 && other->size == 0; i++) {
        talker_pass(other, 1);
        filled += talker_fill(fds[1]);
    }
    CHECK_INT(other->size, 1);
    CHECK(talker_wait_size(flooded, filled));
    CHECK_INT(flooded->size, filled);
}

/* ---- pausing ---- */

TEST(nothing_is_told_while_reading_is_paused)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK(kolk_transport_is_reading(talker->transport));
    kolk_transport_pause_reading(talker->transport);
    kolk_transport_pause_reading(talker->transport);
    CHECK(!kolk_transport_is_reading(talker->transport));
    CHECK_INT(write(fds[1], "kept", 4), 4);
    CHECK_INT(shutdown(fds[1], SHUT_WR), 0);
    talker_pass(talker, 5);
    CHECK_STR(talker->trace, "");
    kolk_transport_resume_reading(talker->transport);
    kolk_transport_resume_reading(talker->transport);
    CHECK_STR(talker->trace, ""); /* told by the loop */
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->got, "kept");
    CHECK_STR(talker->trace, "del");
}

TEST(a_transport_may_begin_paused)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_transport_options options = {.paused = true};
    int fds[2];

    test_socketpair(fds);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_OK(talker_open(talker, fds[0], &options));
    CHECK(!kolk_transport_is_reading(talker->transport));
    talker_pass(talker, 5);
    CHECK_STR(talker->trace, "");
    kolk_transport_resume_reading(talker->transport);
    CHECK(talker_wait_size(talker, 1));
}

static void
read_pause(struct talker *talker, char event)
{
    if (event == 'd') {
        kolk_transport_pause_reading(talker->transport);
    }
}

TEST(a_pause_from_within_data_received_holds)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int size = 1 << 22, pauses = 0;
    int fds[2];

    test_socketpair(fds);
    (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    talker->on = read_pause;
    CHECK_OK(talker_open(talker, fds[0], NULL));
    size_t filled = talker_fill(fds[1]);
    while (talker->size < filled && pauses < 10000 && talker->losses == 0
           && kit_failures() == 0) {
        size_t before = talker->size;

        talker_pass(talker, 1);
        size_t after = talker->size;
        talker_pass(talker, 1);
        CHECK_INT(talker->size, after);
        if (after > before) {
            pauses++;
            kolk_transport_resume_reading(talker->transport);
        }
    }
    CHECK_INT(talker->size, filled);
    CHECK_INT(shutdown(fds[1], SHUT_WR), 0);
    talker_pass(talker, 3);
    CHECK(strchr(talker->trace, 'e') != NULL || pauses == 0);
}

/* ---- buffers of the protocol's ---- */

static struct {
    char memory[16];
    int asked;
    size_t size; /* that get_buffer returns */
    bool closes;
} own;

static size_t
read_get_buffer(kolk_protocol *protocol, kolk_transport *transport, size_t hint,
                void **buffer)
{
    (void)protocol;
    CHECK(hint > 0);
    own.asked++;
    *buffer = own.memory;
    if (own.closes) {
        kolk_transport_close(transport);
    }
    return own.size;
}

static void
read_own_data(kolk_protocol *protocol, kolk_transport *transport,
              const void *data, size_t size)
{
    if (own.size > 0) {
        CHECK_PTR(data, own.memory);
        CHECK(size <= own.size);
    }
    talker_data(protocol, transport, data, size);
}

static const kolk_protocol_ops own_ops = {
    .get_buffer = read_get_buffer,
    .data_received = read_own_data,
    .eof_received = talker_eof,
    .connection_lost = talker_lost,
};

TEST(bytes_come_into_the_protocols_buffer)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    own.size = 4;
    talker->protocol.ops = &own_ops;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "0123456789", 10), 10);
    CHECK(talker_wait_size(talker, 10));
    CHECK_STR(talker->got, "0123456789");
    own.size = 0; /* the loop's own, then */
    CHECK_INT(write(fds[1], "abc", 3), 3);
    CHECK(talker_wait_size(talker, 13));
    CHECK_STR(talker->got, "0123456789abc");
}

TEST(a_protocol_may_close_when_it_is_asked_for_a_buffer)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    own.closes = true;
    own.size = 4;
    talker->protocol.ops = &own_ops;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->trace, "l");
}

static void
read_nested(struct talker *talker, char event)
{
    static char text[8];

    if (event == 'd' && talker->size == 5) {
        /* `got` has its copy; what matters is that this one stays. */
        memcpy(text, talker->got, 5);
        CHECK_INT(write((int)talker->wanted, "other", 5), 5);
        talker_pass(talker, 4);
        CHECK(talker->size == 5);
    }
}

static const void *nested_data;

static void
read_nested_data(kolk_protocol *protocol, kolk_transport *transport,
                 const void *data, size_t size)
{
    talker_data(protocol, transport, data, size);
    CHECK(size != 5 || memcmp(data, "outer", 5) == 0
          || nested_data == NULL); /* also after the nested run */
}

TEST(what_was_read_stays_while_the_loop_runs_nested)
{
    static const kolk_protocol_ops ops = {
        .data_received = read_nested_data,
        .connection_lost = talker_lost,
    };
    kolk_loop *loop = test_real_loop_open();
    struct talker *outer = talker_new(loop), *inner = talker_new(loop);
    int fds[2], others[2];

    nested_data = fds;
    test_socketpair(fds);
    test_socketpair(others);
    outer->protocol.ops = &ops;
    outer->on = read_nested;
    outer->wanted = (size_t)others[1];
    CHECK_OK(talker_open(outer, fds[0], NULL));
    CHECK_OK(talker_open(inner, others[0], NULL));
    CHECK_INT(write(fds[1], "outer", 5), 5);
    for (int i = 0; i < 100 && inner->size < 5; i++) {
        talker_pass(inner, 1);
    }
    CHECK_STR(outer->got, "outer");
    CHECK_STR(inner->got, "other");
}

static void *
read_no_large_memory(size_t size)
{
    return size > 100000 ? NULL : calls.real.malloc(size);
}

TEST(reading_goes_on_without_memory_for_the_buffer)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    static char sent[20000];
    int fds[2];

    calls_begin();
    kolk__sys.malloc = read_no_large_memory;
    memset(sent, 'm', sizeof sent);
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], sent, sizeof sent), sizeof sent);
    CHECK(talker_wait_size(talker, sizeof sent));
    CHECK(memcmp(talker->got, sent, sizeof sent) == 0);
}

/* ---- the end ---- */

TEST(a_protocol_may_go_on_writing_after_the_end)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[8] = "";
    int fds[2];

    test_socketpair(fds);
    talker->keeps = true;
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(shutdown(fds[1], SHUT_WR), 0);
    CHECK(talker_wait_event(talker, 'e'));
    CHECK(!kolk_transport_is_reading(talker->transport));
    CHECK(!kolk_transport_is_closing(talker->transport));
    talker_pass(talker, 3);
    CHECK_OK(kolk_transport_write(talker->transport, "answer", 6));
    CHECK_INT(read(fds[1], got, sizeof got), 6);
    CHECK_STR(got, "answer");
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->trace, "el");
}

static const kolk_protocol_ops read_least_ops = {
    .data_received = talker_data,
    .connection_lost = talker_lost,
};

TEST(without_a_word_on_the_end_the_transport_closes)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    talker->protocol.ops = &read_least_ops;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    test_close(fds[1]);
    CHECK_INT(talker_wait(talker), 0);
}

TEST(the_end_of_the_stream_waits_for_what_is_to_be_sent)
{
    static char sent[500000], got[sizeof sent];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    size_t size = 0;
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, sent, sizeof sent));
    CHECK_INT(shutdown(fds[1], SHUT_WR), 0);
    while (talker->losses == 0 && kit_failures() == 0) {
        size += talker_take(fds[1], got + size, sizeof got - size);
        talker_pass(talker, 1);
    }
    size += talker_take(fds[1], got + size, sizeof got - size);
    CHECK_INT(size, sizeof sent);
    CHECK_INT(talker->error, 0);
}

/* ---- another protocol ---- */

static struct talker *read_heir;

static void
read_hand_over(struct talker *talker, char event)
{
    if (event == 'd') {
        talker_hand_over(talker, read_heir);
    }
}

TEST(a_new_protocol_hears_what_comes_next)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    read_heir = talker_new(loop);
    talker->on = read_hand_over;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "first", 5), 5);
    CHECK(talker_wait_size(talker, 5));
    CHECK_PTR(kolk_transport_protocol(talker->transport), &read_heir->protocol);
    CHECK_INT(write(fds[1], "second", 6), 6);
    CHECK(talker_wait_size(read_heir, 6));
    test_close(fds[1]);
    CHECK_INT(talker_wait(read_heir), 0);
    CHECK_STR(talker->trace, "d");
    CHECK_STR(read_heir->trace, "del");
}

/* ---- pulled ---- */

static void
read_readable(kolk_protocol *protocol, kolk_transport *transport)
{
    (void)transport;
    talker_note(talker_of(protocol), 'a');
}

static const kolk_protocol_ops pull_ops = {
    .readable = read_readable,
    .connection_lost = talker_lost,
};

TEST(readable_is_told_once_until_nothing_is_left)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[16] = "";
    int fds[2];

    talker->protocol.ops = &pull_ops;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    talker_pass(talker, 3);
    CHECK_STR(talker->trace, "");
    CHECK_INT(write(fds[1], "one", 3), 3);
    CHECK(talker_wait_event(talker, 'a'));
    CHECK_INT(write(fds[1], "two", 3), 3);
    talker_pass(talker, 3);
    CHECK_STR(talker->trace, "a");
    CHECK_INT(kolk_transport_try_read(talker->transport, got, 4), 4);
    CHECK_INT(kolk_transport_try_read(talker->transport, got + 4, 4), 2);
    CHECK_STR(got, "onetwo");
    CHECK_ERR(kolk_transport_try_read(talker->transport, got, 4), -EAGAIN);
    CHECK_ERR(kolk_transport_try_read(talker->transport, got, 4), -EAGAIN);
    talker_pass(talker, 3);
    CHECK_STR(talker->trace, "a");
    CHECK_INT(write(fds[1], "three", 5), 5);
    talker_pass(talker, 3);
    CHECK_STR(talker->trace, "aa");
}

TEST(the_end_and_data_before_it_are_pulled_in_order)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[16] = "";
    int fds[2];

    talker->protocol.ops = &pull_ops;
    test_socketpair(fds);
    CHECK_INT(write(fds[1], "last", 4), 4);
    test_close(fds[1]);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK(talker_wait_event(talker, 'a'));
    CHECK_INT(kolk_transport_try_read(talker->transport, got, sizeof got), 4);
    CHECK_INT(kolk_transport_try_read(talker->transport, got, sizeof got), 0);
    CHECK_INT(kolk_transport_try_read(talker->transport, got, sizeof got), 0);
    talker_pass(talker, 3);
    CHECK_INT(talker->losses, 0); /* who pulls says when it is over */
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_INT(kolk_transport_try_read(talker->transport, got, sizeof got), 0);
}

TEST(pulling_after_closing_is_an_error)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char byte;
    int fds[2];

    talker->protocol.ops = &pull_ops;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "x", 1), 1);
    kolk_transport_close(talker->transport);
    CHECK_ERR(kolk_transport_try_read(talker->transport, &byte, 1), -ESHUTDOWN);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_ERR(kolk_transport_try_read(talker->transport, &byte, 1), -ESHUTDOWN);
    CHECK_STR(talker->trace, "l");
}

TEST(an_abort_is_what_pulling_says_then)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char byte;
    int fds[2];

    talker->protocol.ops = &pull_ops;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_transport_abort(talker->transport);
    CHECK_ERR(kolk_transport_try_read(talker->transport, &byte, 1), -ECANCELED);
    CHECK_INT(talker_wait(talker), -ECANCELED);
    CHECK_ERR(kolk_transport_try_read(talker->transport, &byte, 1), -ECANCELED);
}

TEST(pausing_holds_back_readable_too)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[16];
    int fds[2];

    talker->protocol.ops = &pull_ops;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_transport_pause_reading(talker->transport);
    CHECK_INT(write(fds[1], "x", 1), 1);
    talker_pass(talker, 3);
    CHECK_STR(talker->trace, "");
    kolk_transport_resume_reading(talker->transport);
    talker_pass(talker, 3);
    CHECK_STR(talker->trace, "a");
    CHECK_INT(kolk_transport_try_read(talker->transport, got, sizeof got), 1);
}

TEST(what_is_known_not_to_be_there_costs_no_call)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[16];
    int fds[2];

    calls_begin();
    talker->protocol.ops = &pull_ops;
    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK(talker_wait_event(talker, 'a'));
    calls_clear();
    CHECK_INT(kolk_transport_try_read(talker->transport, got, sizeof got), 1);
    CHECK_ERR(kolk_transport_try_read(talker->transport, got, sizeof got),
              -EAGAIN);
    CHECK(calls.reads == 1 || test_is_hard());
}

TEST(a_protocol_that_pushes_takes_over_from_one_that_pulls)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop), *heir = talker_new(loop);
    int fds[2];

    talker->protocol.ops = &pull_ops;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "kept", 4), 4);
    CHECK(talker_wait_event(talker, 'a'));
    talker_hand_over(talker, heir);
    CHECK(talker_wait_size(heir, 4));
    kolk_transport_abort(talker->transport);
    CHECK_INT(talker_wait(heir), -ECANCELED);
}
