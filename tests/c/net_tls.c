/* net_tls.c - TLS on a transport: beginning, the handshake, its end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "secure.h"

/* ---- beginning ---- */

TEST(data_goes_both_ways_after_a_handshake)
{
    for (int is_server = 0; is_server < 2; is_server++) {
        secure_done.calls = 0;
        struct secure *self = secure_new(test_loop_open(), is_server != 0);

        CHECK_OK(secure_write(self, "from here"));
        test_settle(self->loop);
        CHECK_STR(secure_heard(self), "from here");
        toy_peer_say(self->peer, "from there");
        test_settle(self->loop);
        CHECK_STR(self->talker->got, "from there");
        CHECK_STR(self->talker->trace, "hd");
        CHECK_PTR(kolk_transport_tls(self->talker->transport),
                  &self->toy->engine);
    }
}

TEST(what_was_written_before_leaves_in_plain_text)
{
    struct secure *self = secure_open(test_loop_open(), false);
    char bytes[64] = "";

    CHECK_OK(secure_write(self, "STARTTLS\n"));
    CHECK_OK(secure_start(self));
    CHECK_OK(secure_write(self, "secret"));
    test_settle(self->loop);
    CHECK_INT(recv(self->peer->fd, bytes, 9, 0), 9);
    CHECK_STR(bytes, "STARTTLS\n");
    toy_peer_shake(self->peer, self->loop);
    CHECK_STR(secure_heard(self), "secret");
}

TEST(what_is_written_meanwhile_waits_for_the_handshake)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(secure_start(self));
    CHECK_OK(secure_write(self, "one "));
    test_settle(self->loop);
    CHECK_OK(secure_write(self, "two"));
    CHECK_INT(kolk_transport_buffer_size(self->talker->transport), 7);
    CHECK_INT(toy_peer_receive(self->peer, 0), 0);
    toy_peer_shake(self->peer, self->loop);
    CHECK_STR(secure_heard(self), "one two");
    CHECK_INT(kolk_transport_buffer_size(self->talker->transport), 0);
}

/* What somebody has put behind the last line of plain text must not be taken
 * for a part of what is protected, nor the other way round. */
static void
injection_start(struct talker *talker, char event)
{
    if (event == 'd' && strchr(talker->got, '\n') != NULL
        && kolk_transport_tls(talker->transport) == NULL) {
        toy *engine = toy_new(true);
        const kolk_tls_start start = {.is_server = true, .done = secure_note};

        CHECK_OK(kolk_transport_start_tls(talker->transport, &engine->engine,
                                          &start));
    }
}

TEST(plain_text_before_the_handshake_is_never_taken_for_protected)
{
    struct secure *self = secure_open(test_loop_open(), true);
    static const char plain[] = "STARTTLS\ninjected";

    self->talker->on = injection_start;
    CHECK_INT(send(self->peer->fd, plain, sizeof plain - 1, 0),
              sizeof plain - 1);
    test_settle(self->loop);
    CHECK_STR(self->talker->got, plain); /* told as plain text, before */
    toy_peer_shake(self->peer, self->loop);
    toy_peer_say(self->peer, " and protected");
    test_settle(self->loop);
    CHECK_STR(self->talker->got, "STARTTLS\ninjected and protected");
    CHECK_STR(self->talker->trace, "dhd");
}

TEST(plain_text_in_place_of_a_handshake_is_told_to_nobody)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(secure_start(self));
    CHECK_INT(send(self->peer->fd, "injected", 8, 0), 8);
    test_settle(self->loop);
    CHECK_STR(self->talker->trace, ""); /* it could still become a record */
    CHECK_INT(shutdown(self->peer->fd, SHUT_WR), 0);
    CHECK_ERR(talker_wait(self->talker), -ECONNRESET);
    CHECK_STR(self->talker->trace, "hl");
    CHECK_STR(self->talker->got, "");
}

