/* net_transport_eof.c - ending one direction, the other goes on.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"

TEST(the_end_comes_behind_what_was_written)
{
    static char sent[500000], got[sizeof sent];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    size_t size = 0;
    int fds[2];

    talker_tcp_pair(fds);
    talker->keeps = true;
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK(kolk_transport_can_write_eof(talker->transport));
    CHECK_OK(kolk_transport_write(talker->transport, sent, sizeof sent));
    CHECK_OK(kolk_transport_write_eof(talker->transport));
    CHECK_OK(
        kolk_transport_write_eof(talker->transport)); /* still on its way */
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -EPIPE);
    for (int i = 0; i < 100000 && size < sizeof sent; i++) {
        size += talker_take(fds[1], got + size, sizeof got - size);
        talker_pass(talker, 1);
    }
    CHECK_INT(size, sizeof sent);
    talker_pass(talker, 2);
    CHECK_INT(read(fds[1], got, 1), 0);
    CHECK_OK(kolk_transport_write_eof(talker->transport)); /* has ended */
    CHECK_INT(talker->losses, 0);

    CHECK_INT(write(fds[1], "answer", 6), 6);
    CHECK(talker_wait_size(talker, 6));
    CHECK_STR(talker->got, "answer");
    test_close(fds[1]);
    CHECK(talker_wait_event(talker, 'e'));
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_ERR(kolk_transport_write_eof(talker->transport), -ESHUTDOWN);
}

TEST(a_peer_that_has_ended_and_is_slow_to_read_lets_the_loop_sleep)
{
    static char sent[16000000], got[1000000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    size_t size = 0;
    int fds[2];

    talker_tcp_pair(fds);
    talker->keeps = true;
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(shutdown(fds[1], SHUT_WR), 0);
    CHECK(talker_wait_event(talker, 'e'));
    CHECK_OK(kolk_transport_write(talker->transport, sent, sizeof sent));
    talker_pass(talker, 10);
    CHECK(kolk_transport_buffer_size(talker->transport) > 0);
    CHECK_INT(kolk_run_once(loop), 0); /* there is nothing to do */
    for (int i = 0; i < 100000 && size < sizeof sent; i++) {
        size += talker_take(fds[1], got, sizeof got);
        talker_pass(talker, 1);
    }
    CHECK_INT(size, sizeof sent);
}

static void
eof_write_and_end(kolk_call *call)
{
    struct talker *talker = (struct talker *)call->pointer;

    CHECK_OK(kolk_transport_write(talker->transport, "last", 4));
    CHECK_OK(kolk_transport_write_eof(talker->transport));
}

TEST(joined_bytes_come_before_the_end)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_call call;
    char got[8] = "";
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_call_init(&call, eof_write_and_end, NULL);
    call.pointer = talker;
    CHECK_OK(kolk_call_soon(loop, &call));
    talker_pass(talker, 1);
    CHECK_INT(read(fds[1], got, sizeof got), 4);
    CHECK_INT(read(fds[1], got, sizeof got), 0);
}

TEST(both_ends_may_end_their_streams_before_they_close)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *a = talker_new(loop), *b = talker_new(loop);
    int fds[2];

    a->keeps = b->keeps = true;
    test_socketpair(fds);
    CHECK_OK(talker_open(a, fds[0], NULL));
    CHECK_OK(talker_open(b, fds[1], NULL));
    CHECK_OK(kolk_transport_write_eof(a->transport));
    CHECK(talker_wait_event(b, 'e'));
    CHECK_OK(kolk_transport_write(b->transport, "late", 4));
    CHECK_OK(kolk_transport_write_eof(b->transport));
    CHECK(talker_wait_event(a, 'e'));
    CHECK_STR(a->got, "late");
    CHECK_STR(a->trace, "de");
    CHECK_INT(a->losses + b->losses, 0);
    kolk_transport_close(a->transport);
    kolk_transport_close(b->transport);
    CHECK_INT(talker_wait(a), 0);
    CHECK_INT(talker_wait(b), 0);
}

TEST(ending_the_stream_of_a_connection_that_is_gone)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    talker_reset(fds[1]);
    CHECK_OK(kolk_transport_write_eof(talker->transport));
    CHECK_INT(talker_wait(talker), -ECONNRESET);
}
