/* task_spawn.c - how tasks begin, who they are, and how they end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tasks.h"

#include <kolk/debug.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int
spawn_note(void *arg)
{
    const char *letter = arg;

    tasks_note(*letter);
    return *letter;
}

static int
spawn_note_twice(void *arg)
{
    const char *letter = arg;

    tasks_note(*letter);
    tasks_pass(1);
    tasks_note(*letter);
    return *letter;
}

/* ---- order ---- */

static int
spawn_several(void *arg)
{
    kolk_task *tasks[3];

    (void)arg;
    for (int i = 0; i < 3; i++) {
        tasks[i] = tasks_spawn(spawn_note_twice, &"abc"[i]);
    }
    tasks_note('p');
    for (int i = 0; i < 3 && tasks[i] != NULL; i++) {
        CHECK_INT(kolk_await(tasks[i]), 'a' + i);
    }
    return 0;
}

TEST(a_spawned_task_begins_after_its_parent_waits)
{
    tasks_run(spawn_several, NULL);
    CHECK_STR(tasks_notes(), "pabcabc");
}

static int
spawn_eager(void *arg)
{
    kolk_task *task;

    (void)arg;
    if (CHECK_OK(kolk_spawn_eager(spawn_note_twice, "a", &task))) {
        tasks_note('p');
        CHECK_INT(kolk_await(tasks_keep(task)), 'a');
    }
    return 0;
}

TEST(an_eager_task_runs_to_its_first_wait_and_its_parent_goes_on)
{
    tasks_run(spawn_eager, NULL);
    CHECK_STR(tasks_notes(), "apa");
}

static int
spawn_eager_to_its_end(void *arg)
{
    kolk_task *task;

    (void)arg;
    /* Somebody else is ready, and yet the parent is next. */
    (void)tasks_spawn(spawn_note, "o");
    if (CHECK_OK(kolk_spawn_eager(spawn_note, "a", &task))) {
        tasks_note('p');
        CHECK(kolk_future_is_done(tasks_keep(task)));
        CHECK_INT(kolk_await(task), 'a');
    }
    tasks_pass(1);
    return 0;
}

TEST(an_eager_task_that_ends_at_once_gives_back_to_its_parent)
{
    tasks_run(spawn_eager_to_its_end, NULL);
    CHECK_STR(tasks_notes(), "apo");
}

static int
spawn_fail(void *arg)
{
    (void)arg;
    return -EIO;
}

static int
spawn_eager_failure(void *arg)
{
    kolk_task *task;

    (void)arg;
    (void)tasks_spawn(spawn_note, "o");
    if (CHECK_OK(kolk_spawn_eager(spawn_fail, NULL, &task))) {
        tasks_note('p');
        CHECK_ERR(kolk_await(tasks_keep(task)), -EIO);
    }
    tasks_pass(1);
    return 0;
}

TEST(an_eager_task_that_fails_at_once_gives_back_to_its_parent)
{
    tasks_run(spawn_eager_failure, NULL);
    CHECK_STR(tasks_notes(), "po");
    CHECK_INT(tasks_reports(), 0);
}

static int
spawn_eager_parent(void *arg)
{
    (void)arg;
    tasks_note('1');
    CHECK_OK(kolk_spawn_eager(spawn_note_twice, "x", NULL));
    tasks_note('2');
    CHECK_OK(kolk_spawn_eager(spawn_note, "y", NULL));
    tasks_note('3');
    tasks_pass(1);
    tasks_note('4');
    return 0;
}

static int
spawn_eager_nested(void *arg)
{
    (void)arg;
    CHECK_OK(kolk_spawn_eager(spawn_eager_parent, NULL, NULL));
    tasks_note('p');
    tasks_pass(2);
    return 0;
}

TEST(eager_tasks_may_spawn_eager_tasks)
{
    tasks_run(spawn_eager_nested, NULL);
    CHECK_STR(tasks_notes(), "1x2y3px4");
}

static void
spawn_call(kolk_call *call)
{
    (void)call;
    CHECK_ERR(kolk_spawn_eager(spawn_note, "a", NULL), -KOLK_EMISUSE);
    CHECK_OK(kolk_spawn(spawn_note, "b", NULL));
}

