/* loop_op_descriptor.c - an operation never touches another file than its own,
 * however its number changes hands.
 *
 * SPDX-License-Identifier: MIT
 */
#include "op_kit.h"

#include <sys/resource.h>

/* uvloop #738, #740: a cancelled connection attempt kept the number of its
 * socket, and hit whoever got it next. */
TEST(a_cancelled_connect_leaves_the_next_owner_of_its_number_alone)
{
    kolk_loop *loop = test_real_loop_open();
    struct sockaddr_in address;
    struct test_op op, next;
    int listener = test_listen(&address);
    int fds[2];
    char bytes[4];

    int fd = op_socket(SOCK_NONBLOCK);
    address.sin_port = htons(1);
    address.sin_addr.s_addr = htonl(0x7f000001);
    test_op_init(&op, loop);
    test_op_init(&next, loop);
    CHECK_OK(kolk_op_connect(loop, &op.op, fd, (struct sockaddr *)&address,
                             sizeof address));
    kolk_op_cancel(loop, &op.op);
    kolk_forget(loop, fd);
    op_close_own(fd);
    test_socketpair(fds);
    CHECK_INT(fds[0], fd);
    CHECK_OK(kolk_op_recv(loop, &next.op, fds[0], bytes, sizeof bytes, 0));
    CHECK(test_op_wait(&op) < 0);
    CHECK_OK(kolk_run_once(loop));
    CHECK(kolk_op_is_pending(&next.op));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&next), 1);
    op_close_own(listener);
}

/* With an operation in flight, close(2) alone sends no end to the peer, and
 * later data lands in the old buffer. */
TEST(forgetting_ends_what_is_pending_before_it_returns)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op reading, polling, behind;
    char bytes[8] = "before", byte;
    int fds[2], next[2];

    test_socketpair(fds);
    test_op_init(&reading, loop);
    test_op_init(&polling, loop);
    test_op_init(&behind, loop);
    CHECK_OK(kolk_op_recv(loop, &reading.op, fds[0], bytes, 8, 0));
    CHECK_OK(kolk_op_recv(loop, &behind.op, fds[0], bytes, 8, 0));
    CHECK_OK(kolk_op_poll(loop, &polling.op, fds[0], KOLK_READABLE));
    CHECK_OK(kolk_run_once(loop));
    kolk_forget(loop, fds[0]);
    int number = fds[0];
    test_close(fds[0]);
    CHECK_INT(read(fds[1], &byte, 1), 0);

    test_socketpair(next);
    CHECK_INT(next[0], number);
    CHECK_INT(write(next[1], "after", 5), 5);
    CHECK_INT(test_op_wait(&reading), -ECANCELED);
    CHECK_INT(test_op_wait(&behind), -ECANCELED);
    CHECK_INT(test_op_wait(&polling), -ECANCELED);
    CHECK_STR(bytes, "before");
}

TEST(an_accepted_descriptor_inherits_nothing_from_its_number)
{
    kolk_loop *loop = test_real_loop_open();
    struct sockaddr_in address;
    struct test_op op;
    int listener = test_listen(&address);
    char bytes[4];
    int fds[2];

    /* The loop comes to know a number, which is closed behind its back. */
    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&op), 1);
    int client = op_socket(0);
    int number = fds[0];
    test_close(fds[0]);

    CHECK_INT(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_OK(kolk_op_accept(loop, &op.op, listener, NULL, NULL, 0));
    int peer = op_own(test_op_wait(&op));
    CHECK_INT(peer, number);
    CHECK_OK(kolk_op_recv(loop, &op.op, peer, bytes, sizeof bytes, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(send(client, "ab", 2, 0), 2);
    CHECK_INT(test_op_wait(&op), 2);
    kolk_forget(loop, peer);
    kolk_forget(loop, listener);
    op_close_own(peer);
    op_close_own(listener);
    op_close_own(client);
}

static int
connected(const struct sockaddr_in *address)
{
    int fd = op_socket(0);

    CHECK_INT(connect(fd, (const struct sockaddr *)address, sizeof *address),
              0);
    return fd;
}

/* The client that came while there was no descriptor to be had is not lost,
 * and no event is needed to get at it. */
TEST(accept_without_a_free_descriptor_keeps_the_client_waiting)
{
    kolk_loop *loop = test_real_loop_open();
    struct sockaddr_in address;
    struct test_op op;
    int listener = test_listen(&address);
    int clients[2], fill[64], count = 0;
    struct rlimit before, few;

    test_op_init(&op, loop);
    clients[0] = connected(&address); /* the backend gets all it needs */
    CHECK_OK(kolk_op_accept(loop, &op.op, listener, NULL, NULL, 0));
    int first = op_own(test_op_wait(&op));
    CHECK_OK(first);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    clients[1] = connected(&address);
    few = before;
    few.rlim_cur = (rlim_t)clients[1] + 20;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (count < 64 && (fill[count] = dup(listener)) >= 0) {
        count++;
    }
    CHECK_OK(kolk_op_accept(loop, &op.op, listener, NULL, NULL, 0));
    int result = test_op_wait(&op);
    while (count > 0) {
        (void)close(fill[--count]);
    }
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_ERR(result, -EMFILE);
    CHECK_OK(kolk_op_accept(loop, &op.op, listener, NULL, NULL, 0));
    int second = op_own(test_op_wait(&op));
    CHECK_OK(second);
    kolk_forget(loop, listener);
    op_close_own(first);
    op_close_own(second);
    op_close_own(listener);
    op_close_own(clients[0]);
    op_close_own(clients[1]);
}

TEST(wrong_descriptors_are_refused)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    char bytes[4];

    test_op_init(&op, loop);
    CHECK_ERR(kolk_op_recv(loop, &op.op, -1, bytes, 4, 0), -EBADF);
    const int fd = 900; /* nobody's */
    CHECK_OK(kolk_op_recv(loop, &op.op, fd, bytes, 4, 0));
    CHECK_ERR(test_op_wait(&op), -EBADF);
    CHECK_OK(kolk_op_close(loop, &op.op, fd));
    op_disown(fd);
    CHECK_ERR(test_op_wait(&op), -EBADF);
}
