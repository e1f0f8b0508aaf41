/* net_server.c - the life of a server, its sockets, its connections.
 *
 * SPDX-License-Identifier: MIT
 */
#include "hall.h"
#include "op_kit.h"

#include <sys/wait.h>

static int
get_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;

    CHECK_INT(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

/* ---- accepting ---- */

TEST(a_connection_is_ready_for_use_and_known_by_its_address)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");
    kolk_address client = {.size = sizeof client.storage};

    int fd = hall_knock(&address);
    CHECK_INT(hall->came, 0);
    hall_wait(hall, 1);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&client.storage, &client.size),
              0);
    CHECK(kolk_address_equal(&hall->peer, &client));
    CHECK((fcntl(hall->guests[0], F_GETFL) & O_NONBLOCK) != 0);
    CHECK((fcntl(hall->guests[0], F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(get_option(hall->guests[0], IPPROTO_TCP, TCP_NODELAY) != 0);
    CHECK_INT(get_option(hall->guests[0], SOL_SOCKET, SO_KEEPALIVE), 0);
    CHECK_INT(kolk_server_count(hall->server), 1);
    CHECK(kolk_server_is_serving(hall->server));
    CHECK_PTR(kolk_server_loop(hall->server), loop);
    hall_leave(hall, 0);
    CHECK_INT(kolk_server_count(hall->server), 0);
}

TEST(connections_have_the_options_that_were_asked_for)
{
    kolk_loop *loop = test_loop_open();
    const kolk_server_options options = {.keep_alive = true, .backlog = 5};
    struct hall *hall = hall_new(0, loop, &options);
    kolk_address address = hall_listen(hall, "::1");
    int listener;

    (void)hall_knock(&address);
    hall_wait(hall, 1);
    CHECK(get_option(hall->guests[0], SOL_SOCKET, SO_KEEPALIVE) != 0);
    CHECK(get_option(hall->guests[0], IPPROTO_TCP, TCP_NODELAY) != 0);
    CHECK_INT(kolk_server_fds(hall->server, &listener, 1), 1);
    CHECK(get_option(listener, IPPROTO_IPV6, IPV6_V6ONLY) != 0);
    CHECK(get_option(listener, SOL_SOCKET, SO_REUSEADDR) != 0);
    CHECK((fcntl(listener, F_GETFD) & FD_CLOEXEC) != 0);
}

TEST(a_server_listens_on_several_sockets)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address first = hall_listen(hall, "127.0.0.1");
    kolk_address late = hall_listen(hall, "127.0.0.2");
    int fds[4] = {-1, -1, -1, -1};

    CHECK_INT(kolk_server_fds(hall->server, NULL, 0), 2);
    CHECK_INT(kolk_server_fds(hall->server, fds, 1), 2);
    CHECK_INT(fds[1], -1);
    CHECK_INT(kolk_server_fds(hall->server, fds, 4), 2);
    CHECK(fds[0] >= 0 && fds[1] >= 0 && fds[2] == -1);
    (void)hall_knock(&late);
    hall_wait(hall, 1);
    (void)hall_knock(&first);
    (void)hall_knock(&late);
    hall_wait(hall, 3);
    CHECK_INT(kolk_server_count(hall->server), 3);
}

TEST(nobody_is_let_in_before_the_start)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = place_parse("127.0.0.1", 0);

    int fd = kolk_server_bind(hall->server, &address);
    CHECK_OK(fd);
    CHECK_INT(
        getsockname(fd, (struct sockaddr *)&address.storage, &address.size), 0);
    CHECK(!kolk_server_is_serving(hall->server));
    CHECK(!hall_answers(&address));
    CHECK_OK(kolk_server_start(hall->server));
    CHECK_OK(kolk_server_start(hall->server));
    CHECK(kolk_server_is_serving(hall->server));
    (void)hall_knock(&address);
    hall_wait(hall, 1);
}