TEST(bytes_that_were_received_already_belong_to_the_handshake)
{
    for (size_t part = 1; part < 24; part += 3) {
        secure_done.calls = 0;
        struct secure *self = secure_open(test_loop_open(), true);
        toy *peer = self->peer->toy;
        char received[64];

        (void)!peer->engine.ops->handshake(&peer->engine);
        toy_put(peer, 'D', "early data", 10);
        part = part < peer->out_size ? part : peer->out_size;
        self->start.received_size =
            peer->engine.ops->output(&peer->engine, received, part);
        self->start.received = received;
        CHECK_OK(secure_start(self));
        memset(received, 0, sizeof received); /* it was the caller's */
        toy_peer_shake(self->peer, self->loop);
        test_settle(self->loop);
        CHECK_STR(self->talker->got, "early data");
        CHECK_STR(self->talker->trace, "hd");
    }
}

TEST(starting_can_be_refused)
{
    kolk_loop *loop = test_loop_open();
    const kolk_transport_options options = {.read_only = true};
    struct secure *self = secure_open(loop, true);
    struct talker *reader = talker_new(loop);
    int fds[2];

    CHECK_PTR(kolk_transport_tls(self->talker->transport), NULL);
    CHECK_PTR(kolk_transport_tls_error(self->talker->transport), NULL);
    CHECK_OK(secure_start(self));
    CHECK_ERR(secure_start(self), -EALREADY);
    test_pipe(fds);
    CHECK_OK(talker_open(reader, fds[0], &options));
    toy *engine = toy_new(true);
    int err =
        kolk_transport_start_tls(reader->transport, &engine->engine, NULL);
    engine->engine.ops->free(&engine->engine);
    kolk_transport_abort(reader->transport);
    CHECK_ERR(talker_wait(reader), -ECANCELED);
    CHECK_ERR(err, -EOPNOTSUPP);
    struct secure *ended = secure_open(loop, true);
    CHECK_OK(kolk_transport_write_eof(ended->talker->transport));
    CHECK_ERR(secure_start(ended), -EPIPE);
    kolk_transport_abort(ended->talker->transport);
    CHECK_ERR(secure_start(ended), -ESHUTDOWN);
}

TEST(without_options_nobody_is_told)
{
    struct secure *self = secure_open(test_loop_open(), false);

    self->toy = toy_new(false);
    CHECK_OK(kolk_transport_start_tls(self->talker->transport,
                                      &self->toy->engine, NULL));
    toy_peer_shake(self->peer, self->loop);
    CHECK_STR(self->talker->trace, "");
    toy_peer_say(self->peer, "x");
    test_settle(self->loop);
    CHECK_STR(self->talker->trace, "d");
}

/* ---- the handshake ---- */

TEST(a_handshake_byte_by_byte)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(secure_start(self));
    self->toy->rounds = self->peer->toy->rounds = 5;
    self->peer->step = 1;
    toy_peer_shake(self->peer, self->loop);
    while (self->peer->toy->out_size > 0 && secure_goes_on(self)) {
        (void)toy_peer_send(self->peer);
        test_settle(self->loop);
    }
    CHECK_STR(self->talker->trace, "h");
}

TEST(an_engine_may_take_less_than_it_is_fed)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(secure_start(self));
    self->toy->appetite = 8;
    self->toy->rounds = self->peer->toy->rounds = 3;
    toy_put(self->peer->toy, 'H', "hello", 5);
    toy_put(self->peer->toy, 'H', "hello", 5);
    toy_put(self->peer->toy, 'H', "hello", 5);
    toy_put(self->peer->toy, 'D', "abc", 3);
    toy_put(self->peer->toy, 'D', "def", 3);
    toy_put(self->peer->toy, 'C', "", 0);
    (void)toy_peer_send(self->peer);
    test_settle(self->loop);
    CHECK_STR(self->talker->got, "abcdef");
    CHECK_STR(self->talker->trace, "hdel");
}

