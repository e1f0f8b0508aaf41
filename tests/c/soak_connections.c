/* soak_connections.c - connections of each kind, ended in each way, by the
 * thousand.
 *
 * SPDX-License-Identifier: MIT
 */
#include "soak_place.h"

#include <fcntl.h>

struct stay {
    bool (*begin)(void);
    enum ending ending;
    const char *name;
};

static int
stay_main(void *arg)
{
    struct stay *stay = arg;

    if (stay->begin()) {
        soak_run(stay->name, 10000, visit, &stay->ending);
        serve_stop();
    }
    return 0;
}

static void
stay_run(bool (*begin)(void), enum ending ending, const char *name)
{
    struct stay stay = {begin, ending, name};

    tasks_run_real(stay_main, &stay);
}

TEST_TIME(nothing_is_left_of_tcp_connections_that_were_closed)
{
    stay_run(serve_tcp, CLOSED, "tcp, closed");
}

TEST_TIME(nothing_is_left_of_tcp_connections_that_were_aborted)
{
    stay_run(serve_tcp, ABORTED, "tcp, aborted");
}

TEST_TIME(nothing_is_left_of_tcp_connections_that_the_client_has_reset)
{
    stay_run(serve_tcp, RESET, "tcp, reset");
}

TEST_TIME(nothing_is_left_of_tcp_connections_that_were_half_closed)
{
    stay_run(serve_tcp, HALF_CLOSED, "tcp, half-closed");
}

TEST_TIME(nothing_is_left_of_tcp_connections_that_the_server_has_closed)
{
    stay_run(serve_tcp, LEFT, "tcp, closed by the server");
}

TEST_TIME(nothing_is_left_of_tcp_connections_that_the_server_has_reset)
{
    stay_run(serve_tcp, LEFT_RESET, "tcp, reset by the server");
}

TEST_TIME(nothing_is_left_of_unix_connections_that_were_closed)
{
    stay_run(serve_unix, CLOSED, "unix, closed");
}

TEST_TIME(nothing_is_left_of_unix_connections_that_were_aborted)
{
    stay_run(serve_unix, ABORTED, "unix, aborted");
}

TEST_TIME(nothing_is_left_of_unix_connections_that_were_half_closed)
{
    stay_run(serve_unix, HALF_CLOSED, "unix, half-closed");
}

TEST_TIME(nothing_is_left_of_unix_connections_that_the_server_has_closed)
{
    stay_run(serve_unix, LEFT, "unix, closed by the server");
}

/* ---- cancelled while connecting ---- */

/* A listener whose queue is full: it answers nobody. */
static kolk_address silent;
static int silent_family;

static bool
silent_begin(int family)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr *name = (const struct sockaddr *)&in;
    socklen_t size = sizeof in;
    kolk_address unix_name;

    if (family == AF_UNIX) {
        int length = snprintf(place.path + 1, sizeof place.path - 1,
                              "kolk-silent-%ld", (long)getpid());

        place.path_size = 1 + (size_t)length;
        CHECK_OK(kolk_address_unix(place.path, place.path_size, &unix_name));
        name = (const struct sockaddr *)&unix_name.storage;
        size = unix_name.size;
    }
    silent_family = family;
    silent.size = sizeof silent.storage;
    int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_own(listener);
    if (!CHECK_INT(bind(listener, name, size), 0)
        || !CHECK_INT(listen(listener, 0), 0)
        || !CHECK_INT(getsockname(listener, (struct sockaddr *)&silent.storage,
                                  &silent.size),
                      0)) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        test_own(fd);
        (void)!connect(fd, (const struct sockaddr *)&silent.storage,
                       silent.size); /* until they are too many */
    }
    return true;
}

static int
knock(void *unused)
{
    char service[8];

    (void)unused;
    if (silent_family == AF_UNIX) {
        return kolk_connect_unix(place.path, place.path_size);
    }
    (void)snprintf(service, sizeof service, "%d",
                   kolk_address_port(&silent) % 65536);
    return kolk_connect_to("127.0.0.1", service, NULL);
}

