/* await_connect.c - connections made by tasks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "names.h"
#include "places.h"
#include "tasks.h"

#include <kolk/connect.h>
#include <kolk/pool.h>
#include <kolk/scope.h>

static const struct name table[] = {
    {.host = "mixed", .addresses = {"127.0.0.2", "127.0.0.3", "127.0.0.1"}},
    {.host = "silent", .addresses = {"127.0.0.2"}},
    {.host = "slow", .addresses = {"127.0.0.1"}, .is_slow = true},
    {.host = "noname", .code = EAI_NONAME},
    {0},
};

static char port_text[8];

static void
set_port(uint16_t port)
{
    (void)snprintf(port_text, sizeof port_text, "%u", (unsigned)port);
}

/* Opens the places of the names, all on one port. */
static void
open_places(void)
{
    kolk_address good = place_good("127.0.0.1", 0, NULL);

    set_port(kolk_address_port(&good));
    (void)place_silent("127.0.0.2", kolk_address_port(&good));
    (void)place_bad("127.0.0.3", kolk_address_port(&good));
    names_begin(table);
    place_watch_closes();
}

/* Where calls fail, only silent places may be left, so patience has an end. */
static kolk_time
patience_delay(void)
{
    return test_is_hard() ? KOLK_S(15) : KOLK_NEVER;
}

static int
dial(void *arg)
{
    KOLK_TIMEOUT(patience, patience_delay());
    int result = kolk_connect_to(arg, port_text, NULL);

    return place_own(kolk_timeout_end(&patience, result));
}

static int
dial_all(void *arg)
{
    int fd = dial("mixed");

    (void)arg;
    CHECK_INT(kolk_now(NULL), KOLK_MS(250));
    if (CHECK_OK(fd)) {
        CHECK_INT(kolk_send(fd, "x", 1, 0), 1);
    }
    CHECK_OK(dial("127.0.0.1"));
    CHECK_ERR(dial("127.0.0.3"), -ECONNREFUSED);
    CHECK_INT(kolk_resolve_code(dial("noname")), EAI_NONAME);
    return 0;
}

TEST(a_task_gets_a_connected_socket)
{
    open_places();
    (void)tasks_run(dial_all, NULL);
}

static int
dial_and_cancel(void *arg)
{
    int count = place_count_sockets();
    kolk_task *task = tasks_spawn(dial, arg);

    if (task == NULL || !CHECK_OK(kolk_sleep(KOLK_S(1)))) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_INT(kolk_await(task), -ECANCELED);
    CHECK_INT(place_count_sockets(), count);
    return 0;
}

TEST(a_cancelled_task_leaves_no_socket)
{
    open_places();
    (void)tasks_run(dial_and_cancel, "silent");
}

static int
dial_slow_and_cancel(void *arg)
{
    kolk_task *task = tasks_spawn(dial, "slow");

    (void)arg;
    if (task == NULL || !CHECK_OK(kolk_checkpoint())) {
        return 0;
    }
    names_wait(&names.begun, 1);
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_INT(kolk_await(task), -ECANCELED);
    CHECK_INT(names_get(&names.answered), 0);
    names_open(NULL);
    return 0;
}

TEST(a_task_cancelled_during_the_lookup_does_not_wait_for_it)
{
    open_places();
    (void)tasks_run_real(dial_slow_and_cancel, NULL);
}

/* Cancels a task that connects after it has had so many turns. */
static int
dial_for_turns(void *arg)
{
    int turns = *(int *)arg;
    int count = place_count_sockets();
    kolk_task *task = tasks_spawn(dial, "127.0.0.1");

    if (task == NULL) {
        return 0;
    }
    tasks_pass(turns);
    (void)kolk_task_cancel(task);
    int result = kolk_await(task);
    if (result >= 0) {
        test_close(result);
    } else {
        CHECK_INT(result, -ECANCELED);
    }
    CHECK_INT(place_count_sockets(), count);
    return 0;
}

TEST(a_task_cancelled_at_any_turn_gets_a_socket_or_none_is_left)
{
    open_places();
    for (int turns = 0; turns < 8; turns++) {
        (void)tasks_run(dial_for_turns, &turns);
    }
}

static int
dial_in_time(void *arg)
{
    kolk_timeout timeout;

    (void)arg;
    if (!CHECK_OK(kolk_timeout_begin(&timeout, kolk_now(NULL) + KOLK_S(2)))) {
        return 0;
    }
    int result = dial("silent");
    CHECK_INT(kolk_timeout_end(&timeout, result), -ETIMEDOUT);
    CHECK_INT(kolk_now(NULL), KOLK_S(2));
    return 0;
}

TEST(connecting_may_have_a_timeout)
{
    open_places();
    (void)tasks_run(dial_in_time, NULL);
}

static int
dial_refused(void *arg)
{
    (void)arg;
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_INT(dial("127.0.0.1"), -ECANCELED);
    CHECK_INT(kolk_connect_unix("x", 1), -ECANCELED);
    return 0;
}

TEST(a_pending_request_refuses_to_connect)
{
    open_places();
    (void)tasks_run(dial_refused, NULL);
}

TEST(outside_of_a_task_it_is_misuse)
{
    (void)test_loop_open();
    CHECK_ERR(kolk_connect_to("127.0.0.1", "1", NULL), -KOLK_EMISUSE);
    CHECK_ERR(kolk_connect_unix("x", 1), -KOLK_EMISUSE);
}

/* ---- Unix sockets ---- */

static int
dial_unix(void *arg)
{
    const kolk_address *address = arg;
    const size_t before = offsetof(struct sockaddr_un, sun_path);

    return place_own(kolk_connect_unix((const char *)&address->storage + before,
                                       address->size - before));
}

static int
dial_full(void *arg)
{
    int listener;
    kolk_address full = place_full("await", &listener);
    kolk_address nobody = place_unix_name("nobody");
    kolk_task *task = tasks_spawn(dial_unix, &full);

    (void)arg;
    if (task == NULL || !CHECK_OK(kolk_sleep(KOLK_S(3)))) {
        return 0;
    }
    CHECK(!kolk_future_is_done(task));
    (void)place_accept(listener);
    CHECK_OK(kolk_await(task));
    CHECK_ERR(dial_unix(&nobody), -ECONNREFUSED);
    CHECK_ERR(kolk_connect_unix("/nonesuch/socket", 16), -ENOENT);
    CHECK_ERR(kolk_connect_unix("", 0), -EINVAL);
    task = tasks_spawn(dial_unix, &full);
    if (task == NULL || !CHECK_OK(kolk_sleep(KOLK_S(3)))) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_INT(kolk_await(task), -ECANCELED);
    return 0;
}

TEST(a_full_unix_socket_is_waited_for)
{
    place_watch_closes();
    (void)tasks_run(dial_full, NULL);
}

/* ---- a loop that is closed ---- */

static int
dial_stubbornly(void *arg)
{
    KOLK_SHIELD(shield);

    for (;;) {
        int result = dial(arg);

        if (kit_failures() > 0 || result != -ECONNREFUSED) {
            return 0;
        }
    }
}

/* A task that is dropped keeps what it was just given, so which of its steps is
 * the last one must not depend on calls that fail. */
TEST_TIME(a_connection_of_a_task_that_is_dropped_is_closed)
{
    open_places();
    kolk_loop *loop = test_loop_open();
    kolk_task *task;

    CHECK_OK(kolk_spawn_with(loop, NULL, dial_stubbornly, "127.0.0.3", &task));
    test_loop_close(loop);
    kolk_future_unref(task);
}
