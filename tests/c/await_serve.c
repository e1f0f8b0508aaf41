/* await_serve.c - servers with a task for each connection.
 *
 * SPDX-License-Identifier: MIT
 */
#include "reports.h"
#include "serving.h"

static int
tell_and_close(void *unused)
{
    (void)unused;
    if (!hall_open(NULL, echo_serve, NULL)) {
        return 0;
    }
    int fd = hall_enter();
    peer_say(fd, "hello");
    peer_hears(fd, "hello");
    CHECK_INT(kolk_server_count(hall.server), 1);
    CHECK(kolk_server_port(hall.server) > 0);
    peer_half_close(fd);
    CHECK_INT(peer_count_to_end(fd), 0);
    kolk_server_close(hall.server);
    CHECK_INT(kolk_server_port(hall.server), -EBADF);
    CHECK_OK(kolk_server_join(hall.server));
    CHECK_INT(hall.ended, 1);
    return 0;
}

TEST(each_connection_has_a_task_and_its_stream_is_closed_after_it)
{
    tasks_run_real(tell_and_close, NULL);
}

static int
many_main(void *unused)
{
    int fds[20];

    (void)unused;
    if (!hall_open(NULL, echo_serve, NULL)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        fds[i] = hall_enter();
        peer_say(fds[i], "x");
    }
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        peer_hears(fds[i], "x");
        peer_close(fds[i]);
    }
    kolk_server_close(hall.server);
    CHECK_OK(kolk_server_join(hall.server));
    CHECK_INT(hall.ended, 20);
    return 0;
}

TEST(a_server_that_is_closed_lets_its_clients_finish)
{
    tasks_run_real(many_main, NULL);
}

static int
limit_main(void *unused)
{
    kolk_serve_options options = {.server.limit = 1};

    (void)unused;
    if (!hall_open(&options, echo_serve, NULL)) {
        return 0;
    }
    int first = hall_enter(), second = hall_enter();
    peer_say(first, "1");
    peer_say(second, "2");
    peer_hears(first, "1");
    turns(20);
    CHECK_INT(hall.begun, 1); /* the second waits */
    peer_close(first);
    peer_hears(second, "2");
    peer_close(second);
    kolk_server_close(hall.server);
    CHECK_OK(kolk_server_join(hall.server));
    return 0;
}

TEST(no_more_tasks_than_the_limit_run)
{
    tasks_run_real(limit_main, NULL);
}

/* Goes on after its connection is lost, until it may end. */
static int
lingering_serve(kolk_stream *stream, void *arg)
{
    char byte;

    hall.begun++;
    while (kolk_stream_read(stream, &byte, 1) > 0) {
    }
    int err = kolk_join(arg);
    hall.ended++;
    return err;
}

static int
lingering_main(void *unused)
{
    kolk_serve_options options = {.server.limit = 1};
    kolk_future *gate = tasks_future();

    (void)unused;
    if (gate == NULL || !hall_open(&options, lingering_serve, gate)) {
        return 0;
    }
    int first = hall_enter();
    CHECK_OK(kolk_sleep(KOLK_MS(5)));
    CHECK_INT(hall.begun, 1);
    peer_reset(first);
    int second = hall_enter();
    CHECK_OK(kolk_sleep(KOLK_MS(5)));
    CHECK_INT(kolk_server_count(hall.server), 0);
    CHECK_INT(hall.begun, 1); /* the first task is still there */
    CHECK_OK(kolk_future_set_result(gate, 0, NULL));
    CHECK_OK(kolk_sleep(KOLK_MS(5)));
    CHECK_INT(hall.begun, 2);
    peer_close(second);
    kolk_server_close(hall.server);
    CHECK_OK(kolk_server_join(hall.server));
    CHECK_INT(hall.ended, 2);
    return 0;
}

TEST(the_limit_is_for_tasks_whose_connection_is_lost_as_well)
{
    tasks_run_real(lingering_main, NULL);
}

static int
values_serve(kolk_stream *stream, void *arg)
{
    (void)stream;
    hall.begun++;
    hall.seen = kolk_var_get(arg);
    return 0;
}

static int
values_main(void *arg)
{
    static char mine[] = "mine", later[] = "later";
    const kolk_var *var = arg;

    CHECK_OK(kolk_var_set(var, mine, NULL));
    if (!hall_open(NULL, values_serve, arg)) {
        return 0;
    }
    CHECK_OK(kolk_var_set(var, later, NULL));
    CHECK_INT(peer_count_to_end(hall_enter()), 0);
    CHECK_INT(hall.begun, 1);
    CHECK_PTR(hall.seen, mine);
    return 0;
}