static void
knock_and_go(size_t number, void *arg)
{
    kolk_task *task;

    (void)arg;
    if (!CHECK_OK(kolk_spawn(knock, NULL, &task))) {
        return;
    }
    for (size_t i = 0; i < number % 4; i++) { /* at various moments */
        CHECK_OK(kolk_checkpoint());
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_ERR(kolk_await(task), -ECANCELED);
    kolk_future_unref(task);
}

static int
knock_main(void *arg)
{
    if (silent_begin(*(int *)arg)) {
        soak_run("cancelled while connecting", 10000, knock_and_go, NULL);
    }
    return 0;
}

TEST_TIME(nothing_is_left_of_tcp_connections_that_were_cancelled)
{
    int family = AF_INET;

    tasks_run_real(knock_main, &family);
}

TEST_TIME(nothing_is_left_of_unix_connections_that_were_cancelled)
{
    int family = AF_UNIX;

    tasks_run_real(knock_main, &family);
}

/* ---- without a server ---- */

static void
pair_and_part(size_t number, void *arg)
{
    kolk_stream *ends[2];
    char block[8] = {0};

    (void)arg;
    if (!CHECK_OK(kolk_stream_pair(ends))) {
        return;
    }
    CHECK_OK(kolk_stream_write(ends[0], "hello", 5));
    CHECK_OK(kolk_stream_read_exactly(ends[1], block, 5, NULL));
    CHECK_STR(block, "hello");
    switch (number % 4) {
    case 0:
        kolk_stream_abort(ends[0]);
        kolk_stream_abort(ends[1]);
        return;
    case 1:
        CHECK_OK(kolk_stream_write_eof(ends[0]));
        read_end(ends[1], false);
        break;
    case 2: /* not all is read */
        CHECK_OK(kolk_stream_write(ends[1], "more", 4));
        break;
    default:
        break;
    }
    (void)kolk_stream_close(ends[0]);
    (void)kolk_stream_close(ends[1]);
}

static int
pair_main(void *unused)
{
    (void)unused;
    soak_run("socket pairs", 10000, pair_and_part, NULL);
    return 0;
}

TEST_TIME(nothing_is_left_of_socket_pairs)
{
    tasks_run_real(pair_main, NULL);
}

static bool
pipe_open(kolk_stream *ends[2])
{
    kolk_stream_options reading = {.transport.read_only = true};
    kolk_stream_options writing = {.transport.write_only = true};
    int fds[2];

    if (!CHECK_INT(pipe2(fds, O_CLOEXEC), 0)) {
        return false;
    }
    if (!CHECK_OK(kolk_stream_open(fds[0], &reading, &ends[0]))) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return false;
    }
    if (!CHECK_OK(kolk_stream_open(fds[1], &writing, &ends[1]))) {
        kolk_stream_abort(ends[0]);
        (void)close(fds[1]);
        return false;
    }
    return true;
}

static void
pipe_and_end(size_t number, void *arg)
{
    kolk_stream *ends[2];
    char block[8] = {0};

    (void)arg;
    if (!pipe_open(ends)) {
        return;
    }
    CHECK_OK(kolk_stream_write(ends[1], "hello", 5));
    CHECK_OK(kolk_stream_read_exactly(ends[0], block, 5, NULL));
    CHECK_STR(block, "hello");
    if (number % 3 == 0) {
        CHECK_OK(kolk_stream_close(ends[1]));
        read_end(ends[0], false);
        (void)kolk_stream_close(ends[0]);
    } else if (number % 3 == 1) { /* the reader goes first */
        (void)kolk_stream_close(ends[0]);
        (void)kolk_stream_close(ends[1]);
    } else {
        kolk_stream_abort(ends[1]);
        kolk_stream_abort(ends[0]);
    }
}

static int
pipe_main(void *unused)
{
    (void)unused;
    soak_run("pipes", 10000, pipe_and_end, NULL);
    return 0;
}

TEST_TIME(nothing_is_left_of_pipes)
{
    tasks_run_real(pipe_main, NULL);
}
