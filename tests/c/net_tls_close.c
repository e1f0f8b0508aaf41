/* net_tls_close.c - TLS on a transport: ends of streams, and closing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "secure.h"

enum { CLOSE_PATTERN = 251 };

static char close_data[1 << 20];

static const char *
close_pattern(void)
{
    for (size_t i = 0; i < sizeof close_data; i++) {
        close_data[i] = (char)(i % CLOSE_PATTERN);
    }
    return close_data;
}

/* Is what the talker has got the first `size` bytes of it? */
static bool
close_arrived(const struct talker *talker, size_t size)
{
    return talker->size == size && memcmp(talker->got, close_data, size) == 0;
}

static void
peer_close(struct secure *self)
{
    toy_put(self->peer->toy, 'C', "", 0);
    (void)toy_peer_send(self->peer);
}

/* ---- half of a connection ---- */

TEST(the_whole_answer_arrives_after_the_end_of_ones_own_stream)
{
    struct secure *self = secure_new(test_loop_open(), false);
    const size_t size = 200000;
    const char *answer = close_pattern();

    CHECK_OK(secure_write(self, "a question"));
    CHECK_OK(kolk_transport_write_eof(self->talker->transport));
    CHECK_ERR(secure_write(self, "more"), -EPIPE);
    test_settle(self->loop);
    CHECK_STR(secure_heard(self), "a question");
    CHECK_STR(secure_heard(self), "(end)");
    for (size_t sent = 0; (sent < size || self->peer->toy->out_size > 0)
                          && secure_goes_on(self);) {
        if (sent < size) {
            toy_put(self->peer->toy, 'D', answer + sent, 1000);
            sent += 1000;
        }
        (void)toy_peer_send(self->peer);
        test_settle(self->loop);
    }
    CHECK(close_arrived(self->talker, size));
    CHECK_STR(self->talker->trace, "hd");
    peer_close(self);
    CHECK_INT(talker_wait(self->talker), 0);
    CHECK_STR(self->talker->trace, "hdel");
}

TEST(the_end_of_a_stream_comes_behind_all_that_was_written)
{
    struct secure *self = secure_new(test_loop_open(), true);
    const size_t size = 300000;
    size_t taken = 0;
    char bytes[4096];
    int got;

    CHECK_OK(
        kolk_transport_write(self->talker->transport, close_pattern(), size));
    CHECK_OK(kolk_transport_write_eof(self->talker->transport));
    CHECK_OK(kolk_transport_write_eof(self->talker->transport));
    do {
        test_settle(self->loop);
        got = toy_peer_hear(self->peer, bytes, sizeof bytes);
        if (got > 0) {
            CHECK(memcmp(bytes, close_data + taken, (size_t)got) == 0);
            taken += (size_t)got;
        }
    } while (got != 0 && secure_goes_on(self));
    CHECK_INT(taken, size);
    CHECK_STR(self->talker->trace[1] == 'p' ? "p" : "", "p");
    CHECK_INT(self->talker->losses, 0);
}

TEST(an_end_in_the_handshake_comes_behind_what_was_written)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(secure_start(self));
    CHECK_OK(secure_write(self, "all"));
    CHECK_OK(kolk_transport_write_eof(self->talker->transport));
    toy_peer_shake(self->peer, self->loop);
    CHECK_STR(secure_heard(self), "all");
    CHECK_STR(secure_heard(self), "(end)");
    toy_peer_say(self->peer, "thanks");
    test_settle(self->loop);
    CHECK_STR(self->talker->got, "thanks");
}

TEST(one_side_goes_on_after_the_end_of_the_other)
{
    struct secure *self = secure_new(test_loop_open(), true);

    self->talker->keeps = true;
    toy_peer_say(self->peer, "question");
    peer_close(self);
    test_settle(self->loop);
    CHECK_STR(self->talker->trace, "hde");
    CHECK_OK(secure_write(self, "answer"));
    test_settle(self->loop);
    CHECK_STR(secure_heard(self), "answer");
    CHECK_OK(secure_write(self, " and more"));
    kolk_transport_close(self->talker->transport);
    CHECK_INT(talker_wait(self->talker), 0); /* the peer has closed already */
    CHECK_STR(secure_heard(self), " and more");
    CHECK_STR(secure_heard(self), "(end)");
}

