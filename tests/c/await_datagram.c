/* await_datagram.c - datagrams, awaited by tasks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "datagram_kit.h"
#include "net/datagram.h" /* receiving here and now */
#include "race.h"

/* `here` is the library's, `there` a plain socket. */
static kolk_datagram *here;
static int there;
static kolk_address here_name, there_name;

static void
await_release(void *unused)
{
    (void)unused;
    kolk_datagram_unref(here);
    here = NULL;
}

/* In the test's body: what its tasks use. */
static void
await_prepare(void)
{
    kolk_address any = dg_ipv4(0);

    dg_calls_watch();
    there = dg_plain(AF_INET, &any);
    there_name = dg_name_of(there);
    test_later(await_release, NULL);
}

/* In the main task: opens `here`. */
static bool
await_open_with(kolk_datagram_options *options)
{
    if (options->local.size == 0 && options->remote.size == 0) {
        options->local = dg_ipv4(0);
    }
    return CHECK_OK(
               kolk_datagram_open(kolk_current_loop(), options, NULL, &here))
           && CHECK_OK(kolk_datagram_sockname(here, &here_name));
}

static bool
await_open(void)
{
    kolk_datagram_options options = {0};

    return await_open_with(&options);
}

static void
await_from_there(const char *text)
{
    dg_send_plain(there, text, strlen(text), &here_name);
}

/* Waits for the next datagram, and checks what it is. */
static bool
await_expect(const char *text)
{
    char bytes[64] = {0};
    kolk_address from;
    int size = kolk_datagram_recv(here, bytes, sizeof bytes - 1, &from);

    return CHECK_INT(size, strlen(text)) && CHECK_STR(bytes, text)
           && CHECK(kolk_address_equal(&from, &there_name));
}

/* What `there` has received, or "". */
static const char *
await_there(void)
{
    static char bytes[64];
    ssize_t size = recv(there, bytes, sizeof bytes - 1, 0);

    bytes[size > 0 ? size : 0] = '\0';
    return bytes;
}

static void
await_run(kolk_task_fn *fn)
{
    await_prepare();
    tasks_run(fn, NULL);
}

/* ---- receiving ---- */

static int
await_receive_before_and_after(void *arg)
{
    (void)arg;
    if (!await_open()) {
        return 0;
    }
    await_from_there("1");
    await_from_there("2");
    await_expect("1");
    await_expect("2");
    CHECK_OK(kolk_datagram_send_wait(here, "3", 1, &there_name));
    CHECK_STR(await_there(), "3");
    return 0;
}

TEST(a_task_receives_and_sends)
{
    await_run(await_receive_before_and_after);
}

static int
await_expect_one(void *arg)
{
    await_expect(arg);
    tasks_note(*(const char *)arg);
    return 0;
}

static int
await_receive_in_order(void *arg)
{
    static char names[][2] = {"1", "2", "3"};

    (void)arg;
    if (!await_open()) {
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        (void)tasks_spawn(await_expect_one, names[i]);
    }
    tasks_pass(1);
    for (int i = 0; i < 4; i++) {
        char text[] = {(char)('1' + i), '\0'};
        await_from_there(text);
    }
    await_expect("4");
    return 0;
}

TEST(who_waits_longest_receives_first)
{
    await_run(await_receive_in_order);
    CHECK_STR(tasks_notes(), "123");
}

static int
await_receive_cut(void *arg)
{
    char bytes[4] = "...";

    (void)arg;
    if (!await_open()) {
        return 0;
    }
    await_from_there("much too long");
    await_from_there("short");
    await_from_there("");
    await_from_there("");
    CHECK_INT(kolk_datagram_recv(here, bytes, 2, NULL), 13);
    CHECK_STR(bytes, "mu.");
    CHECK_INT(kolk_datagram_recv(here, NULL, 0, NULL), 5);
    CHECK_INT(kolk_datagram_recv(here, bytes, 2, NULL), 0);
    CHECK_INT(kolk_datagram_recv(here, NULL, 0, NULL), 0);
    return 0;
}

TEST(a_datagram_that_was_cut_shows_its_size)
{
    await_run(await_receive_cut);
}

/* ---- the queue ---- */

