/* loop_watch.c - watches are level-triggered, and survive hang-ups, changes
 * and numbers that change hands.
 *
 * SPDX-License-Identifier: MIT
 */
#include "op_kit.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/sys.h"

struct eye {
    kolk_watch watch;
    kolk_loop *loop;
    int runs;
    int drops;
    unsigned seen;
    int stop_after; /* stops itself after so many runs; 0: never */
};

static void
eye_look(kolk_watch *watch)
{
    struct eye *eye = KOLK_CONTAINER_OF(watch, struct eye, watch);

    eye->runs++;
    eye->seen = watch->ready;
    if (eye->runs == eye->stop_after) {
        kolk_watch_stop(eye->loop, watch);
    }
}

static void
eye_dropped(kolk_watch *watch)
{
    KOLK_CONTAINER_OF(watch, struct eye, watch)->drops++;
}

static void
eye_init(struct eye *eye, kolk_loop *loop, int fd)
{
    *eye = (struct eye){.loop = loop};
    kolk_watch_init(&eye->watch, fd, eye_look, eye_dropped);
}

/* So many turns, each of which polls. */
static void
run_turns(kolk_loop *loop, int count)
{
    for (int i = 0; i < count; i++) {
        CHECK_OK(kolk_run_once(loop));
    }
}

TEST(runs_once_in_every_turn_while_ready)
{
    kolk_loop *loop = test_loop_open();
    struct eye eye;
    int fds[2];

    test_socketpair(fds);
    eye_init(&eye, loop, fds[0]);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    run_turns(loop, 3);
    CHECK_INT(eye.runs, 0);
    CHECK_INT(write(fds[1], "x", 1), 1);
    run_turns(loop, 3);
    CHECK_INT(eye.runs, 3);
    CHECK_INT(eye.seen, KOLK_READABLE);

    char byte;
    CHECK_INT(read(fds[0], &byte, 1), 1);
    run_turns(loop, 2);
    CHECK_INT(eye.runs, 3);
    kolk_watch_stop(loop, &eye.watch);
}

/* Work that is ready in each of so many turns. */
struct chain {
    kolk_call call;
    kolk_loop *loop;
    int left;
};

static void
chain_run(kolk_call *call)
{
    struct chain *chain = KOLK_CONTAINER_OF(call, struct chain, call);

    if (--chain->left > 0) {
        CHECK_OK(kolk_call_soon(chain->loop, call));
    }
}

TEST(a_watch_in_the_background_waits_until_there_is_no_work)
{
    kolk_loop *loop = test_loop_open();
    struct chain chain = {.loop = loop, .left = 3};
    struct eye eye;
    int fds[2];

    test_socketpair(fds);
    eye_init(&eye, loop, fds[0]);
    CHECK_INT(kolk_watch_start(loop, &eye.watch, KOLK_BACKGROUND), -EINVAL);
    CHECK_OK(
        kolk_watch_start(loop, &eye.watch, KOLK_READABLE | KOLK_BACKGROUND));
    CHECK_INT(write(fds[1], "x", 1), 1);
    kolk_call_init(&chain.call, chain_run, NULL);
    CHECK_OK(kolk_call_soon(loop, &chain.call));
    CHECK_INT(kolk_run_once(loop), 1);
    CHECK_INT(kolk_run_once(loop), 1);
    CHECK_INT(kolk_run_once(loop), 0);
    CHECK_INT(eye.runs, 0);
    run_turns(loop, 2);
    CHECK_INT(eye.runs, 2);
    CHECK_INT(eye.seen, KOLK_READABLE);

    chain.left = 3;
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    CHECK_OK(kolk_call_soon(loop, &chain.call));
    CHECK_INT(kolk_run_once(loop), 1);
    CHECK_INT(eye.runs, 3);
    chain.left = 1;
    kolk_watch_stop(loop, &eye.watch);
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(eye.runs, 3);
}

TEST(stopped_watch_does_not_run_although_queued)
{
    kolk_loop *loop = test_loop_open();
    struct eye first, second;
    int fds[2];

    test_socketpair(fds);
    eye_init(&first, loop, fds[0]);
    eye_init(&second, loop, fds[0]);
    CHECK_OK(kolk_watch_start(loop, &first.watch, KOLK_WRITABLE));
    CHECK_OK(kolk_watch_start(loop, &second.watch, KOLK_WRITABLE));
    first.stop_after = 1;
    second.stop_after = 1;
    run_turns(loop, 4);
    CHECK_INT(first.runs, 1);
    CHECK_INT(second.runs, 1);
    CHECK_INT(second.watch.events, 0);

    CHECK_OK(kolk_watch_start(loop, &first.watch, KOLK_WRITABLE));
    kolk_watch_stop(loop, &first.watch);
    kolk_watch_stop(loop, &first.watch);
    run_turns(loop, 2);
    CHECK_INT(first.runs, 1);
}