TEST(the_end_of_the_other_closes_this_side_if_nobody_keeps_it)
{
    struct secure *self = secure_new(test_loop_open(), true);

    CHECK_OK(secure_write(self, "unasked"));
    peer_close(self);
    CHECK_INT(talker_wait(self->talker), 0);
    CHECK_STR(self->talker->trace, "hel");
    CHECK_STR(secure_heard(self), "unasked");
    CHECK_STR(secure_heard(self), "(end)");
}

/* ---- truncation ---- */

TEST(a_stream_that_is_cut_off_is_an_error_after_all_data)
{
    struct secure *self = secure_new(test_loop_open(), true);

    self->talker->keeps = true;
    toy_put(self->peer->toy, 'D', "all of it", 9);
    (void)toy_peer_send(self->peer);
    CHECK_OK(shutdown(self->peer->fd, SHUT_WR));
    CHECK_ERR(talker_wait(self->talker), -KOLK_ETRUNCATED);
    CHECK_STR(self->talker->got, "all of it");
    CHECK_STR(self->talker->trace, "hdl"); /* no end of the stream */
}

TEST(a_stream_that_is_cut_off_inside_of_a_record_is_an_error)
{
    struct secure *self = secure_new(test_loop_open(), true);

    toy_put(self->peer->toy, 'D', "whole", 5);
    toy_put(self->peer->toy, 'D', "half", 4);
    self->peer->toy->out_size -= 2;
    (void)toy_peer_send(self->peer);
    test_close(self->peer->fd);
    CHECK_ERR(talker_wait(self->talker), -KOLK_ETRUNCATED);
    CHECK_STR(self->talker->got, "whole");
}

static void
pause_at_data(struct talker *talker, char event)
{
    if (event == 'd') {
        kolk_transport_pause_reading(talker->transport);
    }
}

TEST(a_pause_keeps_back_what_comes_before_a_cut)
{
    struct secure *self = secure_new(test_loop_open(), true);

    self->talker->on = pause_at_data;
    toy_peer_say(self->peer, "one");
    test_settle(self->loop);
    toy_peer_say(self->peer, "two");
    test_close(self->peer->fd);
    test_settle(self->loop);
    CHECK_STR(self->talker->trace, "hd");
    CHECK_STR(self->talker->got, "one");
    kolk_transport_resume_reading(self->talker->transport);
    test_settle(self->loop);
    CHECK_STR(self->talker->got, "onetwo");
    kolk_transport_resume_reading(self->talker->transport);
    CHECK_ERR(talker_wait(self->talker), -KOLK_ETRUNCATED);
}

/* ---- closing ---- */

TEST(a_close_waits_for_the_other_sides)
{
    struct secure *self = secure_new(test_loop_open(), true);

    CHECK_OK(secure_write(self, "bye"));
    kolk_transport_close(self->talker->transport);
    kolk_transport_close(self->talker->transport);
    test_settle(self->loop);
    CHECK_STR(secure_heard(self), "bye");
    CHECK_STR(secure_heard(self), "(end)");
    toy_peer_say(self->peer, "too late");
    test_settle(self->loop);
    CHECK_STR(self->talker->trace, "h"); /* told to nobody */
    peer_close(self);
    CHECK_INT(talker_wait(self->talker), 0);
    CHECK_STR(self->talker->trace, "hl");
}

TEST(a_close_behind_the_end_of_ones_own_stream)
{
    struct secure *self = secure_new(test_loop_open(), true);

    CHECK_OK(kolk_transport_write_eof(self->talker->transport));
    test_settle(self->loop);
    CHECK_STR(secure_heard(self), "(end)");
    kolk_transport_close(self->talker->transport);
    test_settle(self->loop);
    CHECK_STR(self->talker->trace, "h");
    peer_close(self);
    CHECK_INT(talker_wait(self->talker), 0);
}

TEST(a_close_throws_away_what_was_not_read)
{
    struct secure *self = secure_new(test_loop_open(), true);

    kolk_transport_pause_reading(self->talker->transport);
    toy_peer_say(self->peer, "unread");
    peer_close(self);
    test_settle(self->loop);
    kolk_transport_close(self->talker->transport);
    CHECK_INT(talker_wait(self->talker), 0);
    CHECK_STR(self->talker->trace, "hl");
    CHECK_STR(secure_heard(self), "(end)");
}