TEST(a_pause_does_not_hold_a_handshake_up)
{
    struct secure *self = secure_open(test_loop_open(), true);

    kolk_transport_pause_reading(self->talker->transport);
    CHECK_OK(secure_start(self));
    toy_peer_shake(self->peer, self->loop);
    CHECK_STR(self->talker->trace, "h");
    toy_peer_say(self->peer, "later");
    test_settle(self->loop);
    CHECK_STR(self->talker->trace, "h");
    kolk_transport_resume_reading(self->talker->transport);
    test_settle(self->loop);
    CHECK_STR(self->talker->got, "later");
}

TEST(writing_can_be_paused_by_a_handshake)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(kolk_transport_set_write_limits(self->talker->transport, 10, 2));
    CHECK_OK(secure_start(self));
    CHECK_OK(secure_write(self, "more than ten"));
    CHECK_STR(self->talker->trace, "p");
    toy_peer_shake(self->peer, self->loop);
    CHECK_STR(self->talker->trace, "phr");
    CHECK_STR(secure_heard(self), "more than ten");
}

/* ---- failures ---- */

TEST(an_alert_reaches_the_protocol_as_the_engine_says_it)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(secure_start(self));
    toy_put(self->peer->toy, 'A', "", 0);
    (void)toy_peer_send(self->peer);
    CHECK_ERR(talker_wait(self->talker), TOY_ERROR);
    CHECK_INT(secure_done.result, TOY_ERROR);
    CHECK_STR(self->talker->trace, "hl");
    CHECK_PTR(kolk_transport_tls_error(self->talker->transport), toy_trouble);
    CHECK_PTR(kolk_transport_tls(self->talker->transport), &self->toy->engine);
}

TEST(an_alert_after_the_handshake_comes_after_all_data)
{
    struct secure *self = secure_new(test_loop_open(), true);

    toy_put(self->peer->toy, 'D', "data", 4);
    toy_put(self->peer->toy, 'A', "", 0);
    toy_put(self->peer->toy, 'D', "never", 5);
    (void)toy_peer_send(self->peer);
    CHECK_ERR(talker_wait(self->talker), TOY_ERROR);
    CHECK_STR(self->talker->got, "data");
    CHECK_STR(self->talker->trace, "hdl");
    CHECK_PTR(kolk_transport_tls_error(self->talker->transport), toy_trouble);
}

/* What the engine has to say to it is sent before the connection goes. */
TEST(the_peer_is_told_of_a_failure)
{
    for (int shaken = 0; shaken < 2; shaken++) {
        secure_done.calls = 0;
        struct secure *self = secure_open(test_loop_open(), true);

        CHECK_OK(secure_start(self));
        if (shaken > 0) {
            toy_peer_shake(self->peer, self->loop);
        }
        toy_put(self->peer->toy, 'x', "", 0);
        (void)toy_peer_send(self->peer);
        CHECK_ERR(talker_wait(self->talker), -KOLK_ETLS);
        CHECK_STR(secure_heard(self), "(alert)");
        CHECK_PTR(kolk_transport_tls_error(self->talker->transport), NULL);
    }
}

TEST(an_end_in_the_handshake_is_a_reset)
{
    struct secure *self = secure_open(test_loop_open(), false);

    CHECK_OK(secure_start(self));
    test_settle(self->loop);
    test_close(self->peer->fd);
    int err = talker_wait(self->talker);
    CHECK(err == -ECONNRESET || err == -EPIPE);
    CHECK_INT(secure_done.result, err);
    CHECK_STR(self->talker->trace, "hl");
}

TEST(an_abort_in_the_handshake_ends_it)
{
    struct secure *self = secure_open(test_loop_open(), false);

    CHECK_OK(secure_start(self));
    kolk_transport_abort(self->talker->transport);
    CHECK_INT(secure_done.calls, 0); /* not inside of the call */
    CHECK_ERR(talker_wait(self->talker), -ECANCELED);
    CHECK_INT(secure_done.result, -ECANCELED);
    CHECK_STR(self->talker->trace, "hl");
}