TEST(starting_again_replaces_the_events)
{
    kolk_loop *loop = test_loop_open();
    struct eye eye;
    int fds[2];

    test_socketpair(fds);
    eye_init(&eye, loop, fds[0]);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_WRITABLE));
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    run_turns(loop, 2);
    CHECK_INT(eye.runs, 0);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE | KOLK_WRITABLE));
    run_turns(loop, 1);
    CHECK_INT(eye.runs, 1);
    CHECK_INT(eye.seen, KOLK_WRITABLE);
    kolk_watch_stop(loop, &eye.watch);
}

TEST(a_hang_up_is_both_readable_and_writable)
{
    kolk_loop *loop = test_loop_open();
    struct eye reader, writer;
    int fds[2], other[2];

    test_socketpair(fds);
    test_pipe(other);
    eye_init(&reader, loop, fds[0]);
    eye_init(&writer, loop, other[1]);
    CHECK_OK(kolk_watch_start(loop, &reader.watch, KOLK_READABLE));
    CHECK_OK(kolk_watch_start(loop, &writer.watch, KOLK_WRITABLE));
    test_close(fds[1]);
    test_close(other[0]);
    run_turns(loop, 3);
    CHECK_INT(reader.runs, 3);
    CHECK_INT(reader.seen, KOLK_READABLE);
    CHECK_INT(writer.runs, 3);
    CHECK_INT(writer.seen, KOLK_WRITABLE);
    kolk_watch_stop(loop, &reader.watch);
    kolk_watch_stop(loop, &writer.watch);
}

/* zuvloop #45 is such a loop: after an error, its reader was dead. */
TEST(goes_on_after_an_error_on_the_descriptor)
{
    kolk_loop *loop = test_loop_open();
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    struct eye eye;
    char byte = 0;

    int peer = op_own(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    int fd =
        op_own(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(bind(peer, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_INT(getsockname(peer, (struct sockaddr *)&address, &size), 0);
    CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    op_close_own(peer);

    eye_init(&eye, loop, fd);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    for (int i = 0; i < 2; i++) {
        eye.runs = 0;
        CHECK_INT(send(fd, &byte, 1, 0), 1); /* nobody is there */
        run_turns(loop, 2);
        CHECK(eye.runs > 0);
        CHECK_INT(recv(fd, &byte, 1, 0), -1);
        CHECK_INT(errno, ECONNREFUSED);
    }
    kolk_watch_stop(loop, &eye.watch);
    op_close_own(fd);
}

TEST(refuses_what_cannot_be_watched)
{
    kolk_loop *loop = test_loop_open();
    struct eye eye;
    int fd = op_own(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));

    CHECK(fd >= 0);
    eye_init(&eye, loop, fd);
    CHECK_ERR(kolk_watch_start(loop, &eye.watch, KOLK_READABLE), -EPERM);
    CHECK_ERR(kolk_watch_start(loop, &eye.watch, 0), -EINVAL);
    CHECK_INT(eye.watch.events, 0);
    op_close_own(fd);
    CHECK_ERR(kolk_watch_start(loop, &eye.watch, KOLK_READABLE), -EBADF);
    eye_init(&eye, loop, -1);
    CHECK_ERR(kolk_watch_start(loop, &eye.watch, KOLK_READABLE), -EBADF);
    kolk_watch_stop(loop, &eye.watch);
    run_turns(loop, 1);
}

TEST(watches_and_operations_share_a_descriptor)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    struct eye eye;
    char bytes[4];
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    eye_init(&eye, loop, fds[0]);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_WRITABLE));
    run_turns(loop, 2);
    CHECK(eye.runs > 0);
    CHECK_INT(write(fds[1], "ab", 2), 2);
    CHECK_INT(test_op_wait(&op), 2);

    kolk_watch_stop(loop, &eye.watch);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], bytes, sizeof bytes, 0));
    run_turns(loop, 2);
    CHECK_INT(write(fds[1], "c", 1), 1);
    CHECK_INT(test_op_wait(&op), 1);
}

/* A pending poll of the kernel's ring would keep the socket open, and the
 * peer would wait for the end for ever. */
TEST(a_watched_socket_that_is_closed_is_closed)
{
    kolk_loop *loop = test_loop_open();
    struct eye eye;
    struct test_op op;
    char byte;
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    eye_init(&eye, loop, fds[0]);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    CHECK_OK(kolk_op_poll(loop, &op.op, fds[0], KOLK_READABLE));
    run_turns(loop, 2);
    kolk_watch_stop(loop, &eye.watch);
    kolk_forget(loop, fds[0]);
    test_close(fds[0]);
    CHECK_INT(read(fds[1], &byte, 1), 0);
    CHECK_INT(test_op_wait(&op), -ECANCELED);
}

/* uvloop #738: a number given out again met the old one's registration. */
TEST(a_number_used_again_is_a_new_descriptor)
{
    kolk_loop *loop = test_loop_open();
    struct eye old, new;
    int fds[2], next[2];

    test_socketpair(fds);
    eye_init(&old, loop, fds[0]);
    CHECK_OK(kolk_watch_start(loop, &old.watch, KOLK_READABLE));
    CHECK_INT(write(fds[1], "x", 1), 1);
    kolk_watch_stop(loop, &old.watch);
    int number = fds[0];
    test_close(fds[0]);
    test_socketpair(next);
    CHECK_INT(next[0], number);

    eye_init(&new, loop, number);
    CHECK_OK(kolk_watch_start(loop, &new.watch, KOLK_READABLE));
    run_turns(loop, 2);
    CHECK_INT(new.runs, 0);
    CHECK_INT(write(next[1], "x", 1), 1);
    run_turns(loop, 1);
    CHECK_INT(new.runs, 1);
    CHECK_INT(old.runs, 0);
    kolk_watch_stop(loop, &new.watch);
}