TEST(two_servers_share_a_port_if_both_want_to)
{
    kolk_loop *loop = test_loop_open();
    const kolk_server_options options = {.reuse_port = true};
    struct hall *hall = hall_new(0, loop, &options);
    struct hall *second = hall_new(1, loop, &options);
    struct hall *third = hall_new(2, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    CHECK_OK(kolk_server_bind(second->server, &address));
    CHECK_OK(kolk_server_start(second->server));
    CHECK_ERR(kolk_server_bind(third->server, &address), -EADDRINUSE);
    CHECK_INT(kolk_server_fds(third->server, NULL, 0), 0);
    for (int i = 0; i < 64; i++) {
        (void)hall_knock(&address);
    }
    for (int i = 0; i < 100 && hall->came + second->came < 64; i++) {
        CHECK_OK(kolk_run_once(loop));
    }
    CHECK_INT(hall->came + second->came, 64);
    CHECK(hall->came > 0 && second->came > 0);
}

TEST(an_address_that_cannot_be_had_is_an_error)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    int count = place_count_sockets();
    kolk_address nobodys = place_parse("203.0.113.1", 0);
    kolk_address none = {.size = 2, .storage = {.ss_family = AF_MAX}};

    CHECK_ERR(kolk_server_bind(hall->server, &nobodys), -EADDRNOTAVAIL);
    CHECK_ERR(kolk_server_bind(hall->server, &none), -EAFNOSUPPORT);
    CHECK_INT(place_count_sockets(), count);
    CHECK_OK(kolk_server_start(hall->server)); /* no socket, no clients */
}

/* ---- sockets of somebody else's making ---- */

TEST(a_bound_socket_may_be_given_to_a_server)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = place_parse("127.0.0.1", 0);
    int fd = place_bind(&address); /* blocking */

    CHECK_OK(kolk_server_add_fd(hall->server, fd));
    test_disown(fd);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK_OK(kolk_server_start(hall->server));
    (void)hall_knock(&address);
    hall_wait(hall, 1);
    CHECK(get_option(hall->guests[0], IPPROTO_TCP, TCP_NODELAY) != 0);
    kolk_server_close(hall->server);
    CHECK(fcntl(fd, F_GETFD) < 0);
}

TEST(what_is_no_stream_socket_stays_the_callers)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    int fds[2];

    test_pipe(fds);
    int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(datagrams >= 0);
    test_own(datagrams);
    CHECK_ERR(kolk_server_add_fd(hall->server, fds[0]), -ENOTSOCK);
    CHECK_ERR(kolk_server_add_fd(hall->server, datagrams), -EINVAL);
    CHECK_ERR(kolk_server_add_fd(hall->server, -1), -EBADF);
    CHECK_OK(kolk_server_start(hall->server));
    test_socketpair(fds);
    CHECK_ERR(kolk_server_add_fd(hall->server, fds[0]), -EINVAL); /* listen */
    CHECK_INT(kolk_server_fds(hall->server, NULL, 0), 0);
    CHECK(fcntl(fds[0], F_GETFD) >= 0);
}

/* ---- closing ---- */

TEST(a_closed_server_tells_when_its_last_connection_has_gone)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    place_watch_closes();
    (void)hall_knock(&address);
    (void)hall_knock(&address);
    hall_wait(hall, 2);
    kolk_server_close(hall->server);
    kolk_server_close(hall->server);
    CHECK(!kolk_server_is_serving(hall->server));
    CHECK(!hall_answers(&address));
    CHECK_INT(kolk_server_fds(hall->server, NULL, 0), 0);
    CHECK_ERR(kolk_server_start(hall->server), -ESHUTDOWN);
    CHECK_ERR(kolk_server_bind(hall->server, &address), -ESHUTDOWN);
    CHECK_ERR(kolk_server_add_fd(hall->server, 0), -ESHUTDOWN);
    hall_leave(hall, 0);
    test_settle(loop);
    CHECK_INT(hall->closes, 0);
    hall_leave(hall, 1);
    CHECK_INT(hall->closes, 0); /* never inside a call */
    test_settle(loop);
    CHECK_INT(hall->closes, 1);
    kolk_server_close(hall->server);
    kolk_server_release(hall->server);
    test_settle(loop);
    CHECK_INT(hall->closes, 1);
    CHECK_INT(kolk_server_count(hall->server), 0);
}

TEST(a_server_without_connections_tells_soon)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);

    kolk_server_close(hall->server);
    CHECK_INT(hall->closes, 0);
    test_settle(loop);
    CHECK_INT(hall->closes, 1);
}