TEST(a_close_in_the_handshake_ends_it)
{
    struct secure *self = secure_open(test_loop_open(), false);

    CHECK_OK(secure_start(self));
    test_settle(self->loop);
    kolk_transport_close(self->talker->transport);
    CHECK_INT(talker_wait(self->talker), 0);
    CHECK_INT(secure_done.result, -ECANCELED);
    CHECK_STR(self->talker->trace, "hl");
}

TEST(a_close_in_the_handshake_sends_what_was_written)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(secure_start(self));
    CHECK_OK(secure_write(self, "to the end"));
    kolk_transport_close(self->talker->transport);
    toy_peer_shake(self->peer, self->loop);
    CHECK_STR(secure_heard(self), "to the end");
    CHECK_STR(secure_heard(self), "(end)");
    CHECK_INT(self->talker->losses, 0); /* it waits for the peer's */
    toy_put(self->peer->toy, 'C', "", 0);
    (void)toy_peer_send(self->peer);
    CHECK_INT(talker_wait(self->talker), 0);
    CHECK_STR(self->talker->trace, "hl");
    CHECK_INT(secure_done.result, 0);
}

TEST(closing_the_loop_ends_a_handshake)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(secure_start(self));
    test_settle(self->loop);
    test_loop_close(self->loop);
    CHECK_INT(secure_done.result, -ESHUTDOWN);
    CHECK_INT(self->talker->error, -ESHUTDOWN);
    CHECK_STR(self->talker->trace, "hl");
}

/* ---- what `done` may do ---- */

static void
done_closes(struct talker *talker, char event)
{
    if (event == 'h') {
        CHECK_OK(kolk_transport_write(talker->transport, "bye", 3));
        kolk_transport_close(talker->transport);
    }
}

static void
done_aborts(struct talker *talker, char event)
{
    if (event == 'h') {
        kolk_transport_abort(talker->transport);
    }
}

TEST(done_may_close)
{
    struct secure *self = secure_open(test_loop_open(), true);

    self->talker->on = done_closes;
    CHECK_OK(secure_start(self));
    toy_peer_shake(self->peer, self->loop);
    CHECK_STR(secure_heard(self), "bye");
    CHECK_STR(secure_heard(self), "(end)");
    toy_put(self->peer->toy, 'C', "", 0);
    (void)toy_peer_send(self->peer);
    CHECK_INT(talker_wait(self->talker), 0);
    CHECK_STR(self->talker->trace, "hl");
}

TEST(done_may_abort)
{
    struct secure *self = secure_open(test_loop_open(), true);

    self->talker->on = done_aborts;
    CHECK_OK(secure_start(self));
    (void)!self->peer->toy->engine.ops->handshake(&self->peer->toy->engine);
    toy_put(self->peer->toy, 'D', "unread", 6);
    (void)toy_peer_send(self->peer);
    CHECK_ERR(talker_wait(self->talker), -ECANCELED);
    CHECK_STR(self->talker->trace, "hl");
}

static struct talker *done_next;

static void
done_replaces(struct talker *talker, char event)
{
    if (event == 'h') {
        done_next->transport = kolk_transport_ref(talker->transport);
        kolk_transport_set_protocol(talker->transport, &done_next->protocol);
    }
}

TEST(done_may_set_another_protocol)
{
    struct secure *self = secure_open(test_loop_open(), true);

    done_next = talker_new(self->loop);
    self->talker->on = done_replaces;
    CHECK_OK(secure_start(self));
    (void)!self->peer->toy->engine.ops->handshake(&self->peer->toy->engine);
    toy_put(self->peer->toy, 'D', "for the next", 12);
    (void)toy_peer_send(self->peer);
    CHECK(talker_wait_size(done_next, 12));
    CHECK_STR(self->talker->trace, "h");
    kolk_transport_abort(done_next->transport);
    CHECK_ERR(talker_wait(done_next), -ECANCELED);
    CHECK_STR(done_next->trace, "dl");
    self->talker->losses = 1; /* the next one's */
}