TEST(tasks_have_the_values_of_whoever_began_to_serve)
{
    static kolk_var var = {.name = "var"};

    tasks_run_real(values_main, &var);
}

/* ---- ends ---- */

static int
join_run(void *unused)
{
    (void)unused;
    return kolk_server_join(hall.server);
}

/* A client that never leaves, and a task that is cancelled while it waits for
 * that, in `wait`. */
static void
cancelled_in(kolk_task_fn *wait, bool is_closed)
{
    kolk_task *task;

    if (!hall_open(NULL, echo_serve, NULL)) {
        return;
    }
    int fd = hall_enter();
    peer_say(fd, "here");
    peer_hears(fd, "here");
    if (is_closed) {
        kolk_server_close(hall.server);
    }
    if (!CHECK_OK(kolk_spawn(wait, NULL, &task))) {
        return;
    }
    turns(5);
    CHECK(!kolk_future_is_done(task));
    (void)kolk_task_cancel(task);
    CHECK_ERR(kolk_await(task), -ECANCELED);
    kolk_task_detach(task);
    CHECK_INT(hall.ended, 1);
    CHECK_INT(hall.last, -ECANCELED);
    CHECK_INT(kolk_server_count(hall.server), 0);
    CHECK(!kolk_server_is_serving(hall.server));
}

static int
join_cancelled(void *unused)
{
    (void)unused;
    cancelled_in(join_run, true);
    return 0;
}

TEST(a_join_that_is_cancelled_ends_the_connections_that_are_left)
{
    tasks_run_real(join_cancelled, NULL);
}

static int
forever_run(void *unused)
{
    (void)unused;
    return kolk_serve_forever(hall.server);
}

static int
forever_cancelled(void *unused)
{
    (void)unused;
    cancelled_in(forever_run, false);
    return 0;
}

TEST(serving_forever_ends_when_its_task_is_cancelled)
{
    tasks_run_real(forever_cancelled, NULL);
}

static int
forever_closed(void *unused)
{
    kolk_task *task;

    (void)unused;
    if (!hall_open(NULL, echo_serve, NULL)
        || !CHECK_OK(kolk_spawn(forever_run, NULL, &task))) {
        return 0;
    }
    int fd = hall_enter();
    peer_say(fd, "x");
    peer_hears(fd, "x");
    kolk_server_close(hall.server);
    turns(5);
    CHECK(!kolk_future_is_done(task)); /* a client is left */
    peer_close(fd);
    CHECK_OK(kolk_await(task));
    kolk_task_detach(task);
    return 0;
}

TEST(serving_forever_ends_when_the_server_is_closed)
{
    tasks_run_real(forever_closed, NULL);
}

static int
join_early(void *unused)
{
    kolk_task *task;

    (void)unused;
    if (!hall_open(NULL, echo_serve, NULL)
        || !CHECK_OK(kolk_spawn(join_run, NULL, &task))) {
        return 0;
    }
    turns(3);
    (void)kolk_task_cancel(task);
    CHECK_ERR(kolk_await(task), -ECANCELED);
    kolk_task_detach(task);
    CHECK(kolk_server_is_serving(hall.server));
    int fd = hall_enter();
    peer_say(fd, "still");
    peer_hears(fd, "still");
    return 0; /* the loop's closing ends it */
}

TEST(a_join_that_is_cancelled_leaves_a_server_alone_that_serves)
{
    tasks_run_real(join_early, NULL);
    CHECK_INT(hall.ended, 1);
}

static int
abort_main(void *unused)
{
    (void)unused;
    if (!hall_open(NULL, echo_serve, NULL)) {
        return 0;
    }
    int fd = hall_enter();
    peer_say(fd, "x");
    peer_hears(fd, "x");
    kolk_server_close(hall.server);
    kolk_server_abort_clients(hall.server);
    CHECK_OK(kolk_server_join(hall.server));
    CHECK_INT(hall.ended, 1);
    return 0;
}

TEST(tasks_of_aborted_clients_end)
{
    tasks_run_real(abort_main, NULL);
}

/* ---- failures ---- */