TEST(a_server_may_be_closed_by_the_connection_it_has_just_taken)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    hall->closes_at = 2;
    for (int i = 0; i < 8; i++) {
        (void)hall_knock(&address);
    }
    hall_wait(hall, 2);
    test_settle(loop);
    CHECK_INT(hall->came, 2);
    CHECK_INT(hall->closes, 0);
    hall_leave(hall, 0);
    hall_leave(hall, 1);
    test_settle(loop);
    CHECK_INT(hall->closes, 1);
}

TEST(a_server_may_lose_its_last_reference_inside_its_callback)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    hall->closes_at = 2;
    hall->unrefs = true;
    hall->opens = true;
    int first = hall_knock(&address), second = hall_knock(&address);
    hall_wait(hall, 2);
    CHECK_PTR(hall->server, NULL);
    test_settle(loop);
    CHECK_INT(hall->closes, 0);
    test_close(first);
    test_close(second);
    test_settle(loop);
    CHECK_INT(hall->lost, 2);
    CHECK_INT(hall->closes, 1);
}

TEST(a_server_that_serves_goes_on_without_a_reference)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    kolk_server_unref(hall->server);
    hall->server = NULL;
    (void)hall_knock(&address);
    hall_wait(hall, 1);
}

TEST(a_server_that_was_never_started_goes_with_its_last_reference)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    int count = place_count_sockets();
    kolk_address address = place_parse("127.0.0.1", 0);

    CHECK_OK(kolk_server_bind(hall->server, &address));
    CHECK_PTR(kolk_server_ref(hall->server), hall->server);
    kolk_server_unref(hall->server);
    CHECK_INT(place_count_sockets(), count + 1);
    kolk_server_unref(hall->server);
    hall->server = NULL;
    CHECK_INT(place_count_sockets(), count);
    test_settle(loop);
    CHECK_INT(hall->closes, 0);
    kolk_server_unref(NULL);
}

/* ---- connections that are transports ---- */

TEST(transports_are_counted_until_they_are_lost)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    hall->opens = true;
    int first = hall_knock(&address), second = hall_knock(&address);
    hall_wait(hall, 2);
    CHECK_INT(kolk_server_count(hall->server), 2);
    test_close(first);
    test_settle(loop);
    CHECK_INT(hall->lost, 1);
    CHECK_INT(kolk_server_count(hall->server), 1);
    kolk_server_close(hall->server);
    test_close(second);
    test_settle(loop);
    CHECK_INT(hall->lost, 2);
    CHECK_INT(hall->closes, 1);
}

TEST(the_connections_of_a_server_can_be_closed_or_aborted)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");
    char byte;

    hall->opens = true;
    int fd = hall_knock(&address);
    (void)hall_knock(&address);
    hall_wait(hall, 2);
    kolk_server_close_clients(hall->server);
    test_settle(loop);
    CHECK_INT(hall->lost, 2);
    CHECK_INT(recv(fd, &byte, 1, 0), 0);
    CHECK_INT(kolk_server_count(hall->server), 0);
    CHECK(kolk_server_is_serving(hall->server));

    (void)hall_knock(&address);
    hall_wait(hall, 3);
    kolk_server_close(hall->server);
    kolk_server_abort_clients(hall->server);
    kolk_server_close_clients(hall->server);
    test_settle(loop);
    CHECK_INT(hall->lost, 3);
    CHECK_INT(hall->closes, 1);
}

static void
abort_rest(struct hall *self)
{
    if (self->server != NULL) { /* else the test has ended */
        kolk_server_abort_clients(self->server);
        kolk_server_close(self->server);
    }
}

TEST(a_lost_connection_may_end_all_others)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");

    hall->opens = true;
    hall->on_lost = abort_rest;
    int fd = hall_knock(&address);
    (void)hall_knock(&address);
    (void)hall_knock(&address);
    hall_wait(hall, 3);
    test_close(fd);
    test_settle(loop);
    CHECK_INT(hall->lost, 3);
    CHECK_INT(hall->closes, 1);
}

/* ---- the loop ---- */

struct hall_visitor {
    kolk_visitor visitor;
    const kolk_server *server;
    int shown;
};

static int
hall_visit(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    struct hall_visitor *self =
        KOLK_CONTAINER_OF(visitor, struct hall_visitor, visitor);

    self->shown += kind == KOLK_NODE_SERVER && node == self->server;
    return 0;
}

static int
hall_shown(const struct hall *hall)
{
    struct hall_visitor visitor = {.visitor = {hall_visit},
                                   .server = hall->server};

    CHECK_INT(kolk_loop_visit(hall->loop, &visitor.visitor), 0);
    return visitor.shown;
}