/* ---- time ---- */

TEST(a_handshake_without_progress_times_out)
{
    struct secure *self = secure_open(test_loop_open(), true);

    CHECK_OK(secure_start(self));
    test_advance(self->loop, KOLK_S(59));
    CHECK_STR(self->talker->trace, "");
    test_advance(self->loop, KOLK_S(61));
    CHECK_STR(self->talker->trace, "hl");
    CHECK_INT(secure_done.result, -ETIMEDOUT);
    CHECK_INT(self->talker->error, -ETIMEDOUT);
}

TEST(a_handshake_with_progress_has_more_time)
{
    struct secure *self = secure_open(test_loop_open(), true);

    self->start.handshake_timeout = KOLK_S(1);
    CHECK_OK(secure_start(self));
    self->toy->rounds = self->peer->toy->rounds = 2;
    self->peer->step = 1;
    toy_put(self->peer->toy, 'H', "hello", 5);
    for (int i = 0; i < 8; i++) { /* the whole record in nine seconds */
        (void)toy_peer_send(self->peer);
        test_advance(self->loop, KOLK_MS(900) * (i + 1));
    }
    CHECK_STR(self->talker->trace, "");
    toy_put(self->peer->toy, 'H', "hello", 5);
    self->peer->step = 0;
    (void)toy_peer_send(self->peer);
    test_settle(self->loop);
    CHECK_STR(self->talker->trace, "h");
}

/* A byte now and then would keep it up for ever. */
TEST(a_handshake_that_creeps_ends)
{
    struct secure *self = secure_open(test_loop_open(), true);

    self->start.handshake_timeout = KOLK_S(1);
    CHECK_OK(secure_start(self));
    self->toy->rounds = 1000;
    self->peer->step = 1;
    for (int i = 0; i < 20; i++) {
        toy_put(self->peer->toy, 'H', "hello", 5);
    }
    for (int i = 1; i <= 20 && self->talker->losses == 0; i++) {
        (void)toy_peer_send(self->peer);
        test_advance(self->loop, KOLK_MS(900) * i);
    }
    CHECK_INT(secure_done.result, -ETIMEDOUT);
    CHECK_STR(self->talker->trace, "hl");
}

TEST(a_flood_in_place_of_a_handshake_is_bounded)
{
    struct secure *self = secure_open(test_loop_open(), true);
    size_t sent = 0;

    CHECK_OK(secure_start(self));
    self->toy->rounds = INT32_MAX;
    for (int i = 0; self->talker->losses == 0 && i < 100000; i++) {
        if (self->peer->toy->out_size == 0) {
            for (int j = 0; j < 100; j++) {
                toy_put(self->peer->toy, 'H', "hello", 5);
                sent += 8;
            }
        }
        (void)toy_peer_send(self->peer);
        (void)toy_peer_receive(self->peer, 0);
        toy_peer_forget(self->peer);
        test_settle(self->loop);
    }
    CHECK_INT(secure_done.result, -KOLK_ELIMIT);
    CHECK(sent < 2 << 20); /* the driver's limit is one of those */
}

TEST(the_timeout_of_a_handshake_ends_with_it)
{
    struct secure *self = secure_new(test_loop_open(), true);

    test_advance(self->loop, KOLK_S(1000));
    CHECK_STR(self->talker->trace, "h");
}

/* ---- memory ---- */

TEST(an_engine_goes_with_the_last_reference)
{
    struct secure *self = secure_new(test_loop_open(), true);
    int before = toy_count;

    kolk_transport_abort(self->talker->transport);
    CHECK_ERR(talker_wait(self->talker), -ECANCELED);
    CHECK_INT(toy_count, before);
    kolk_transport_unref(self->talker->transport);
    self->talker->transport = NULL;
    CHECK_INT(toy_count, before - 1);
}