/* What is not in the queue is in the kernel, and nothing is lost. */
static int
await_fill_queue(void *arg)
{
    kolk_datagram_options options = {.queue = 4};
    char text[16];

    (void)arg;
    if (!await_open_with(&options)) {
        return 0;
    }
    await_from_there("first");
    await_expect("first");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            (void)snprintf(text, sizeof text, "%d", i);
            await_from_there(text);
        }
        CHECK_OK(kolk_sleep(KOLK_S(1)));
        dg_calls.receives = dg_calls.controls = 0;
        CHECK_OK(kolk_sleep(KOLK_S(1)));
        CHECK_INT(dg_calls.receives, 0); /* it is full */
        for (int i = 0; i < 100; i++) {
            (void)snprintf(text, sizeof text, "%d", i);
            await_expect(text);
        }
        CHECK(dg_calls.controls <= 2); /* although it was full all the time */
        await_from_there("last");
        await_expect("last");
    }
    return 0;
}

TEST(a_full_queue_leaves_the_rest_to_the_kernel)
{
    await_run(await_fill_queue);
}

static int
await_leave_all_to_the_kernel(void *arg)
{
    (void)arg;
    if (!await_open()) {
        return 0;
    }
    await_from_there("1");
    CHECK_OK(kolk_sleep(KOLK_S(1)));
    CHECK_INT(dg_calls.receives, 0);
    await_expect("1");
    return 0;
}

TEST(nothing_is_received_before_a_task_asks)
{
    await_run(await_leave_all_to_the_kernel);
}

/* ---- errors ---- */

static int
await_refusal(void *arg)
{
    kolk_datagram_options options = {.remote = *(kolk_address *)arg};
    char byte;

    if (!await_open_with(&options)) {
        return 0;
    }
    CHECK_OK(kolk_datagram_send_wait(here, "x", 1, NULL));
    CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -ECONNREFUSED);
    CHECK_ERR(kolk_datagram_send_wait(here, NULL, 1000, NULL), -EFAULT);
    return 0;
}

TEST(a_refusal_is_returned_by_the_next_call)
{
    kolk_address nobody = dg_nobody();

    await_prepare();
    tasks_run(await_refusal, &nobody);
}

static char large[70000];

static int
await_errors_once(void *arg)
{
    kolk_address nobody = *(kolk_address *)arg;
    char byte;

    if (!await_open()) {
        return 0;
    }
    CHECK_ERR(kolk_datagram_send_wait(here, large, sizeof large, &there_name),
              -EMSGSIZE);
    CHECK_OK(kolk_datagram_send(here, large, sizeof large, &there_name));
    CHECK_OK(kolk_datagram_send(here, "x", 1, &nobody));
    CHECK_OK(kolk_datagram_send(here, "y", 1, &nobody));
    await_from_there("1");
    CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -EMSGSIZE);
    CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -ECONNREFUSED);
    CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -ECONNREFUSED);
    await_expect("1");

    /* An error that sending returns means that nothing was sent. */
    CHECK_OK(kolk_datagram_send_wait(here, "z", 1, &nobody));
    CHECK_OK(kolk_datagram_send_wait(here, "2", 1, &there_name));
    CHECK_STR(await_there(), "2");
    CHECK_ERR(kolk_datagram_send_wait(here, "3", 1, &there_name),
              -ECONNREFUSED);
    CHECK_STR(await_there(), "");
    CHECK_OK(kolk_datagram_send_wait(here, "3", 1, &there_name));
    CHECK_STR(await_there(), "3");
    return 0;
}

TEST(each_error_is_returned_once_in_order)
{
    kolk_address nobody = dg_nobody();

    await_prepare();
    tasks_run(await_errors_once, &nobody);
}

static int
await_note_result(void *arg)
{
    char byte;

    (void)arg;
    tasks_note(kolk_datagram_recv(here, &byte, 1, NULL) == -ECONNREFUSED ? 'r'
                                                                         : '?');
    return 0;
}

static int
await_wake_by_error(void *arg)
{
    kolk_address nobody = *(kolk_address *)arg;

    if (!await_open()) {
        return 0;
    }
    (void)tasks_spawn(await_note_result, NULL);
    (void)tasks_spawn(await_note_result, NULL);
    tasks_pass(1);
    CHECK_OK(kolk_datagram_send_wait(here, "x", 1, &nobody));
    CHECK_OK(kolk_datagram_send_wait(here, "y", 1, &nobody));
    CHECK_OK(kolk_sleep(KOLK_S(1)));
    CHECK_STR(tasks_notes(), "rr");
    return 0;
}

