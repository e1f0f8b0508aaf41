/* loop_op.c - operations: they end once, in order, and nothing is lost.
 *
 * SPDX-License-Identifier: MIT
 */
#include "op_kit.h"

#include <stdlib.h>

#include "base/sys.h"

TEST(a_callback_never_runs_inside_the_start)
{
    kolk_loop *loop = test_loop_open();
    struct test_op op;
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_send(loop, &op.op, fds[0], "abc", 3, 0));
    CHECK_INT(op.runs, 0);
    CHECK(kolk_op_is_pending(&op.op));
    CHECK_ERR(kolk_op_send(loop, &op.op, fds[0], "abc", 3, 0), -EALREADY);
    CHECK_INT(test_op_wait(&op), 3);
    CHECK_INT(op.runs, 1);
    CHECK(!kolk_op_is_pending(&op.op));
}

TEST(receives_what_comes_later)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    char bytes[8];
    int fds[2];

    test_tcp_pair(fds);
    test_op_init(&op, loop);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
        CHECK_OK(kolk_run_once(loop));
        CHECK(kolk_op_is_pending(&op.op));
        CHECK_INT(send(fds[1], "hello", 5, 0), 5);
        CHECK_INT(test_op_wait(&op), 5);
        CHECK(memcmp(bytes, "hello", 5) == 0);
    }
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    CHECK_INT(shutdown(fds[1], SHUT_WR), 0);
    CHECK_INT(test_op_wait(&op), 0);
    kolk_forget(loop, fds[0]);
    op_close_own(fds[0]);
    op_close_own(fds[1]);
}

TEST(operations_of_a_direction_end_in_the_order_they_began)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op ops[5];
    char bytes[5];
    int fds[2];

    test_socketpair(fds);
    for (int i = 0; i < 5; i++) {
        test_op_init(&ops[i], loop);
        CHECK_OK(kolk_op_recv(loop, &ops[i].op, fds[0], &bytes[i], 1, 0));
    }
    CHECK_OK(kolk_run_once(loop));
    kolk_op_cancel(loop, &ops[2].op);
    CHECK_INT(write(fds[1], "abcd", 4), 4);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(test_op_wait(&ops[i]), i == 2 ? -ECANCELED : 1);
    }
    CHECK(memcmp(bytes, "ab", 2) == 0);
    CHECK(memcmp(&bytes[3], "cd", 2) == 0);
}

/* Edge-triggered loops that take a short read for an empty socket hang here:
 * one event for both, and then none. */
TEST(data_and_the_end_that_come_together_are_both_delivered)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    char bytes[64];
    int fds[2];

    test_tcp_pair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(send(fds[1], "bye", 3, 0), 3);
    op_close_own(fds[1]);
    CHECK_INT(test_op_wait(&op), 3);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    CHECK_INT(test_op_wait(&op), 0);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    CHECK_INT(test_op_wait(&op), 0);
    CHECK_OK(kolk_op_close(loop, &op.op, fds[0]));
    op_disown(fds[0]);
    CHECK_INT(test_op_wait(&op), 0);
}

TEST(a_short_datagram_says_nothing_of_the_next_one)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    char bytes[64] = "";
    int fds[2];

    CHECK_INT(
        socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
        0);
    (void)op_own(fds[0]);
    (void)op_own(fds[1]);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    CHECK_OK(kolk_run_once(loop));
    for (int i = 1; i <= 3; i++) {
        CHECK_INT(send(fds[1], bytes, (size_t)i, 0), i);
    }
    for (int i = 1; i <= 3; i++) {
        CHECK_INT(test_op_wait(&op), i);
        CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    }
    kolk_forget(loop, fds[0]);
    CHECK_INT(test_op_wait(&op), -ECANCELED);
    op_close_own(fds[0]);
    op_close_own(fds[1]);
}

TEST(peeking_does_not_make_the_data_be_forgotten)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    char bytes[8];
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, 8, MSG_PEEK));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(write(fds[1], "abc", 3), 3);
    CHECK_INT(test_op_wait(&op), 3);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, 8, 0));
    CHECK_INT(test_op_wait(&op), 3);
}

/* Reads what there is, and returns how much. */
static ssize_t
drain(int fd)
{
    static char bytes[1 << 16];
    ssize_t total = 0, count;

    while ((count = recv(fd, bytes, sizeof bytes, 0)) > 0) {
        total += count;
    }
    return total;
}