static int
failing_main(void *unused)
{
    static int result = -EDOM;

    (void)unused;
    reports_watch(kolk_current_loop());
    if (!hall_open(NULL, echo_serve, &result)) {
        return 0;
    }
    int fd = hall_enter();
    peer_say(fd, "x");
    peer_hears(fd, "x");
    peer_close(fd);
    kolk_server_close(hall.server);
    CHECK_OK(kolk_server_join(hall.server));
    return 0;
}

TEST(what_a_handler_fails_with_is_reported)
{
    tasks_run_real(failing_main, NULL);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.error, -EDOM);
    CHECK_STR(reports.task, "connection");
}

static int
reset_main(void *unused)
{
    (void)unused;
    reports_watch(kolk_current_loop());
    if (!hall_open(NULL, echo_serve, NULL)) {
        return 0;
    }
    int fd = hall_enter();
    peer_say(fd, "x");
    peer_hears(fd, "x");
    peer_reset(fd);
    kolk_server_close(hall.server);
    CHECK_OK(kolk_server_join(hall.server));
    CHECK_INT(hall.last, -ECONNRESET);
    return 0;
}

TEST(a_peer_that_resets_is_no_failure)
{
    tasks_run_real(reset_main, NULL);
    CHECK_INT(reports.count, 0);
}

static int
refused_main(void *unused)
{
    kolk_server *second = NULL;
    char service[16];

    (void)unused;
    if (!hall_open(NULL, echo_serve, NULL)) {
        return 0;
    }
    (void)snprintf(service, sizeof service, "%d",
                   kolk_server_port(hall.server));
    CHECK_ERR(kolk_serve("127.0.0.1", service, NULL, echo_serve, NULL, &second),
              -EADDRINUSE);
    CHECK_ERR(kolk_serve("192.0.2.1", "0", NULL, echo_serve, NULL, &second),
              -EADDRNOTAVAIL);
    CHECK(kolk_serve("127.0.0.1", "no such", NULL, echo_serve, NULL, &second)
          < 0);
    CHECK_PTR(second, NULL);
    return 0;
}

TEST(what_cannot_be_bound_is_an_error_and_leaves_nothing)
{
    tasks_run(refused_main, NULL);
    CHECK_ERR(
        kolk_serve("127.0.0.1", "0", NULL, echo_serve, NULL, &hall.server),
        -KOLK_EMISUSE);
}

static int
silent_serve(kolk_stream *stream, void *arg)
{
    (void)arg;
    return kolk_stream_write(stream, "all of this is sent\n", 20);
}

static int
unix_main(void *unused)
{
    char name[64] = "";
    kolk_address address;

    (void)unused;
    int length = snprintf(name + 1, sizeof name - 1, "kolk-serve-%d", getpid());
    size_t size = 1 + (size_t)length;
    CHECK_OK(kolk_address_unix(name, size, &address));
    int err =
        kolk_serve_unix(name, size, NULL, silent_serve, NULL, &hall.server);
    if (!CHECK_OK(err)) {
        return 0;
    }
    test_later(hall_leave, NULL);
    int fd = peer_connect(&address);
    peer_hears(fd, "all of this is sent\n");
    CHECK_INT(peer_count_to_end(fd), 0);
    CHECK_INT(kolk_server_port(hall.server), 0);
    return 0;
}

TEST(what_a_handler_has_written_is_delivered_after_it_has_returned)
{
    tasks_run_real(unix_main, NULL);
}

static int
not_started_main(void *unused)
{
    kolk_serve_options options = {.server.not_started = true};

    (void)unused;
    if (!hall_open(&options, echo_serve, NULL)) {
        return 0;
    }
    CHECK(!kolk_server_is_serving(hall.server));
    CHECK_OK(kolk_server_start(hall.server));
    int fd = hall_enter();
    peer_say(fd, "x");
    peer_hears(fd, "x");
    return 0;
}

TEST(a_server_may_be_started_later)
{
    tasks_run_real(not_started_main, NULL);
}

static int
no_memory_main(void *unused)
{
    kolk_serve_options options = {.stack_size = 1}; /* no stack is so small */

    (void)unused;
    reports_watch(kolk_current_loop());
    if (!hall_open(&options, echo_serve, NULL)) {
        return 0;
    }
    int fd = hall_enter();
    CHECK(peer_count_to_end(fd) <= 0);
    CHECK_INT(hall.begun, 0);
    CHECK_INT(reports.count, 1);
    CHECK_REPORT("a connection is not served");
    return 0;
}

TEST(a_connection_for_which_there_is_no_task_is_closed_and_reported)
{
    tasks_run_real(no_memory_main, NULL);
}