static void
close_at_data(struct talker *talker, char event)
{
    if (event == 'd') {
        kolk_transport_close(talker->transport);
    }
}

TEST(a_close_from_inside_with_more_behind)
{
    struct secure *self = secure_new(test_loop_open(), true);

    self->talker->on = close_at_data;
    toy_put(self->peer->toy, 'D', "a", 1);
    toy_put(self->peer->toy, 'C', "", 0);
    (void)toy_peer_send(self->peer);
    CHECK_INT(talker_wait(self->talker), 0);
    CHECK_STR(self->talker->trace, "hdl");
    CHECK_STR(secure_heard(self), "(end)");
}

/* The time is about progress: each byte that leaves starts it anew. */
TEST(a_close_sends_everything_to_one_that_reads_slowly)
{
    struct secure *self = secure_new(test_loop_open(), true);
    const size_t size = 400000;
    size_t taken = 0;
    char bytes[65536];

    CHECK_OK(
        kolk_transport_write(self->talker->transport, close_pattern(), size));
    kolk_transport_close(self->talker->transport);
    for (int i = 1; !self->peer->toy->is_closed && secure_goes_on(self); i++) {
        test_advance(self->loop, i * KOLK_S(29));
        CHECK_INT(self->talker->losses, 0);
        (void)toy_peer_receive(self->peer, 40960);
        int got = self->peer->toy->engine.ops->read(&self->peer->toy->engine,
                                                    bytes, sizeof bytes);
        while (got > 0) {
            CHECK(memcmp(bytes, close_data + taken, (size_t)got) == 0);
            taken += (size_t)got;
            got = self->peer->toy->engine.ops->read(&self->peer->toy->engine,
                                                    bytes, sizeof bytes);
        }
    }
    CHECK_INT(taken, size);
    CHECK(kolk_now(self->loop) > 8 * KOLK_S(30));
    peer_close(self);
    CHECK_INT(talker_wait(self->talker), 0);
}

TEST(a_close_to_one_that_does_not_read_times_out)
{
    struct secure *self = secure_new(test_loop_open(), true);

    CHECK_OK(kolk_transport_write(self->talker->transport, close_pattern(),
                                  sizeof close_data));
    kolk_transport_close(self->talker->transport);
    test_advance(self->loop, KOLK_S(29));
    CHECK_INT(self->talker->losses, 0);
    CHECK_ERR(talker_wait(self->talker), -ETIMEDOUT);
    CHECK(kolk_now(self->loop) <= KOLK_S(61));
}

TEST(a_close_to_one_that_says_nothing_times_out)
{
    struct secure *self = secure_open(test_loop_open(), true);

    self->start.shutdown_timeout = KOLK_S(5);
    CHECK_OK(secure_start(self));
    toy_peer_shake(self->peer, self->loop);
    CHECK_OK(secure_write(self, "hello?"));
    kolk_transport_close(self->talker->transport);
    test_settle(self->loop);
    CHECK_STR(secure_heard(self), "hello?");
    test_advance(self->loop, KOLK_S(4));
    CHECK_INT(self->talker->losses, 0);
    CHECK_ERR(talker_wait(self->talker), -ETIMEDOUT);
    CHECK(kolk_now(self->loop) <= KOLK_S(11));
    CHECK_STR(secure_heard(self), "(end)"); /* that had been said */
}

/* What a peer sends is no progress, and not taken without end. */
TEST(a_close_against_a_flood_is_bounded_in_bytes)
{
    struct secure *self = secure_open(test_loop_open(), true);
    size_t flooded = 0;

    self->start.shutdown_limit = 50000;
    CHECK_OK(secure_start(self));
    toy_peer_shake(self->peer, self->loop);
    CHECK_OK(kolk_transport_write(self->talker->transport, close_pattern(),
                                  sizeof close_data));
    kolk_transport_close(self->talker->transport);
    for (int i = 0; self->talker->losses == 0 && i < 100000; i++) {
        if (self->peer->toy->out_size == 0) {
            toy_put(self->peer->toy, 'D', close_data, 1000);
            flooded += 1000;
        }
        (void)toy_peer_send(self->peer);
        test_settle(self->loop);
    }
    CHECK_INT(self->talker->error, -KOLK_ELIMIT);
    CHECK(flooded >= 49000 && flooded < 80000);
    CHECK_STR(self->talker->trace, "hpl");
}

