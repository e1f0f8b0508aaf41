/* net_transport_error.c - connections that break: what came is told first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"

#include <signal.h>

/* The peer answers, and closes before it has read everything: the next write
 * fails, while the answer waits to be read. Every loop loses it. */
static void
error_write_first(kolk_loop *loop, int fds[2], bool paused, bool pulls)
{
    static const kolk_protocol_ops pull = {.connection_lost = talker_lost};
    kolk_transport_options options = {.paused = paused};
    struct talker *talker = talker_new(loop);

    if (pulls) {
        talker->protocol.ops = &pull;
    }
    CHECK_OK(talker_open(talker, fds[0], &options));
    talker_pass(talker, 3);
    CHECK_OK(kolk_transport_write(talker->transport, "request", 7));
    CHECK_INT(write(fds[1], "refused", 7), 7);
    test_close(fds[1]); /* with the request unread: a reset */
    int err = 0;
    for (int i = 0; i < 50 && err == 0; i++) { /* until one fails */
        err = kolk_transport_write(talker->transport, "more", 4);
    }
    CHECK_ERR(err, -ESHUTDOWN);
    CHECK_INT(talker->losses, 0); /* never inside of a call */
    if (pulls) {
        char got[16] = "";

        talker_pass(talker, 3);
        CHECK_INT(talker->losses, 0);
        CHECK_INT(kolk_transport_try_read(talker->transport, got, sizeof got),
                  7);
        CHECK_STR(got, "refused");
        err = kolk_transport_try_read(talker->transport, got, sizeof got);
        CHECK(err == -EPIPE || err == -ECONNRESET);
        CHECK_INT(talker_wait(talker), err);
        CHECK_INT(kolk_transport_try_read(talker->transport, got, sizeof got),
                  err);
        return;
    }
    err = talker_wait(talker);
    CHECK(err == -EPIPE || err == -ECONNRESET);
    CHECK_STR(talker->got, "refused");
    CHECK_STR(talker->trace, "dl");
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -ESHUTDOWN);
}

TEST(data_that_came_is_told_although_a_write_failed_first)
{
    kolk_loop *loop = test_real_loop_open();
    int fds[2];

    talker_tcp_pair(fds);
    error_write_first(loop, fds, false, false);
    test_socketpair(fds);
    error_write_first(loop, fds, false, false);
}

/* Else who waits to be allowed to write would wait for ever. */
TEST(a_pause_does_not_keep_back_what_comes_before_a_failure)
{
    kolk_loop *loop = test_real_loop_open();
    int fds[2];

    talker_tcp_pair(fds);
    error_write_first(loop, fds, true, false);
    test_socketpair(fds);
    error_write_first(loop, fds, true, false);
}

TEST(data_can_be_pulled_although_a_write_failed_first)
{
    kolk_loop *loop = test_real_loop_open();
    int fds[2];

    talker_tcp_pair(fds);
    error_write_first(loop, fds, false, true);
    test_socketpair(fds);
    error_write_first(loop, fds, false, true);
}

TEST(data_before_a_reset_is_told_first)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "last words", 10), 10);
    talker_reset(fds[1]);
    CHECK_INT(talker_wait(talker), -ECONNRESET);
    CHECK_STR(talker->got, "last words");
    CHECK_STR(talker->trace, "dl");
}

TEST(a_reset_while_it_waits_is_told)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    talker_pass(talker, 3);
    talker_reset(fds[1]);
    CHECK_INT(talker_wait(talker), -ECONNRESET);
    CHECK_STR(talker->trace, "l");
}

static int error_releases;

static void
error_released(kolk_chunk *chunk)
{
    (void)chunk;
    error_releases++;
}

TEST(a_reset_releases_what_waits_to_be_sent)
{
    static char sent[8000000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_chunk chunk = {
        .data = sent, .size = sizeof sent, .released = error_released};
    int fds[2];

    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write_chunk(talker->transport, &chunk));
    CHECK_INT(error_releases, 0);
    talker_reset(fds[1]);
    int err = talker_wait(talker);
    CHECK(err == -ECONNRESET || err == -EPIPE);
    CHECK_INT(error_releases, 1);
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 0);
}

/* uvloop #506: a RuntimeError instead of nothing. */
TEST(writing_after_a_reset_is_dropped)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    test_socketpair(fds);
    talker->keeps = true;
    CHECK_OK(talker_open(talker, fds[0], NULL));
    test_close(fds[1]);
    CHECK(talker_wait_event(talker, 'e'));
    CHECK_OK(kolk_transport_write(talker->transport, "x", 1));
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -ESHUTDOWN);
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -ESHUTDOWN);
    CHECK_INT(talker_wait(talker), -EPIPE);
}

static volatile sig_atomic_t error_signals;

static void
error_on_signal(int number)
{
    (void)number;
    error_signals++;
}

/* With a handler for SIGPIPE, which `is_pending` or not. */
static void
error_write_to_nobody(kolk_loop *loop, int fds[2], bool is_pending)
{
    struct talker *talker = talker_new(loop);
    struct sigaction action = {.sa_handler = error_on_signal};
    kolk_transport_options options = {.write_only = true};

    CHECK_INT(sigaction(SIGPIPE, &action, NULL), 0);
    if (is_pending) {
        CHECK_INT(raise(SIGPIPE), 0);
    }
    CHECK_OK(talker_open(talker, fds[1], &options));
    test_close(fds[0]);
    CHECK_OK(kolk_transport_write(talker->transport, "x", 1));
    CHECK_INT(talker_wait(talker), -EPIPE);
    CHECK_INT(error_signals, 0);
}

TEST(writing_to_nobody_raises_no_signal)
{
    kolk_loop *loop = test_real_loop_open();
    sigset_t set;
    int fds[2];

    test_socketpair(fds);
    error_write_to_nobody(loop, fds, false);
    test_pipe(fds);
    error_write_to_nobody(loop, fds, false);
    CHECK_INT(sigpending(&set), 0);
    CHECK_INT(sigismember(&set, SIGPIPE), 0);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
    CHECK_INT(sigismember(&set, SIGPIPE), 0);
}

/* A signal of somebody else's that is blocked and pending stays so. */
TEST(a_pending_sigpipe_of_others_is_left_alone)
{
    kolk_loop *loop = test_real_loop_open();
    const struct timespec at_once = {0};
    sigset_t set, before;
    int fds[2];

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    test_pipe(fds);
    error_write_to_nobody(loop, fds, true);
    CHECK_INT(sigtimedwait(&set, NULL, &at_once), SIGPIPE);
    CHECK_INT(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

TEST(closing_while_the_peer_is_gone_tells_that_not_all_was_sent)
{
    static char sent[8000000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, sent, sizeof sent));
    kolk_transport_close(talker->transport);
    talker_pass(talker, 2);
    talker_reset(fds[1]);
    int err = talker_wait(talker);
    CHECK(err == -ECONNRESET || err == -EPIPE);
    CHECK_STR(talker->trace, "pl");
}

TEST(a_half_closed_connection_that_is_reset_fails_at_the_next_write)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    talker_tcp_pair(fds);
    talker->keeps = true;
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(shutdown(fds[1], SHUT_WR), 0);
    CHECK(talker_wait_event(talker, 'e'));
    talker_reset(fds[1]);
    talker_pass(talker, 2);
    CHECK_OK(kolk_transport_write(talker->transport, "x", 1));
    int err = talker_wait(talker);
    CHECK(err == -ECONNRESET || err == -EPIPE);
}
