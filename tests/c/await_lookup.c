/* await_lookup.c - names looked up by tasks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "names.h"
#include "tasks.h"

#include <kolk/lookup.h>
#include <kolk/pool.h>
#include <kolk/scope.h>

static const struct name table[] = {
    {.host = "one", .addresses = {"192.0.2.1"}},
    {.host = "two", .addresses = {"2001:db8::1", "192.0.2.2"}},
    {.host = "slow", .addresses = {"192.0.2.3"}, .is_slow = true},
    {.host = "noname", .code = EAI_NONAME},
    {0},
};

static int
count_addresses(const char *host)
{
    struct addrinfo *list = NULL;
    int count = 0;
    int err = kolk_getaddrinfo(host, "80", NULL, &list);

    if (err < 0) {
        (void)CHECK(list == NULL);
        return err;
    }
    for (const struct addrinfo *info = list; info != NULL;
         info = info->ai_next) {
        count++;
    }
    kolk__sys.freeaddrinfo(list);
    return count;
}

static int
look_up(void *arg)
{
    (void)arg;
    if (!CHECK_INT(count_addresses("one"), 1)
        || !CHECK_INT(count_addresses("two"), 2)
        || !CHECK_INT(count_addresses("::1"), 1)
        || !CHECK_INT(count_addresses("noname"), EAI_NONAME - KOLK_ERESOLVE)) {
        return 0;
    }
    CHECK_INT(names.here, 0);
    return 0;
}

TEST(a_task_waits_for_an_answer)
{
    names_begin(table);
    (void)tasks_run_real(look_up, NULL);
}

static int
note_and_find(void *arg)
{
    int count = count_addresses(arg);

    tasks_note(count == 1 ? '1' : 'x');
    return count;
}

static int
find_beside(void *arg)
{
    kolk_task *slow = tasks_spawn(note_and_find, "slow");

    (void)arg;
    if (slow == NULL || !CHECK_INT(count_addresses("two"), 2)) {
        return 0;
    }
    tasks_note('2');
    names_open(NULL);
    CHECK_INT(kolk_await(slow), 1);
    CHECK_STR(tasks_notes(), "21");
    return 0;
}

TEST(others_run_while_the_resolver_is_slow)
{
    names_begin(table);
    (void)tasks_run_real(find_beside, NULL);
}

static int
find_cancelled(void *arg)
{
    kolk_task *task = tasks_spawn(note_and_find, "slow");

    (void)arg;
    if (task == NULL || !CHECK_OK(kolk_checkpoint())) {
        return 0;
    }
    names_wait(&names.begun, 1);
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_INT(kolk_await(task), -ECANCELED);
    CHECK_INT(names_get(&names.answered), 0); /* still at its gate */
    names_open(NULL);
    return 0;
}

TEST(a_cancelled_task_goes_on_without_the_answer)
{
    names_begin(table);
    (void)tasks_run_real(find_cancelled, NULL);
}

static int
find_in_time(void *arg)
{
    kolk_timeout timeout;

    (void)arg;
    if (!CHECK_OK(kolk_timeout_begin(&timeout, kolk_now(NULL) + KOLK_MS(1)))) {
        return 0;
    }
    int result = count_addresses("slow");
    CHECK_INT(kolk_timeout_end(&timeout, result), -ETIMEDOUT);
    names_open(NULL);
    return 0;
}

TEST(a_lookup_may_have_a_timeout)
{
    names_begin(table);
    (void)tasks_run_real(find_in_time, NULL);
}

static int
find_refused(void *arg)
{
    char host[64] = "x";
    kolk_address address;

    (void)arg;
    CHECK_OK(kolk_address_parse("192.0.2.1", 80, &address));
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_INT(count_addresses("one"), -ECANCELED);
    CHECK_INT(kolk_getnameinfo(&address, host, sizeof host, NULL, 0, 0),
              -ECANCELED);
    CHECK_STR(host, "x");
    CHECK_INT(
        kolk_getnameinfo(&address, host, sizeof host, NULL, 0, NI_NUMERICHOST),
        0);
    CHECK_STR(host, "192.0.2.1");
    CHECK_INT(names_get(&names.asked), 0);
    return 0;
}

TEST(a_pending_request_refuses_what_would_wait)
{
    names_begin(table);
    (void)tasks_run_real(find_refused, NULL);
}

TEST(outside_of_a_task_it_is_misuse)
{
    struct addrinfo *list;
    kolk_address address = {0};

    (void)test_loop_open();
    CHECK_ERR(kolk_getaddrinfo("one", NULL, NULL, &list), -KOLK_EMISUSE);
    CHECK_ERR(kolk_getnameinfo(&address, NULL, 0, NULL, 0, 0), -KOLK_EMISUSE);
}

/* A task that neither ends nor can be cancelled is dropped with its stack; and
 * with what it was just given, if that was its last step. */
