/* host_server.c - a host that takes connections.
 *
 * SPDX-License-Identifier: MIT
 *
 * Its server is an object of the language, which the loop holds as long as the
 * server serves, and to which the collector must find the way.
 */
#include "host.h"
#include "places.h"

static kolk_address server_address;

/* Finds a port that is free, and leaves it. */
static void
server_begin(void)
{
    server_address = place_parse("127.0.0.1", 0);
    int fd = place_bind(&server_address);

    test_close(fd);
    host_begin();
}

static void
server_knock(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    test_own(fd);
    CHECK_INT(connect(fd, (const struct sockaddr *)&server_address.storage,
                      server_address.size),
              0);
}

/* The language keeps the connection to itself. */
static void
server_take(host_object *self)
{
    host_server *server = (host_server *)self;

    (void)kolk__sys.close(server->fd);
    kolk_server_release(server->server);
}

static int
server_accepted(host_object *self)
{
    server_take(self);
    CHECK_INT(host_collect(), 0);
    return host_stop(self);
}

TEST(a_connection_runs_code_of_the_language_with_its_lock)
{
    server_begin();
    host_loop *loop = host_loop_new();
    host_object *server = host_new(loop, HOST_SERVER, 's', server_accepted);
    CHECK_OK(host_serve(server, &server_address));
    server_knock();
    CHECK_OK(host_run_or_tire(loop));
    server_knock();
    CHECK_OK(host_run_or_tire(loop));
    CHECK_STR(host_notes, "ss");
    CHECK(server->is_lent);
    host_cancel(server);
    CHECK_OK(host_run_once(loop));
    CHECK(!server->is_lent);
    CHECK_INT(server->drops, 1);
    host_unref(server);
    host_loop_unref(loop);
    host_end();
}

static int
server_raises(host_object *self)
{
    server_take(self);
    return host_raise(self);
}

TEST(an_exception_ends_the_run_and_the_next_ones_wait)
{
    server_begin();
    host_loop *loop = host_loop_new();
    host_object *server = host_new(loop, HOST_SERVER, 's', server_raises);
    CHECK_OK(host_serve(server, &server_address));
    for (int i = 0; i < 4; i++) {
        server_knock();
    }
    for (int i = 1; i <= 4; i++) {
        CHECK_INT(host_run_or_tire(loop), HOST_EXCEPTION);
        CHECK_INT(server->runs, i);
    }
    host_cancel(server);
    CHECK_OK(host_run_once(loop));
    host_unref(server);
    host_loop_unref(loop);
    host_end();
}

/* The loop leads to the object, the object to its loop, and nobody else to
 * either. */
TEST(a_collector_finds_the_cycle_of_a_loop_and_its_server)
{
    server_begin();
    host_loop *loop = host_loop_new();
    host_object *server = host_new(loop, HOST_SERVER, 's', server_accepted);
    CHECK_OK(host_serve(server, &server_address));
    host_unref(server);
    server_knock();
    CHECK_OK(host_run_or_tire(loop));
    CHECK_INT(host_collect(), 0);
    host_loop_unref(loop);
    CHECK_INT(host_collect(), 2);
    host_end();
}

TEST(closing_the_loop_gives_the_server_back)
{
    server_begin();
    host_loop *loop = host_loop_new();
    host_object *server = host_new(loop, HOST_SERVER, 's', server_accepted);
    CHECK_OK(host_serve(server, &server_address));
    server_knock();
    host_loop_close(loop);
    CHECK_INT(server->drops, 1);
    CHECK_INT(server->runs, 0);
    host_unref(server);
    host_loop_unref(loop);
    host_end();
}