static int
spawn_from_callback(void *arg)
{
    static kolk_call call;

    (void)arg;
    kolk_call_init(&call, spawn_call, NULL);
    CHECK_OK(kolk_call_soon(kolk_current_loop(), &call));
    tasks_pass(3);
    return 0;
}

TEST(a_callback_may_spawn_but_not_eagerly)
{
    tasks_run(spawn_from_callback, NULL);
    CHECK_STR(tasks_notes(), "b");
}

/* ---- arguments and stacks ---- */

struct spawn_argument {
    char text[100];
    int number;
};

static int
spawn_read_argument(void *arg)
{
    struct spawn_argument *argument = arg;

    CHECK_INT((uintptr_t)argument % 16, 0);
    CHECK_STR(argument->text, "copied");
    argument->text[0] = '\0'; /* its own */
    return argument->number;
}

static int
spawn_copies(void *arg)
{
    struct spawn_argument argument = {.text = "copied"};
    kolk_spawn_options options = {.arg_size = sizeof argument};
    kolk_task *tasks[3];

    (void)arg;
    for (int i = 0; i < 3; i++) {
        argument.number = i;
        if (!CHECK_OK(kolk_spawn_with(NULL, &options, spawn_read_argument,
                                      &argument, &tasks[i]))) {
            return 0;
        }
        tasks_keep(tasks[i]);
    }
    memset(&argument, 'x', sizeof argument);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(kolk_await(tasks[i]), i);
    }
    return 0;
}

TEST(an_argument_can_be_copied_onto_the_new_stack)
{
    tasks_run(spawn_copies, NULL);
}

static int
spawn_use_stack(void *arg)
{
    volatile char room[600 * 1024];

    (void)arg;
    memset((char *)room, 1, sizeof room);
    return room[5000];
}

static int
spawn_sizes(void *arg)
{
    kolk_spawn_options options = {.stack_size = (size_t)1024 * 1024};
    kolk_task *task;

    (void)arg;
    if (CHECK_OK(
            kolk_spawn_with(NULL, &options, spawn_use_stack, NULL, &task))) {
        CHECK_INT(kolk_await(tasks_keep(task)), 1);
    }
    options.stack_size = 16383;
    CHECK_ERR(kolk_spawn_with(NULL, &options, spawn_note, "a", NULL), -EINVAL);
    options.stack_size = 0;
    options.arg_size = 100000;
    CHECK_ERR(kolk_spawn_with(NULL, &options, spawn_note, "a", NULL), -EINVAL);
    return 0;
}

TEST(a_task_gets_the_stack_it_asks_for)
{
    tasks_run(spawn_sizes, NULL);
}

/* ---- who is who ---- */

static int
spawn_wait(void *arg)
{
    (void)arg;
    return kolk_sleep(KOLK_S(1));
}

static int
spawn_look_around(void *arg)
{
    kolk_spawn_options options = {.name = "worker"};
    kolk_task *task, *all[4], *me = kolk_current_task();
    kolk_loop *loop = kolk_current_loop();

    (void)arg;
    if (!CHECK_OK(kolk_spawn_with(NULL, &options, spawn_wait, NULL, &task))) {
        return 0;
    }
    tasks_keep(task);
    kolk_task *nameless = tasks_spawn(spawn_wait, NULL);
    CHECK_INT(kolk_all_tasks(loop, all, 4), 3);
    CHECK_PTR(all[0], me);
    CHECK_PTR(all[1], task);
    CHECK_PTR(all[2], nameless);
    CHECK_STR(kolk_task_name(task), "worker");
    CHECK(nameless == NULL
          || strncmp(kolk_task_name(nameless), "task-", 5) == 0);
    kolk_task_set_name(task, "0123456789012345678901234567890123456789"
                             "0123456789");
    CHECK_INT(strlen(kolk_task_name(task)), KOLK_TASK_NAME_MAX);
    CHECK(strstr(kolk_task_site(task), "task_spawn.c:") != NULL);
    CHECK_STR(kolk_task_waits_for(task), "");
    tasks_pass(1);
    CHECK_STR(kolk_task_waits_for(task), "sleep");
    CHECK_OK(kolk_await(task));
    CHECK_STR(kolk_task_waits_for(task), "");
    CHECK_STR(kolk_task_site(task), "");
    CHECK_INT(kolk_all_tasks(loop, NULL, 0), 1);
    return 0;
}