TEST(an_error_wakes_who_waits)
{
    kolk_address nobody = dg_nobody();

    await_prepare();
    tasks_run(await_wake_by_error, &nobody);
}

static int
await_unwatched(void *arg)
{
    char byte;

    (void)arg;
    if (!await_open()) {
        return 0;
    }
    await_from_there("1");
    dg_calls.fail_controls = 3;
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -ENOSPC);
    }
    await_expect("1");
    return 0;
}

TEST(who_waits_hears_that_the_socket_cannot_be_watched)
{
    await_run(await_unwatched);
}

static int
await_misuse(void *arg)
{
    kolk_datagram_protocol protocol = {.ops = &dg_ops};
    char byte;

    (void)arg;
    if (!await_open()) {
        return 0;
    }
    CHECK_ERR(kolk_datagram_send_wait(here, "x", 1, NULL), -EINVAL);
    kolk_datagram_set_protocol(here, &protocol);
    CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -KOLK_EMISUSE);
    CHECK_ERR(kolk_datagram_send_wait(here, "x", 1, &there_name),
              -KOLK_EMISUSE);
    kolk_datagram_set_protocol(here, NULL);
    await_from_there("1");
    await_expect("1");
    return 0;
}

TEST(only_tasks_may_wait_and_only_without_a_protocol)
{
    kolk_loop *loop = test_loop_open();
    kolk_datagram_options options = {.local = dg_ipv4(0)};
    char byte;

    CHECK_OK(kolk_datagram_open(loop, &options, NULL, &here));
    test_later(await_release, NULL);
    CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -KOLK_EMISUSE);
    CHECK_ERR(kolk_datagram_send_wait(here, "x", 1, NULL), -KOLK_EMISUSE);
    kolk_datagram_unref(here);
    here = NULL;
    await_prepare();
    tasks_run(await_misuse, NULL);
}

/* ---- cancelling ---- */

static int
await_one(void *arg)
{
    char byte;
    int result = kolk_datagram_recv(here, &byte, 1, NULL);

    *(int *)arg = result;
    return 0;
}

static int
await_cancel(void *arg)
{
    int result = 1;
    char byte;

    (void)arg;
    if (!await_open()) {
        return 0;
    }
    kolk_task *task = tasks_spawn(await_one, &result);
    if (task == NULL) {
        return 0;
    }
    tasks_pass(1);
    CHECK_INT(kolk_task_cancel(task), 1);
    await_from_there("1");
    CHECK_OK(kolk_join(task));
    CHECK_ERR(result, -ECANCELED);
    await_expect("1");

    /* A pending request does not keep from what need not be waited for. */
    await_from_there("2");
    await_from_there("3");
    await_expect("2");
    tasks_pass(3);
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    await_expect("3");
    CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -ECANCELED);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    return 0;
}

TEST(a_cancelled_receiver_takes_no_datagram)
{
    await_run(await_cancel);
}

static void
race_receive_begin(struct race *race)
{
    (void)race;
    if (here == NULL) {
        (void)await_open();
    }
}

static int
race_receive_wait(struct race *race, int who)
{
    char byte;

    (void)race, (void)who;
    return kolk_datagram_recv(here, &byte, 1, NULL);
}

static void
race_receive_wake(struct race *race)
{
    (void)race;
    await_from_there("x");
    kolk__datagram_receive(here, 1);
}

/* What was sent goes to the second if not to the first. */
static void
race_receive_end(struct race *race)
{
    if (!race->is_woken || race->has_won) {
        race_receive_wake(race);
    }
}

static int
race_receive(void *arg)
{
    static const struct race_kind kind = {.begin = race_receive_begin,
                                          .wait = race_receive_wait,
                                          .wake = race_receive_wake,
                                          .end = race_receive_end};
    struct race race = {.kind = &kind};

    (void)arg;
    race_run(&race);
    return 0;
}

TEST(no_datagram_is_lost_in_any_order_of_events)
{
    await_run(race_receive);
}

/* ---- closing ---- */