static int
find_stubbornly(void *arg)
{
    KOLK_SHIELD(shield);

    (void)arg;
    for (;;) {
        int count = count_addresses("one");

        if (kit_failures() > 0 || count < 0) {
            return 0;
        }
    }
}

TEST_TIME(a_lookup_of_a_task_that_is_dropped_comes_back)
{
    kolk_loop *loop = test_real_loop_open();
    kolk_task *task;

    names_begin(table);
    CHECK_OK(kolk_spawn_with(loop, NULL, find_stubbornly, NULL, &task));
    CHECK_OK(kolk_run_once(loop));
    test_loop_close(loop);
    kolk_future_unref(task);
}

/* ---- addresses to names ---- */

/* With as many parameters as the real one. */
static int /* NOLINTNEXTLINE(readability-function-size) */
here_getnameinfo(const struct sockaddr *addr, socklen_t len, char *host,
                 socklen_t host_size, char *service, socklen_t service_size,
                 int flags)
{
    (void)addr, (void)len, (void)flags;
    names_count(&names.asked);
    if (pthread_equal(pthread_self(), names.thread)) {
        names_count(&names.here);
    }
    names_count(&names.begun);
    names_wait_gate();
    if ((host != NULL && host_size < sizeof "host.example")
        || (service != NULL && service_size < sizeof "http")) {
        return EAI_OVERFLOW;
    }
    if (host != NULL) {
        (void)snprintf(host, host_size, "host.example");
    }
    if (service != NULL) {
        (void)snprintf(service, service_size, "http");
    }
    return 0;
}

static void
names_begin_reverse(void)
{
    names_begin(table);
    kolk__sys.getnameinfo = here_getnameinfo;
}

static int
name_it(void *arg)
{
    char host[64] = "", service[16] = "";
    kolk_address address;

    (void)arg;
    names_open(NULL);
    CHECK_OK(kolk_address_parse("192.0.2.1", 80, &address));
    CHECK_INT(kolk_getnameinfo(&address, host, sizeof host, service,
                               sizeof service, 0),
              0);
    CHECK_STR(host, "host.example");
    CHECK_STR(service, "http");
    host[0] = service[0] = '\0';
    CHECK_INT(kolk_getnameinfo(&address, host, sizeof host, NULL, 0, 0), 0);
    CHECK_STR(host, "host.example");
    CHECK_INT(kolk_getnameinfo(&address, NULL, 0, service, sizeof service, 0),
              0);
    CHECK_STR(service, "http");
    int err = kolk_getnameinfo(&address, host, 4, service, sizeof service, 0);
    CHECK_INT(kolk_resolve_code(err), EAI_OVERFLOW);
    CHECK_STR(host, "host.example");
    CHECK_INT(names_get(&names.here), 0);
    return 0;
}

TEST(an_address_has_a_name)
{
    names_begin_reverse();
    (void)tasks_run_real(name_it, NULL);
}

static char named[64];

static int
name_slowly(void *arg)
{
    kolk_address address;

    (void)arg;
    CHECK_OK(kolk_address_parse("192.0.2.1", 80, &address));
    return kolk_getnameinfo(&address, named, sizeof named, NULL, 0, 0);
}

static int
name_cancelled(void *arg)
{
    kolk_task *task = tasks_spawn(name_slowly, arg);

    if (task == NULL || !CHECK_OK(kolk_checkpoint())) {
        return 0;
    }
    names_wait(&names.begun, 1);
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_INT(kolk_await(task), -ECANCELED);
    names_open(NULL);
    CHECK_OK(kolk_loop_close_pool(kolk_current_loop(), KOLK_NEVER));
    CHECK_STR(named, ""); /* the thread has written elsewhere */
    return 0;
}

TEST(a_cancelled_task_is_not_written_to)
{
    names_begin_reverse();
    (void)tasks_run_real(name_cancelled, NULL);
}

/* The real one, which a number does not make wait. */
static int
name_numbers(void *arg)
{
    const int flags = NI_NUMERICHOST | NI_NUMERICSERV;
    char host[64] = "", service[8] = "";
    kolk_address address;

    (void)arg;
    CHECK_OK(kolk_address_parse("fe80::1%lo", 8080, &address));
    CHECK_INT(kolk_getnameinfo(&address, host, sizeof host, service,
                               sizeof service, flags),
              0);
    CHECK_STR(host, "fe80::1%lo");
    CHECK_STR(service, "8080");
    int err = kolk_getnameinfo(&address, NULL, 0, service, 2, flags);
    CHECK_INT(kolk_resolve_code(err), EAI_OVERFLOW);
    CHECK_STR(service, "8080");
    address = (kolk_address){.size = 2, .storage = {.ss_family = AF_PACKET}};
    err = kolk_getnameinfo(&address, host, sizeof host, NULL, 0, flags);
    CHECK_INT(kolk_resolve_code(err), EAI_FAMILY);
    return 0;
}

TEST(numbers_are_written_without_a_thread)
{
    (void)tasks_run(name_numbers, NULL);
}