TEST(tasks_can_be_listed_and_named)
{
    CHECK_PTR(kolk_current_task(), NULL);
    tasks_run(spawn_look_around, NULL);
}

/* ---- results that nobody reads ---- */

static int
spawn_detached(void *arg)
{
    kolk_spawn_options options = {.name = "careless"};

    (void)arg;
    CHECK_OK(kolk_spawn_with(NULL, &options, spawn_fail, NULL, NULL));
    tasks_pass(2);
    CHECK_INT(tasks_reports(), 1);
    CHECK_ERR(tasks_last_error(), -EIO);
    CHECK(strstr(tasks_last_report(), "task_spawn.c:") != NULL);
    return 0;
}

TEST(an_error_that_nobody_can_read_is_reported_with_its_place)
{
    tasks_run(spawn_detached, NULL);
}

static int
spawn_cancelled(void *arg)
{
    (void)arg;
    return -ECANCELED;
}

static int
spawn_read_late(void *arg)
{
    kolk_task *task;

    (void)arg;
    CHECK_OK(kolk_spawn(spawn_cancelled, NULL, NULL)); /* is no failure */
    if (!CHECK_OK(kolk_spawn(spawn_fail, NULL, &task))) {
        return 0;
    }
    tasks_pass(2);
    CHECK_INT(tasks_reports(), 0); /* it still may be read */
    CHECK_ERR(kolk_future_result(task), -EIO);
    kolk_task_detach(task);
    CHECK_INT(tasks_reports(), 0);
    if (!CHECK_OK(kolk_spawn(spawn_fail, NULL, &task))) {
        return 0;
    }
    CHECK_OK(kolk_join(task)); /* does not read it */
    kolk_task_detach(task);
    CHECK_INT(tasks_reports(), 1);
    return 0;
}

TEST(an_error_that_was_read_is_not_reported)
{
    tasks_run(spawn_read_late, NULL);
}

/* ---- many ---- */

static size_t spawned;

static int
spawn_count(void *arg)
{
    (void)arg;
    spawned++;
    return 0;
}

static int
spawn_many(void *arg)
{
    size_t count = test_count(10000);

    (void)arg;
    spawned = 0;
    for (size_t i = 0; i < count; i++) {
        if (!CHECK_OK(kolk_spawn(spawn_count, NULL, NULL))) {
            return 0;
        }
    }
    tasks_pass(1);
    CHECK_INT(spawned, count);
    return 0;
}

TEST(many_tasks_at_once_all_run)
{
    tasks_run(spawn_many, NULL);
}

/* ---- a loop that closes ---- */

static int
spawn_then_refuse(void *arg)
{
    int err = kolk_sleep(KOLK_S(100));

    CHECK_ERR(err, -ECANCELED);
    CHECK_ERR(kolk_spawn(spawn_note, arg, NULL), -ESHUTDOWN);
    tasks_note('c');
    return err;
}

static int
spawn_and_leave(void *arg)
{
    CHECK_OK(kolk_spawn(spawn_then_refuse, arg, NULL));
    tasks_pass(1);
    return 0;
}

TEST(a_closing_loop_cancels_its_tasks_and_takes_no_new_ones)
{
    tasks_run(spawn_and_leave, "n");
    CHECK_STR(tasks_notes(), "c");
}

static kolk_event spawn_never;

static int
spawn_stubborn(void *arg)
{
    KOLK_SHIELD(shield);

    (void)arg;
    return kolk_event_wait(&spawn_never);
}

static int
spawn_stubborn_and_leave(void *arg)
{
    (void)arg;
    CHECK_OK(kolk_spawn(spawn_stubborn, NULL, NULL));
    tasks_pass(1);
    return 0;
}

TEST(a_task_that_does_not_obey_is_dropped_with_a_report)
{
    spawn_never = (kolk_event)KOLK_EVENT_INIT;
    tasks_run(spawn_stubborn_and_leave, NULL);
    CHECK(tasks_reports() >= 2);  /* that one did not end, and its open scope */
    kolk_event_set(&spawn_never); /* nobody is left in there */
}
