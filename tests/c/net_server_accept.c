/* net_server_accept.c - what keeps a server from accepting, and for how long.
 *
 * SPDX-License-Identifier: MIT
 */
#include "hall.h"
#include "reports.h"

#include <sys/resource.h>

/* The call that accepts, counted and steered. */
static struct {
    int (*real)(int fd, struct sockaddr *addr, socklen_t *len, int flags);
    int calls;
    int failures; /* from now on; -1: for ever */
    int error;
} door;

static int
door_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    door.calls++;
    if (door.failures != 0) {
        door.failures -= door.failures > 0;
        errno = door.error;
        return -1;
    }
    return door.real(fd, addr, len, flags);
}

static void
door_watch(void)
{
    door.real = kolk__sys.accept4;
    kolk__sys.accept4 = door_accept;
}

static void
door_fail(int error, int times)
{
    door.error = error;
    door.failures = times;
}

/* ---- how many at a time ---- */

TEST(one_connection_costs_one_call)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    door_watch();
    (void)hall_knock(&address);
    hall_wait(hall, 1);
    test_settle(loop);
    int before = door.calls;
    for (size_t i = 2; i <= 10; i++) {
        (void)hall_knock(&address);
        hall_wait(hall, i);
        test_settle(loop);
    }
    /* Now and then it is tried whether there are more. */
    CHECK(door.calls - before >= 9);
    CHECK(door.calls - before <= 9 + 2);
}

TEST(a_flood_leaves_each_turn_room_for_others)
{
    kolk_loop *loop = test_loop_open();
    const kolk_server_options options = {.backlog = 200};
    struct hall *hall = hall_new(0, loop, &options);
    kolk_address address = hall_listen(hall, "127.0.0.1");
    size_t count = test_is_hard() ? 20 : 180;

    for (size_t i = 0; i < count; i++) {
        (void)hall_knock(&address);
    }
    for (int turns = 0; hall->came < count && turns < 1000; turns++) {
        size_t before = hall->came;

        CHECK_OK(kolk_run_once(loop));
        CHECK(hall->came - before <= 100);
    }
    CHECK_INT(hall->came, count);
}

TEST(a_run_that_is_broken_off_leaves_the_rest_waiting)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    for (int i = 0; i < 8; i++) {
        (void)hall_knock(&address);
    }
    hall_wait(hall, 1); /* the next batch is of more than one */
    hall->breaks = true;
    for (size_t i = 2; i <= 4; i++) {
        int err = 0;

        for (int turns = 0; err >= 0 && turns < 100; turns++) {
            err = kolk_run_once(loop);
        }
        CHECK_ERR(err, -EINTR);
        CHECK_INT(hall->came, i);
    }
    hall->breaks = false;
    hall_wait(hall, 8);
}

/* ---- the limit ---- */

TEST(beyond_the_limit_connections_wait_in_the_kernel)
{
    kolk_loop *loop = test_loop_open();
    const kolk_server_options options = {.limit = 2};
    struct hall *hall = hall_new(0, loop, &options);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    for (int i = 0; i < 5; i++) {
        (void)hall_knock(&address);
    }
    hall_wait(hall, 2);
    test_settle(loop);
    test_advance(loop, KOLK_S(10));
    CHECK_INT(hall->came, 2);
    hall_leave(hall, 0);
    hall_wait(hall, 3);
    test_settle(loop);
    CHECK_INT(hall->came, 3);
    hall_leave(hall, 1);
    hall_leave(hall, 2);
    hall_wait(hall, 5);
    CHECK_INT(kolk_server_count(hall->server), 2);
}