static int
await_close(void *arg)
{
    bool is_abort = *(bool *)arg;
    int result = 1;
    char byte;

    if (!await_open()) {
        return 0;
    }
    kolk_task *task = tasks_spawn(await_one, &result);
    if (task == NULL) {
        return 0;
    }
    tasks_pass(1);
    if (is_abort) {
        kolk_datagram_abort(here);
    } else {
        kolk_datagram_close(here);
    }
    CHECK_OK(kolk_join(task));
    CHECK_ERR(result, -ESHUTDOWN);
    for (int i = 0; i < 2; i++) {
        CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -ESHUTDOWN);
        CHECK_ERR(kolk_datagram_send_wait(here, "x", 1, &there_name),
                  -ESHUTDOWN);
        CHECK_OK(kolk_sleep(KOLK_S(1)));
    }
    return 0;
}

TEST(who_waits_hears_that_the_socket_is_closed)
{
    bool is_abort = false;

    await_prepare();
    tasks_run(await_close, &is_abort);
}

TEST(who_waits_hears_that_the_socket_is_aborted)
{
    bool is_abort = true;

    await_prepare();
    tasks_run(await_close, &is_abort);
}

static int
await_forever(void *arg)
{
    char byte;

    (void)arg;
    CHECK_ERR(kolk_datagram_recv(here, &byte, 1, NULL), -ECANCELED);
    CHECK_ERR(kolk_datagram_send_wait(here, "x", 1, &there_name), 0);
    return 0;
}

static int
await_end_in_the_middle(void *arg)
{
    (void)arg;
    if (!await_open()) {
        return 0;
    }
    (void)tasks_spawn(await_forever, NULL);
    tasks_pass(1);
    return 0;
}

TEST(a_loop_is_closed_while_a_task_waits)
{
    await_run(await_end_in_the_middle);
}

static int
await_leave_datagrams(void *arg)
{
    (void)arg;
    if (!await_open()) {
        return 0;
    }
    await_from_there("1");
    await_from_there("2");
    await_from_there("3");
    await_expect("1");
    return kolk_sleep(KOLK_S(1));
}

TEST(what_nobody_has_taken_goes_with_the_socket)
{
    await_run(await_leave_datagrams);
}

/* ---- sending, where it has to wait ---- */

static int
await_send_one(void *arg)
{
    CHECK_OK(kolk_datagram_send_wait(here, arg, 1, &there_name));
    tasks_note(*(const char *)arg);
    return 0;
}

/* Sets the marks so that one that waits is more than enough. */
static void
await_block(void)
{
    CHECK_OK(kolk_datagram_set_write_limits(here, 0, 0));
    dg_calls_fail_sends(2, EAGAIN);
    CHECK_OK(kolk_datagram_send_wait(here, "0", 1, &there_name));
    CHECK(kolk_datagram_buffer_size(here) > 0);
}

static int
await_send_in_order(void *arg)
{
    static char names[][2] = {"1", "2", "3"};

    (void)arg;
    if (!await_open()) {
        return 0;
    }
    await_block();
    for (int i = 0; i < 3; i++) {
        (void)tasks_spawn(await_send_one, names[i]);
    }
    tasks_pass(1);
    CHECK_STR(tasks_notes(), "");
    CHECK_OK(kolk_datagram_send_wait(here, "4", 1, &there_name));
    for (int i = 0; i < 5; i++) {
        char text[] = {(char)('0' + i), '\0'};
        CHECK_STR(await_there(), text);
    }
    return 0;
}

TEST(who_waits_longest_sends_first)
{
    await_run(await_send_in_order);
    CHECK_STR(tasks_notes(), "123");
}

/* The kernel refuses again in the midst of those that wait. */
static int
await_send_little_by_little(void *arg)
{
    static char names[][2] = {"1", "2", "3", "4", "5", "6"};

    (void)arg;
    if (!await_open()) {
        return 0;
    }
    await_block();
    for (int i = 0; i < 6; i++) {
        (void)tasks_spawn(await_send_one, names[i]);
    }
    tasks_pass(1);
    dg_calls.fail_sends = 0;
    dg_calls.skip_sends = 3;
    dg_calls_fail_sends(4, EAGAIN);
    CHECK_OK(kolk_sleep(KOLK_S(1)));
    for (int i = 0; i < 7; i++) {
        char text[] = {(char)('0' + i), '\0'};
        CHECK_STR(await_there(), text);
    }
    return 0;
}

TEST(no_more_senders_go_on_than_the_marks_allow)
{
    await_run(await_send_little_by_little);
    CHECK_STR(tasks_notes(), "123456");
}

static int
await_send_for_result(void *arg)
{
    *(int *)arg =
        kolk_datagram_send_wait(here, large, sizeof large, &there_name);
    return 0;
}