TEST(a_server_is_shown_once_until_it_has_told_its_end)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);

    CHECK_INT(hall_shown(hall), 1);
    kolk_address address = hall_listen(hall, "127.0.0.1");
    (void)hall_knock(&address);
    hall_wait(hall, 1);
    CHECK_INT(hall_shown(hall), 1);
    kolk_server_close(hall->server);
    CHECK_INT(hall_shown(hall), 1);
    hall_leave(hall, 0);
    CHECK_INT(hall_shown(hall), 1);
    test_settle(loop);
    CHECK_INT(hall->closes, 1);
    CHECK_INT(hall_shown(hall), 0);
}

TEST(a_loop_that_is_closed_tells_each_server_once)
{
    kolk_loop *loop = test_loop_open();
    struct hall *open = hall_new(0, loop, NULL);
    struct hall *full = hall_new(1, loop, NULL);
    struct hall *closed = hall_new(2, loop, NULL);
    struct hall *talking = hall_new(3, loop, NULL);
    kolk_address address = hall_listen(full, "127.0.0.1");
    kolk_address other = hall_listen(talking, "127.0.0.1");

    place_watch_closes();
    talking->opens = true;
    (void)hall_listen(open, "127.0.0.1");
    (void)hall_knock(&address);
    (void)hall_knock(&other);
    hall_wait(full, 1);
    hall_wait(talking, 1);
    kolk_server_close(closed->server);
    test_loop_close(loop);
    CHECK_INT(open->closes, 1);
    CHECK_INT(full->closes, 1);
    CHECK_INT(closed->closes, 1);
    CHECK_INT(talking->closes, 1);
    CHECK_INT(talking->lost, 1);
    CHECK_INT(kolk_server_count(full->server), 1);
    hall_leave(full, 0);
    CHECK_INT(kolk_server_count(full->server), 0);
    CHECK_INT(full->closes, 1);
    kolk_server_close(open->server);
    kolk_server_close_clients(open->server);
    CHECK_ERR(kolk_server_start(open->server), -ESHUTDOWN);
}

static void
unref_on_close(kolk_server *server)
{
    struct hall *self = kolk_server_owner(server);

    self->closes++;
    self->server = NULL;
    kolk_server_unref(server);
}

TEST(a_server_may_be_given_up_when_it_tells_its_end)
{
    static const kolk_server_ops ops = {.accepted = hall_accepted,
                                        .closed = unref_on_close};

    for (int i = 0; i < 2; i++) {
        kolk_loop *loop = test_loop_open();
        struct hall *hall = &halls[i];

        *hall = (struct hall){.loop = loop};
        CHECK_OK(kolk_server_new(loop, NULL, &ops, hall, &hall->server));
        if (i == 0) {
            kolk_server_close(hall->server);
            test_settle(loop);
            CHECK_INT(hall->closes, 1);
        }
        test_loop_close(loop);
        CHECK_INT(hall->closes, 1);
    }
}

TEST(a_child_of_the_loops_process_closes_its_copies_only)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");
    int status = 0;

    pid_t child = fork();
    if (child == 0) {
        kolk_server *server;
        bool is_refused =
            kolk_server_new(loop, NULL, &hall_ops, hall, &server) == -KOLK_EFORK
            && kolk_server_start(hall->server) == -KOLK_EFORK
            && kolk_server_bind(hall->server, &address) == -KOLK_EFORK;
        bool is_closed = kolk_loop_close(loop) == 0 && hall->closes == 1
                         && kolk_server_fds(hall->server, NULL, 0) == 0;
        _exit(is_refused && is_closed ? 0 : 1);
    }
    CHECK(child > 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    (void)hall_knock(&address);
    hall_wait(hall, 1);
    CHECK_INT(hall->closes, 0);
}

/* A number that was closed behind the loop's back, with a receive waiting. */
TEST(an_accepted_socket_hears_nothing_of_the_former_file)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = hall_listen(hall, "127.0.0.1");
    struct test_op op;
    char byte;
    int fds[2];

    (void)hall_knock(&address);
    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
    CHECK_INT(hall->came, 0);
    test_close(fds[0]);
    hall_wait(hall, 1);
    CHECK_INT(hall->guests[0], fds[0]);
    CHECK(test_op_wait(&op) < 0);
}