TEST(a_full_socket_is_written_when_there_is_room)
{
    kolk_loop *loop = test_real_loop_open();
    static char bytes[1 << 16];
    struct test_op op;
    ssize_t sent = 0, count;
    int fds[2];

    test_socketpair(fds);
    while ((count = send(fds[0], bytes, sizeof bytes, 0)) > 0) {
        sent += count;
    }
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_send(loop, &op.op, fds[0], bytes, 100, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK(kolk_op_is_pending(&op.op));
    ssize_t received = drain(fds[1]);
    CHECK(test_op_wait(&op) > 0);
    CHECK_INT(received + drain(fds[1]), sent + op.result);
}

TEST(accepts_and_connects)
{
    kolk_loop *loop = test_real_loop_open();
    struct sockaddr_in address, from;
    socklen_t size = sizeof from;
    struct test_op accepting, connecting;
    int listener = test_listen(&address);
    int fd = op_socket(SOCK_NONBLOCK);

    test_op_init_giving(&accepting, loop);
    test_op_init(&connecting, loop);
    CHECK_OK(kolk_op_accept(loop, &accepting.op, listener,
                            (struct sockaddr *)&from, &size, 0));
    CHECK_OK(kolk_op_connect(loop, &connecting.op, fd,
                             (struct sockaddr *)&address, sizeof address));
    CHECK_INT(test_op_wait(&connecting), 0);
    int peer = test_op_wait(&accepting);
    CHECK(peer >= 0);
    CHECK_INT(from.sin_family, AF_INET);
    CHECK_INT(fcntl(peer, F_GETFD), FD_CLOEXEC);
    CHECK((fcntl(peer, F_GETFL) & O_NONBLOCK) != 0);

    CHECK_OK(kolk_op_close(loop, &connecting.op, fd));
    op_disown(fd);
    CHECK_INT(test_op_wait(&connecting), 0);
    CHECK_OK(kolk_op_close(loop, &connecting.op, peer));
    op_disown(peer);
    CHECK_INT(test_op_wait(&connecting), 0);
    CHECK_OK(kolk_op_close(loop, &connecting.op, listener));
    op_disown(listener);
    CHECK_INT(test_op_wait(&connecting), 0);
}

TEST(a_refused_connection_says_so)
{
    kolk_loop *loop = test_real_loop_open();
    struct sockaddr_in address;
    struct test_op op;
    int listener = test_listen(&address);
    int fd = op_socket(SOCK_NONBLOCK);

    op_close_own(listener);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_connect(loop, &op.op, fd, (struct sockaddr *)&address,
                             sizeof address));
    CHECK_ERR(test_op_wait(&op), -ECONNREFUSED);
    kolk_forget(loop, fd);
    op_close_own(fd);
}

/* ---- cancelling ---- */

TEST(cancelling_ends_it_and_leaves_the_data)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    char bytes[8] = "before";
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    CHECK_OK(kolk_run_once(loop));
    kolk_op_cancel(loop, &op.op);
    kolk_op_cancel(loop, &op.op);
    CHECK_INT(test_op_wait(&op), -ECANCELED);
    CHECK_INT(op.runs, 1);
    kolk_op_cancel(loop, &op.op);
    CHECK_INT(write(fds[1], "after", 5), 5);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(bytes, "before");
    CHECK_INT(read(fds[0], bytes, sizeof bytes), 5);
}

TEST(what_completed_first_is_the_result)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    char bytes[8];
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_send(loop, &op.op, fds[0], "abc", 3, 0));
    kolk_op_cancel(loop, &op.op);
    CHECK_INT(test_op_wait(&op), 3);
    CHECK_INT(read(fds[1], bytes, sizeof bytes), 3);
}

/* Data that has arrived when a receive is cancelled is returned or left, but
 * not lost. */
TEST(a_cancelled_receive_loses_nothing)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    char bytes[8];
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    for (int i = 0; i < 20; i++) {
        CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
        if (i % 2 == 0) {
            CHECK_OK(kolk_run_once(loop));
        }
        CHECK_INT(write(fds[1], "abc", 3), 3);
        kolk_op_cancel(loop, &op.op);
        int result = test_op_wait(&op);
        if (result == -ECANCELED) {
            result = (int)read(fds[0], bytes, sizeof bytes);
        }
        CHECK_INT(result, 3);
    }
}