static int
await_fail_while_waiting(void *arg)
{
    int result = 1, closed = 1;

    (void)arg;
    if (!await_open()) {
        return 0;
    }
    await_block();
    (void)tasks_spawn(await_send_for_result, &result);
    tasks_pass(1);
    CHECK_OK(kolk_sleep(KOLK_S(1)));
    CHECK_ERR(result, -EMSGSIZE);
    CHECK_STR(await_there(), "0");

    await_block();
    (void)tasks_spawn(await_send_for_result, &closed);
    tasks_pass(1);
    kolk_datagram_close(here);
    CHECK_OK(kolk_sleep(KOLK_S(1)));
    CHECK_ERR(closed, -ESHUTDOWN);
    CHECK_STR(await_there(), "0"); /* closing has sent what was queued */
    return 0;
}

TEST(who_waits_to_send_gets_the_error_of_its_own_datagram)
{
    await_run(await_fail_while_waiting);
}

static int
await_cancelled_sender(void *arg)
{
    (void)arg;
    CHECK_ERR(kolk_datagram_send_wait(here, "1", 1, &there_name), -ECANCELED);
    return 0;
}

static int
await_cancel_in_vain(void *arg)
{
    (void)arg;
    if (!await_open()) {
        return 0;
    }
    await_block();
    kolk_task *task = tasks_spawn(await_cancelled_sender, NULL);
    if (task == NULL) {
        return 0;
    }
    tasks_pass(1);
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_OK(kolk_join(task));
    CHECK_OK(kolk_sleep(KOLK_S(1)));
    CHECK_STR(await_there(), "0");
    CHECK_STR(await_there(), "");
    return 0;
}

TEST(a_cancelled_sender_has_sent_nothing)
{
    await_run(await_cancel_in_vain);
}

/* ---- letting others run ---- */

static int
await_note_turns(void *arg)
{
    bool *is_over = arg;

    for (int i = 0; i < 1000 && !*is_over; i++) {
        tasks_note('o');
        CHECK_OK(kolk_sleep(0));
    }
    return 0;
}

static int
await_busy(void *arg)
{
    bool is_over = false;

    (void)arg;
    if (!await_open()) {
        return 0;
    }
    (void)tasks_spawn(await_note_turns, &is_over);
    for (int i = 0; i < 300 && !kolk_is_cancelled(); i++) {
        CHECK_OK(kolk_datagram_send_wait(here, "x", 1, &there_name));
        CHECK_STR(await_there(), "x");
    }
    CHECK(strlen(tasks_notes()) >= 4);
    is_over = true;
    tasks_pass(2);
    return 0;
}

TEST(who_never_has_to_wait_lets_others_run)
{
    await_run(await_busy);
}

static int
await_echo(void *arg)
{
    char bytes[64];
    kolk_address from;

    (void)arg;
    for (;;) {
        int size = kolk_datagram_recv(here, bytes, sizeof bytes, &from);

        if (size < 0) {
            return size == -ESHUTDOWN ? 0 : size;
        }
        CHECK_OK(kolk_datagram_send_wait(here, bytes, (size_t)size, &from));
    }
}

static int
await_count_calls(void *arg)
{
    /* An answer that could not be sent never comes. */
    KOLK_TIMEOUT(timeout, KOLK_S(20));

    (void)arg;
    if (!await_open()) {
        return kolk_timeout_end(&timeout, 0);
    }
    (void)tasks_spawn(await_echo, NULL);
    tasks_pass(1);
    for (int i = 0; i < 1000 && !kolk_is_cancelled(); i++) {
        if (i == 10) {
            dg_calls.receives = dg_calls.controls = dg_calls.sends = 0;
        }
        await_from_there("x");
        if (!CHECK_INT(kolk_poll(there, KOLK_READABLE), KOLK_READABLE)) {
            break;
        }
        CHECK_STR(await_there(), "x");
    }
    CHECK_OK(kolk_timeout_end(&timeout, 0));
    CHECK_INT(dg_calls.sends, 990);
    CHECK(dg_calls.receives < 1150);
    CHECK_INT(dg_calls.controls, 0);
    kolk_forget(kolk_current_loop(), there);
    kolk_datagram_close(here);
    return 0;
}

TEST(an_awaited_datagram_costs_one_receive_and_one_send)
{
    await_run(await_count_calls);
}