TEST(a_transport_that_is_lost_makes_room_for_the_next)
{
    kolk_loop *loop = test_loop_open();
    const kolk_server_options options = {.limit = 1};
    struct hall *hall = hall_new(0, loop, &options);
    kolk_address address = hall_listen(hall, "127.0.0.1");
    int fds[4];

    hall->opens = true;
    for (int i = 0; i < 4; i++) {
        fds[i] = hall_knock(&address);
    }
    for (int i = 0; i < 4; i++) {
        hall_wait(hall, (size_t)i + 1);
        test_settle(loop);
        CHECK_INT(hall->came, i + 1);
        test_close(fds[i]);
    }
    test_settle(loop);
    CHECK_INT(hall->lost, 4);
}

/* ---- out of descriptors ---- */

/* asyncio logs hundreds of records a second, uvloop drops the clients. */
TEST(out_of_descriptors_is_said_once_and_tried_again_ever_more_seldom)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");
    static const struct {
        kolk_time time;
        int calls;
    } rows[] = {{KOLK_MS(99), 1},   {KOLK_MS(101), 2},  {KOLK_MS(299), 2},
                {KOLK_MS(301), 3},  {KOLK_MS(699), 3},  {KOLK_MS(701), 4},
                {KOLK_MS(1499), 4}, {KOLK_MS(1501), 5}, {KOLK_MS(2499), 5},
                {KOLK_MS(2501), 6}, {KOLK_MS(3501), 7}};

    reports_watch(loop);
    door_watch();
    door_fail(EMFILE, -1);
    (void)hall_knock(&address);
    test_settle(loop);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_advance(loop, rows[i].time);
        CHECK_INT(door.calls, rows[i].calls);
    }
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.error, -EMFILE);
    CHECK_REPORT("cannot accept");
    door_fail(0, 0);
    test_advance(loop, KOLK_MS(4501));
    CHECK_INT(hall->came, 1);

    /* It has worked in between, so it is said again; and it starts over. */
    door_fail(ENFILE, 1);
    (void)hall_knock(&address);
    test_advance(loop, KOLK_MS(4502));
    CHECK_INT(reports.count, 2);
    CHECK_INT(reports.error, -ENFILE);
    test_advance(loop, KOLK_MS(4602));
    CHECK_INT(hall->came, 2);
}

TEST(a_connection_that_goes_ends_the_pause)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    reports_watch(loop);
    (void)hall_knock(&address);
    hall_wait(hall, 1);
    door_watch();
    door_fail(EMFILE, 1);
    (void)hall_knock(&address);
    test_settle(loop);
    CHECK_INT(reports.count, 1);
    CHECK_INT(hall->came, 1);
    hall_leave(hall, 0);
    test_settle(loop);
    CHECK_INT(hall->came, 2);
    CHECK_INT(kolk_now(loop), 0);
}

TEST(a_pausing_server_can_be_closed)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    reports_watch(loop);
    door_watch();
    door_fail(ENOBUFS, -1);
    (void)hall_knock(&address);
    test_settle(loop);
    CHECK_INT(reports.count, 1);
    kolk_server_close(hall->server);
    test_advance(loop, KOLK_S(10));
    CHECK_INT(door.calls, 1);
    CHECK_INT(hall->closes, 1);
}

static void
close_hall(void)
{
    kolk_server_close(halls[0].server);
}

TEST(a_server_may_be_closed_by_whoever_is_told_of_its_trouble)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    reports_watch(loop);
    reports.then = close_hall;
    door_watch();
    door_fail(ENOMEM, -1);
    (void)hall_knock(&address);
    test_advance(loop, KOLK_S(10));
    CHECK_INT(reports.count, 1);
    CHECK_INT(hall->closes, 1);
}

/* The limit is the process's, as in earnest. */
static struct rlimit limit_before;

static void
limit_restore(void *unused)
{
    (void)unused;
    (void)setrlimit(RLIMIT_NOFILE, &limit_before);
}