/* What aborts uvloop's process. */
TEST(a_descriptor_closed_behind_the_loops_back_does_no_harm)
{
    kolk_loop *loop = test_loop_open();
    struct eye eye, other;
    int fds[2], next[2];

    test_socketpair(fds);
    eye_init(&eye, loop, fds[0]);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    int number = fds[0];
    test_close(fds[0]); /* the watch is still started */
    run_turns(loop, 2);
    CHECK_INT(eye.runs, 0);
    kolk_watch_stop(loop, &eye.watch);

    test_socketpair(next);
    CHECK_INT(next[0], number);
    eye_init(&other, loop, number);
    CHECK_OK(kolk_watch_start(loop, &other.watch, KOLK_WRITABLE));
    test_close(next[0]);
    test_socketpair(fds);
    CHECK_INT(fds[0], number);
    /* The loop believes that it is registered: it must not stay deaf. */
    CHECK_OK(
        kolk_watch_start(loop, &other.watch, KOLK_READABLE | KOLK_WRITABLE));
    run_turns(loop, 1);
    CHECK_INT(other.runs, 1);
    kolk_watch_stop(loop, &other.watch);
}

static int
refuse_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    (void)epfd, (void)op, (void)fd, (void)event;
    errno = ENOSPC;
    return -1;
}

TEST_ONCE(an_error_of_the_kernel_reaches_the_caller)
{
    kolk_loop *loop = test_loop_open();
    struct eye eye;
    int fds[2];

    test_socketpair(fds);
    eye_init(&eye, loop, fds[0]);
    struct kolk__sys real = kolk__sys;
    kolk__sys.epoll_ctl = refuse_epoll_ctl;
    int err = kolk_watch_start(loop, &eye.watch, KOLK_READABLE);
    kolk__sys = real;
    CHECK_ERR(err, -ENOSPC);
    CHECK_INT(eye.watch.events, 0);

    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    kolk__sys.epoll_ctl = refuse_epoll_ctl;
    err = kolk_watch_start(loop, &eye.watch, KOLK_WRITABLE);
    kolk__sys = real;
    CHECK_ERR(err, -ENOSPC);
    CHECK_INT(eye.watch.events, KOLK_READABLE);
    CHECK_INT(write(fds[1], "x", 1), 1);
    run_turns(loop, 1);
    CHECK_INT(eye.runs, 1);
    kolk_watch_stop(loop, &eye.watch);
}

TEST(closing_the_loop_drops_each_watch_once)
{
    kolk_loop *loop = test_loop_open();
    struct eye idle, queued, stopped;
    int fds[2];

    test_socketpair(fds);
    eye_init(&idle, loop, fds[0]);
    eye_init(&queued, loop, fds[0]);
    eye_init(&stopped, loop, fds[1]);
    CHECK_OK(kolk_watch_start(loop, &idle.watch, KOLK_READABLE));
    CHECK_OK(kolk_watch_start(loop, &queued.watch, KOLK_WRITABLE));
    CHECK_OK(kolk_watch_start(loop, &stopped.watch, KOLK_WRITABLE));
    run_turns(loop, 1);
    kolk_watch_stop(loop, &stopped.watch);
    test_loop_close(loop);
    CHECK_INT(idle.drops, 1);
    CHECK_INT(queued.drops, 1);
    CHECK_INT(stopped.drops, 0);
}

struct census {
    kolk_visitor visitor;
    int watches;
    int ops;
};

static int
census_count(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    struct census *census = KOLK_CONTAINER_OF(visitor, struct census, visitor);

    census->watches += kind == KOLK_NODE_WATCH;
    census->ops += kind == KOLK_NODE_OP;
    return node == NULL ? -EINVAL : 0;
}

TEST(a_visit_shows_each_watch_and_operation_once)
{
    kolk_loop *loop = test_loop_open();
    struct census census = {.visitor.fn = census_count};
    struct test_op waiting, ended;
    struct eye eye;
    char bytes[2];
    int fds[2];

    test_socketpair(fds);
    eye_init(&eye, loop, fds[0]);
    test_op_init(&waiting, loop);
    test_op_init(&ended, loop);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_WRITABLE));
    CHECK_OK(kolk_op_recv(loop, &waiting.op, fds[0], bytes, 1, 0));
    CHECK_OK(kolk_op_send(loop, &ended.op, fds[1], "x", 1, 0));
    CHECK_OK(kolk_loop_visit(loop, &census.visitor));
    CHECK_INT(census.watches, 1);
    CHECK_INT(census.ops, 2);
    test_loop_close(loop); /* the nodes are on this stack */
}