TEST(a_close_against_a_trickle_is_bounded_in_time)
{
    struct secure *self = secure_new(test_loop_open(), true);

    kolk_transport_close(self->talker->transport);
    (void)secure_heard(self);
    for (int i = 1; i < 100 && self->talker->losses == 0; i++) {
        toy_peer_say(self->peer, "x");
        test_advance(self->loop, i * KOLK_S(1));
    }
    CHECK_INT(self->talker->error, -ETIMEDOUT);
    CHECK(kolk_now(self->loop) <= KOLK_S(62));
}

/* One that goes without a word has still got everything. */
TEST(an_end_of_the_wire_is_good_enough_while_closing)
{
    struct secure *self = secure_new(test_loop_open(), true);
    const size_t size = 100000;
    size_t taken = 0;
    char bytes[4096];
    int got = 1;

    CHECK_OK(
        kolk_transport_write(self->talker->transport, close_pattern(), size));
    kolk_transport_close(self->talker->transport);
    CHECK_OK(shutdown(self->peer->fd, SHUT_WR));
    for (int i = 0; got != 0 && i < 100000; i++) {
        test_settle(self->loop);
        got = toy_peer_hear(self->peer, bytes, sizeof bytes);
        taken += got > 0 ? (size_t)got : 0;
    }
    CHECK_INT(taken, size);
    CHECK_INT(talker_wait(self->talker), 0);
}

TEST(a_reset_while_closing_is_told)
{
    struct secure *self = secure_new(test_loop_open(), true);

    CHECK_OK(kolk_transport_write(self->talker->transport, close_pattern(),
                                  sizeof close_data));
    kolk_transport_close(self->talker->transport);
    test_settle(self->loop);
    test_close(self->peer->fd);
    int err = talker_wait(self->talker);
    CHECK(err == -EPIPE || err == -ECONNRESET);
    CHECK_STR(self->talker->trace, "hpl");
}

TEST(a_failure_of_the_engine_while_closing_is_told)
{
    struct secure *self = secure_new(test_loop_open(), true);

    kolk_transport_close(self->talker->transport);
    toy_put(self->peer->toy, 'A', "", 0);
    (void)toy_peer_send(self->peer);
    CHECK_ERR(talker_wait(self->talker), TOY_ERROR);
    CHECK_PTR(kolk_transport_tls_error(self->talker->transport), toy_trouble);
}

TEST(an_abort_cuts_a_close_short)
{
    struct secure *self = secure_new(test_loop_open(), true);

    CHECK_OK(kolk_transport_write(self->talker->transport, close_pattern(),
                                  sizeof close_data));
    kolk_transport_close(self->talker->transport);
    test_settle(self->loop);
    kolk_transport_abort(self->talker->transport);
    CHECK_ERR(talker_wait(self->talker), -ECANCELED);
    CHECK_STR(self->talker->trace, "hpl");
}

TEST(an_abort_says_nothing_to_the_peer)
{
    struct secure *self = secure_new(test_loop_open(), true);

    kolk_transport_abort(self->talker->transport);
    CHECK_ERR(talker_wait(self->talker), -ECANCELED);
    CHECK_STR(secure_heard(self), "(cut)");
}

TEST(closing_the_loop_ends_a_close)
{
    struct secure *self = secure_new(test_loop_open(), true);

    CHECK_OK(kolk_transport_write(self->talker->transport, close_pattern(),
                                  sizeof close_data));
    kolk_transport_close(self->talker->transport);
    test_settle(self->loop);
    test_loop_close(self->loop);
    CHECK_INT(self->talker->error, -ESHUTDOWN);
    CHECK_STR(self->talker->trace, "hpl");
}

TEST(closing_the_loop_ends_a_connection)
{
    struct secure *self = secure_new(test_loop_open(), true);

    CHECK_OK(secure_write(self, "x"));
    test_loop_close(self->loop);
    CHECK_INT(self->talker->error, -ESHUTDOWN);
    CHECK_STR(self->talker->trace, "hl");
}