TEST(a_client_without_a_descriptor_is_kept_waiting_and_then_served)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");
    struct rlimit limit;
    char byte = 0;

    reports_watch(loop);
    int first = hall_knock(&address);
    hall_wait(hall, 1);
    int second = hall_knock(&address);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
    test_later(limit_restore, NULL);
    limit = limit_before;
    limit.rlim_cur = (rlim_t)second + 1;
    for (int fd = 0; fd <= second; fd++) { /* leave no gap below */
        if (fcntl(fd, F_GETFD) < 0) {
            test_own(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, fd));
        }
    }
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);

    test_settle(loop);
    test_advance(loop, KOLK_S(30));
    CHECK_INT(hall->came, 1);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.error, -EMFILE);
    CHECK(recv(second, &byte, 1, MSG_DONTWAIT) < 0);
    CHECK_INT(errno, EAGAIN); /* neither refused nor reset */

    hall_leave(hall, 0);
    test_settle(loop);
    CHECK_INT(hall->came, 2);
    CHECK_INT(reports.count, 1);
    CHECK_INT(send(hall->guests[1], "x", 1, MSG_NOSIGNAL), 1);
    CHECK_INT(recv(second, &byte, 1, 0), 1);
    CHECK_INT(byte, 'x');
    CHECK_INT(recv(first, &byte, 1, 0), 0);
}

/* ---- other errors ---- */

TEST(a_connection_that_has_failed_before_is_skipped)
{
    static const int errors[] = {ECONNABORTED, EINTR,    EPROTO,
                                 EPERM,        ENETDOWN, EHOSTUNREACH};
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    reports_watch(loop);
    door_watch();
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        door_fail(errors[i], 2);
        (void)hall_knock(&address);
        hall_wait(hall, i + 1);
    }
    CHECK_INT(reports.count, 0);
    CHECK_INT(kolk_now(loop), 0);
}

/* A socket that was shut down is ready for ever, and accepts never. */
TEST(an_error_that_lasts_is_said_once_and_does_not_spin)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    int listener;

    (void)hall_listen(hall, "127.0.0.1");
    reports_watch(loop);
    door_watch();
    CHECK_INT(kolk_server_fds(hall->server, &listener, 1), 1);
    CHECK_INT(shutdown(listener, SHUT_RDWR), 0);
    test_advance(loop, KOLK_S(10));
    CHECK(door.calls >= 2 && door.calls <= 14);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.error, -EINVAL);
}

static int (*real_epoll_ctl)(int epfd, int op, int fd,
                             struct epoll_event *event);

static int
no_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (op == EPOLL_CTL_ADD) {
        errno = ENOSPC;
        return -1;
    }
    return real_epoll_ctl(epfd, op, fd, event);
}

TEST(sockets_that_cannot_be_watched_again_are_tried_later)
{
    kolk_loop *loop = test_loop_open();
    const kolk_server_options options = {.limit = 1};
    struct hall *hall = hall_new(0, loop, &options);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    reports_watch(loop);
    (void)hall_knock(&address);
    (void)hall_knock(&address);
    hall_wait(hall, 1);
    test_settle(loop);
    real_epoll_ctl = kolk__sys.epoll_ctl;
    kolk__sys.epoll_ctl = no_epoll_ctl;
    hall_leave(hall, 0);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.error, -ENOSPC);
    test_advance(loop, KOLK_MS(50));
    kolk__sys.epoll_ctl = real_epoll_ctl;
    CHECK_INT(hall->came, 1);
    test_advance(loop, KOLK_MS(150));
    CHECK_INT(hall->came, 2);
}

TEST(a_server_that_cannot_listen_says_so)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = place_parse("127.0.0.1", 0);

    CHECK_OK(kolk_server_bind(hall->server, &address));
    real_epoll_ctl = kolk__sys.epoll_ctl;
    kolk__sys.epoll_ctl = no_epoll_ctl;
    CHECK_ERR(kolk_server_start(hall->server), -ENOSPC);
    CHECK(!kolk_server_is_serving(hall->server));
    kolk__sys.epoll_ctl = real_epoll_ctl;
    CHECK_OK(kolk_server_start(hall->server));
}
