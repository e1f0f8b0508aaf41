/* net_transport_number.c - a transport never touches another file than its own,
 * however the numbers of descriptors change hands.
 *
 * SPDX-License-Identifier: MIT
 *
 * uvloop #738, #740, #653, #763: a number was kept after its file was closed,
 * and whoever got it next was hit.
 */
#include "talker.h"

/* Somebody who has got a number: another loop's business, or nobody's. */
static void
number_check_alive(int fds[2])
{
    char byte = '\0';

    CHECK_INT(write(fds[0], "a", 1), 1);
    CHECK_INT(read(fds[1], &byte, 1), 1);
    CHECK_INT(write(fds[1], "b", 1), 1);
    CHECK_INT(read(fds[0], &byte, 1), 1);
    CHECK_INT(byte, 'b');
}

/* The lowest numbers that are free go to a new pair right when `event` comes,
 * and in each later one. */
static int number_taken[64][2];
static int number_count;

static void
number_take(struct talker *talker, char event)
{
    (void)talker, (void)event;
    if (number_count < 64) {
        int *fds = number_taken[number_count++];

        test_socketpair(fds);
    }
}

/* Ends a connection in one of the ways there are, while others take numbers at
 * each point at which anything of the user's runs. */
static void
number_play(kolk_loop *loop, void (*end)(struct talker *talker, int peer))
{
    static char bulk[300000];
    struct talker *talker = talker_new(loop), *neighbour = talker_new(loop);
    int fds[2], others[2];

    number_count = 0;
    talker->on = number_take;
    test_socketpair(others);
    CHECK_OK(talker_open(neighbour, others[0], NULL));
    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK(talker_wait_size(talker, 1));
    CHECK_OK(kolk_transport_write(talker->transport, bulk, sizeof bulk));
    end(talker, fds[1]);
    for (int i = 0; i < 50; i++) {
        number_take(NULL, '\0');
        talker_pass(talker, 1);
    }
    CHECK_INT(talker->losses, 1);
    for (int i = 0; i < number_count; i++) {
        number_check_alive(number_taken[i]);
        test_close(number_taken[i][0]);
        test_close(number_taken[i][1]);
    }
    CHECK_INT(write(others[1], "y", 1), 1);
    CHECK(talker_wait_size(neighbour, 1));
    kolk_transport_abort(neighbour->transport);
    CHECK_INT(talker_wait(neighbour), -ECANCELED);
    test_close(others[1]);
}

static void
number_abort(struct talker *talker, int peer)
{
    kolk_transport_abort(talker->transport);
    number_take(NULL, '\0');
    test_close(peer);
}

static void
number_peer_resets(struct talker *talker, int peer)
{
    (void)talker;
    talker_reset(peer);
}

static void
number_close_and_reset(struct talker *talker, int peer)
{
    kolk_transport_close(talker->transport);
    number_take(NULL, '\0');
    talker_reset(peer);
    number_take(NULL, '\0');
    kolk_transport_abort(talker->transport);
}

static void
number_take_fd(struct talker *talker, int peer)
{
    static char sink[300000];

    while (kolk_transport_buffer_size(talker->transport) > 0
           && kit_failures() == 0) {
        (void)talker_take(peer, sink, sizeof sink);
        talker_pass(talker, 1);
    }
    int fd = kolk_transport_take_fd(talker->transport);
    CHECK_OK(fd);
    CHECK_INT(close(fd), 0);
    number_take(NULL, '\0');
    test_close(peer);
}

TEST(numbers_taken_while_a_transport_ends_are_left_alone)
{
    kolk_loop *loop = test_real_loop_open();

    number_play(loop, number_abort);
    number_play(loop, number_peer_resets);
    number_play(loop, number_close_and_reset);
    number_play(loop, number_take_fd);
}

/* ---- closed behind the transport's back ---- */

TEST(a_number_that_another_transport_has_got_is_no_longer_the_first_ones)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop), *next = talker_new(loop);
    int fds[2], others[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    talker_pass(talker, 2);
    CHECK_INT(close(fds[0]), 0); /* a mistake of the program's */
    test_socketpair(others);
    CHECK_INT(others[0], fds[0]);
    CHECK_OK(talker_open(next, others[0], NULL));
    CHECK_INT(talker->losses, 0);
    CHECK_INT(talker_wait(talker), -EBADF);
    CHECK_ERR(kolk_transport_fileno(talker->transport), -EBADF);
    CHECK_INT(write(others[1], "x", 1), 1);
    CHECK(talker_wait_size(next, 1));
    CHECK_INT(talker->size, 0);
}

static void
number_connected(kolk_op *op)
{
    op->offset = op->result;
}

TEST(a_new_socket_with_the_number_connects_as_ever)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    kolk_op op;
    int fds[2];

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_own(listener);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_INT(listen(listener, 1), 0);
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(close(fds[0]), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK_INT(fd, fds[0]);
    test_own(fd);
    kolk_op_init(&op, number_connected, NULL);
    CHECK_OK(kolk_op_connect(loop, &op, fd, (struct sockaddr *)&address, size));
    CHECK_INT(talker_wait(talker), -EBADF);
    for (int i = 0; i < 1000 && kolk_op_is_pending(&op); i++) {
        talker_pass(talker, 1);
        usleep(1000);
    }
    CHECK_INT(op.offset, 0);
}

TEST(a_transport_over_a_connected_socket_of_the_loops)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char bytes[4];
    kolk_op op;
    int fds[2];

    test_socketpair(fds);
    kolk_op_init(&op, number_connected, NULL);
    CHECK_OK(kolk_op_recv(loop, &op, fds[0], bytes, sizeof bytes, 0));
    CHECK_INT(write(fds[1], "x", 1), 1);
    for (int i = 0; i < 1000 && kolk_op_is_pending(&op); i++) {
        CHECK_OK(kolk_run_once(loop));
    }
    CHECK_INT(op.offset, 1);
    CHECK_INT(write(fds[1], "yz", 2), 2);
    CHECK_OK(talker_open(talker, fds[0], NULL)); /* registered already */
    CHECK(talker_wait_size(talker, 2));
    kolk_op_init(&op, number_connected, NULL);
    CHECK_OK(kolk_op_recv(loop, &op, fds[0], bytes, sizeof bytes, MSG_PEEK));
    kolk_transport_abort(talker->transport);
    CHECK_INT(talker_wait(talker), -ECANCELED);
    talker_pass(talker, 2);
    CHECK(!kolk_op_is_pending(&op));
    CHECK_INT(op.offset, -ECANCELED);
}