TEST(a_cancelled_accept_does_not_leak_its_connection)
{
    kolk_loop *loop = test_real_loop_open();
    struct sockaddr_in address;
    struct test_op op;
    int listener = test_listen(&address);

    test_op_init_giving(&op, loop);
    for (int i = 0; i < 10; i++) {
        int fd = op_socket(0);
        CHECK_OK(kolk_op_accept(loop, &op.op, listener, NULL, NULL, 0));
        if (i % 2 == 0) {
            CHECK_OK(kolk_run_once(loop));
        }
        CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        kolk_op_cancel(loop, &op.op);
        int peer = op_own(test_op_wait(&op));
        if (peer == -ECANCELED) {
            peer = op_own(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        }
        CHECK(peer >= 0);
        op_close_own(peer);
        op_close_own(fd);
    }
    kolk_forget(loop, listener);
    op_close_own(listener);
}

/* ---- readiness ---- */

TEST(polls_for_readiness)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_poll(loop, &op.op, fds[0], KOLK_WRITABLE | KOLK_READABLE));
    CHECK_INT(test_op_wait(&op), KOLK_WRITABLE);
    CHECK_OK(kolk_op_poll(loop, &op.op, fds[0], KOLK_READABLE));
    CHECK_OK(kolk_run_once(loop));
    CHECK(kolk_op_is_pending(&op.op));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&op), KOLK_READABLE);
    CHECK_OK(kolk_op_poll(loop, &op.op, fds[0], KOLK_READABLE));
    CHECK_INT(test_op_wait(&op), KOLK_READABLE);
    CHECK_ERR(kolk_op_poll(loop, &op.op, fds[0], 0), -EINVAL);
}

/* ---- files ---- */

TEST(regular_files_are_written_and_read)
{
    kolk_loop *loop = test_real_loop_open();
    char path[] = "/tmp/kolk-test-XXXXXX", bytes[16];
    struct test_op op;
    int fd = op_own(mkstemp(path));

    CHECK(fd >= 0);
    op_close_own(fd);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_open(loop, &op.op, path, O_RDWR, 0));
    fd = op_own(test_op_wait(&op));
    (void)unlink(path);
    CHECK(fd >= 0);
    CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_OK(kolk_op_pwrite(loop, &op.op, fd, "hello", 5, 3));
    CHECK_INT(test_op_wait(&op), 5);
    CHECK_OK(kolk_op_fsync(loop, &op.op, fd));
    CHECK_INT(test_op_wait(&op), 0);
    CHECK_OK(kolk_op_pread(loop, &op.op, fd, bytes, sizeof bytes, 4));
    CHECK_INT(test_op_wait(&op), 4);
    CHECK(memcmp(bytes, "ello", 4) == 0);
    CHECK_OK(kolk_op_pread(loop, &op.op, fd, bytes, sizeof bytes, 100));
    CHECK_INT(test_op_wait(&op), 0);
    CHECK_ERR(kolk_op_pread(loop, &op.op, fd, bytes, 1, -1), -EINVAL);
    CHECK_OK(kolk_op_close(loop, &op.op, fd));
    op_disown(fd);
    CHECK_INT(test_op_wait(&op), 0);
    CHECK_OK(kolk_op_pread(loop, &op.op, fd, bytes, 1, 0));
    CHECK_ERR(test_op_wait(&op), -EBADF);
    CHECK_OK(kolk_op_open(loop, &op.op, path, O_RDWR, 0));
    CHECK_ERR(test_op_wait(&op), -ENOENT);
}

/* ---- closing the loop ---- */

TEST(closing_the_loop_drops_each_operation_once)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op waiting, behind, ended, polling, cancelled;
    char bytes[2];
    int fds[2];

    test_socketpair(fds);
    test_op_init(&waiting, loop);
    test_op_init(&behind, loop);
    test_op_init(&ended, loop);
    test_op_init(&polling, loop);
    test_op_init(&cancelled, loop);
    CHECK_OK(kolk_op_recv(loop, &waiting.op, fds[0], bytes, 1, 0));
    CHECK_OK(kolk_op_recv(loop, &behind.op, fds[0], bytes, 1, 0));
    CHECK_OK(kolk_op_poll(loop, &polling.op, fds[0], KOLK_READABLE));
    CHECK_OK(kolk_op_recv(loop, &cancelled.op, fds[0], bytes, 1, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK_OK(kolk_op_send(loop, &ended.op, fds[0], "x", 1, 0));
    kolk_op_cancel(loop, &cancelled.op);
    test_loop_close(loop);
    CHECK_INT(waiting.drops + waiting.runs * 10, 1);
    CHECK_INT(behind.drops + behind.runs * 10, 1);
    CHECK_INT(polling.drops + polling.runs * 10, 1);
    CHECK_INT(cancelled.drops + cancelled.runs * 10, 1);
    CHECK_INT(ended.drops + ended.runs * 10, 1);
    CHECK(!kolk_op_is_pending(&waiting.op));
}

TEST(a_connection_accepted_for_a_closed_loop_is_closed)
{
    kolk_loop *loop = test_real_loop_open();
    struct sockaddr_in address;
    struct test_op op;
    int listener = test_listen(&address);
    int client = op_socket(0);
    char byte;

    CHECK_INT(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_accept(loop, &op.op, listener, NULL, NULL, 0));
    test_loop_close(loop);
    op_close_own(listener);
    CHECK_INT(op.drops, 1);
    CHECK(recv(client, &byte, 1, 0) <= 0); /* the end, or a reset */
    op_close_own(client);
}
