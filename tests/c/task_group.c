/* task_group.c - children that do not outlive their block.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include <errno.h>
#include <string.h>

/* What a child does. */
struct group_child {
    kolk_time delay;
    int result;
    char letter;  /* noted at the end */
    int requests; /* how many it had seen then */
};

static int
group_work(void *arg)
{
    struct group_child *self = arg;
    int err = kolk_sleep(self->delay);

    self->requests = kolk_task_cancelling(kolk_current_task());
    tasks_note(err < 0 ? 'c' : self->letter);
    return err < 0 ? err : self->result;
}

/* Cleans up for a second when it is cancelled, and fails then. */
static int
group_work_stubbornly(void *arg)
{
    struct group_child *self = arg;
    int err = kolk_sleep(self->delay);
    KOLK_SHIELD(shield);

    if (err < 0) {
        CHECK_OK(kolk_sleep(KOLK_S(1)));
    }
    tasks_note(self->letter);
    return self->result;
}

static struct group_child children[3];

static void
group_children_init(void)
{
    for (int i = 0; i < 3; i++) {
        children[i] = (struct group_child){.delay = KOLK_MS(10) * (3 - i),
                                           .result = i,
                                           .letter = (char)('1' + i)};
    }
}

/* ---- success ---- */

static int
group_all_well(void *arg)
{
    kolk_task *task;
    KOLK_GROUP(group);

    (void)arg;
    for (int i = 0; i < 3; i++) {
        if (!CHECK_OK(kolk_group_spawn(&group, group_work, &children[i],
                                       i == 0 ? &task : NULL))) {
            return kolk_group_end(&group, 0);
        }
    }
    tasks_keep(task);
    CHECK_INT(kolk_group_end(&group, 42), 42);
    CHECK_INT(kolk_now(NULL), KOLK_MS(30));
    CHECK_OK(kolk_future_result(task));
    CHECK_ERR(kolk_group_spawn(&group, group_work, &children[0], NULL),
              -KOLK_EMISUSE);
    CHECK_ERR(kolk_group_end(&group, 0), -KOLK_EMISUSE);
    return 0;
}

TEST(a_group_waits_for_its_children)
{
    kolk_group group;

    CHECK_ERR(kolk_group_begin(&group), -KOLK_EMISUSE);
    group_children_init();
    tasks_run(group_all_well, NULL);
    CHECK_STR(tasks_notes(), "321");
}

static int
group_empty(void *arg)
{
    kolk_group group;

    (void)arg;
    CHECK_OK(kolk_group_begin(&group));
    CHECK_INT(kolk_group_end(&group, 1), 1);
    CHECK_OK(kolk_group_begin(&group));
    CHECK_ERR(kolk_group_end(&group, -EIO), -EIO);
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_OK(kolk_group_begin(&group));
    CHECK_INT(kolk_group_end(&group, 2), 2); /* has nothing to wait for */
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    return 0;
}

TEST(an_empty_group_does_not_wait)
{
    tasks_run(group_empty, NULL);
}

static int
group_eager_child(void *arg)
{
    kolk_group group;

    (void)arg;
    CHECK_OK(kolk_group_begin(&group));
    children[0].delay = KOLK_MS(1);
    CHECK_OK(kolk_group_spawn_with(&group, &kolk_eager, group_work,
                                   &children[0], NULL));
    CHECK_OK(kolk_group_end(&group, 0));
    CHECK_STR(tasks_notes(), "1");
    return 0;
}

TEST(a_group_takes_eager_children)
{
    group_children_init();
    tasks_run(group_eager_child, NULL);
}

/* ---- failure ---- */

static int
group_first_failure(void *arg)
{
    kolk_group group;

    (void)arg;
    children[0].delay = KOLK_S(9);
    children[1].result = -EIO;
    children[1].delay = KOLK_MS(5);
    children[2].delay = KOLK_S(9);
    children[2].result = -EPIPE;
    CHECK_OK(kolk_group_begin(&group));
    CHECK_OK(kolk_group_spawn(&group, group_work, &children[0], NULL));
    CHECK_OK(kolk_group_spawn(&group, group_work, &children[1], NULL));
    CHECK_OK(
        kolk_group_spawn(&group, group_work_stubbornly, &children[2], NULL));
    CHECK_ERR(kolk_sleep(KOLK_S(5)), -ECANCELED); /* the block, too */
    CHECK_INT(kolk_now(NULL), KOLK_MS(5));
    CHECK_ERR(kolk_group_spawn(&group, group_work, &children[0], NULL),
              -ECANCELED);
    CHECK_ERR(kolk_group_end(&group, -ECANCELED), -EIO);
    CHECK_INT(kolk_now(NULL), KOLK_S(1) + KOLK_MS(5)); /* waits for the rest */
    CHECK_OK(kolk_checkpoint()); /* its request went with it */
    return 0;
}

TEST(the_first_failure_cancels_the_others_and_waits_for_them)
{
    group_children_init();
    tasks_run(group_first_failure, NULL);
    CHECK_STR(tasks_notes(), "2c3");
    CHECK_INT(children[0].requests, 1);
    /* The second failure has no reader but the error handler. */
    CHECK_INT(tasks_reports(), 1);
    CHECK_ERR(tasks_last_error(), -EPIPE);
}

static int
group_failure_while_waiting(void *arg)
{
    kolk_group group;

    (void)arg;
    children[0].delay = KOLK_S(9);
    children[1].result = -EIO;
    CHECK_OK(kolk_group_begin(&group));
    CHECK_OK(kolk_group_spawn(&group, group_work, &children[0], NULL));
    CHECK_OK(kolk_group_spawn(&group, group_work, &children[1], NULL));
    CHECK_ERR(kolk_group_end(&group, 0), -EIO);
    return 0;
}

TEST(a_child_is_asked_to_stop_once)
{
    group_children_init();
    tasks_run(group_failure_while_waiting, NULL);
    CHECK_STR(tasks_notes(), "2c");
    CHECK_INT(children[0].requests, 1);
}

static int
group_cancelled_child(void *arg)
{
    kolk_task *task;
    kolk_group group;

    (void)arg;
    CHECK_OK(kolk_group_begin(&group));
    CHECK_OK(kolk_group_spawn(&group, group_work, &children[0], NULL));
    if (CHECK_OK(kolk_group_spawn(&group, group_work, &children[1], &task))) {
        CHECK_INT(kolk_task_cancel(tasks_keep(task)), 1);
    }
    CHECK_INT(kolk_group_end(&group, 7), 7);
    return 0;
}

TEST(a_child_that_was_cancelled_has_not_failed)
{
    group_children_init();
    tasks_run(group_cancelled_child, NULL);
    CHECK_STR(tasks_notes(), "c1");
}

static int
group_block_fails(void *arg)
{
    kolk_group group;

    (void)arg;
    CHECK_OK(kolk_group_begin(&group));
    CHECK_OK(kolk_group_spawn(&group, group_work, &children[0], NULL));
    tasks_pass(1);
    CHECK_ERR(kolk_group_end(&group, -EIO), -EIO);
    CHECK_INT(kolk_now(NULL), 0);
    return 0;
}

TEST(a_block_that_fails_cancels_the_children)
{
    group_children_init();
    tasks_run(group_block_fails, NULL);
    CHECK_STR(tasks_notes(), "c");
}

static int
group_cancelled_by_itself(void *arg)
{
    kolk_group group;

    (void)arg;
    CHECK_OK(kolk_group_begin(&group));
    CHECK_OK(kolk_group_spawn(&group, group_work, &children[0], NULL));
    tasks_pass(1);
    kolk_group_cancel(&group);
    kolk_group_cancel(&group);
    CHECK_ERR(kolk_checkpoint(), -ECANCELED);
    CHECK_OK(kolk_group_end(&group, -ECANCELED)); /* it was asked for */
    CHECK_OK(kolk_checkpoint());
    kolk_group_cancel(&group);
    return 0;
}

TEST(cancelling_a_group_is_no_failure)
{
    group_children_init();
    tasks_run(group_cancelled_by_itself, NULL);
    CHECK_INT(children[0].requests, 1);
}

/* ---- cancelled from outside ---- */

static int
group_wait_stubborn(void *arg)
{
    kolk_group group;

    (void)arg;
    CHECK_OK(kolk_group_begin(&group));
    children[0].delay = KOLK_S(9);
    CHECK_OK(
        kolk_group_spawn(&group, group_work_stubbornly, &children[0], NULL));
    int err = kolk_group_end(&group, 0);
    tasks_note(err == -ECANCELED ? 'C' : 'e');
    CHECK_ERR(kolk_checkpoint(), -ECANCELED);
    return err;
}

static int
group_cancel_outside(void *arg)
{
    kolk_task *task = tasks_spawn(group_wait_stubborn, NULL);

    (void)arg;
    tasks_pass(3);
    if (task == NULL) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_OK(kolk_sleep(KOLK_MS(500)));
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_OK(kolk_sleep(KOLK_MS(100)));
    CHECK(!kolk_future_is_done(task));
    CHECK_ERR(kolk_await(task), -ECANCELED);
    CHECK_INT(kolk_now(NULL), KOLK_S(1));
    return 0;
}

TEST(leaving_a_group_is_uninterruptible)
{
    group_children_init();
    tasks_run(group_cancel_outside, NULL);
    CHECK_STR(tasks_notes(), "1C");
}

static int
group_fail_when_told(void *arg)
{
    return kolk_await(arg);
}

/* A child fails and the parent is cancelled, in one step, in both orders, in
 * the block and at its end. */
struct group_race {
    bool cancel_first;
    bool in_block;
    kolk_future *trigger;
};

static int
group_raced(void *arg)
{
    struct group_race *self = arg;
    kolk_group group;
    int err = 0;

    CHECK_OK(kolk_group_begin(&group));
    CHECK_OK(
        kolk_group_spawn(&group, group_fail_when_told, self->trigger, NULL));
    if (self->in_block) {
        err = kolk_sleep(KOLK_S(1));
    }
    err = kolk_group_end(&group, err);
    CHECK(kolk_is_cancelled()); /* whatever came of the group */
    CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED);
    tasks_note(err == -EIO ? 'f' : err == -ECANCELED ? 'c' : 'e');
    return 0;
}

static int
group_race_orders(void *arg)
{
    (void)arg;
    for (int i = 0; i < 4; i++) {
        static struct group_race race;

        race = (struct group_race){.cancel_first = i & 1, .in_block = i & 2};
        race.trigger = tasks_future();
        kolk_task *task =
            race.trigger != NULL ? tasks_spawn(group_raced, &race) : NULL;
        if (task == NULL) {
            return 0;
        }
        tasks_pass(3);
        if (race.cancel_first) {
            CHECK_INT(kolk_task_cancel(task), 1);
        }
        (void)!kolk_future_set_result(race.trigger, -EIO, NULL);
        if (!race.cancel_first) {
            CHECK_INT(kolk_task_cancel(task), 1);
        }
        if (kolk_join(task) < 0) {
            return 0;
        }
    }
    return 0;
}

TEST(a_group_never_swallows_a_cancellation_from_outside)
{
    tasks_run(group_race_orders, NULL);
    CHECK_STR(tasks_notes(), "fcff");
}

/* The last child ends, then the parent is cancelled, before it runs. */
static int
group_end_then_cancelled(void *arg)
{
    kolk_group group;

    CHECK_OK(kolk_group_begin(&group));
    CHECK_OK(kolk_group_spawn(&group, group_fail_when_told, arg, NULL));
    int result = kolk_group_end(&group, 6);
    CHECK(kolk_is_cancelled());
    tasks_note(result == 6 ? '6' : 'c');
    return 0;
}

static int
group_cancel_too_late(void *arg)
{
    kolk_future *trigger = tasks_future();

    (void)arg;
    kolk_task *task =
        trigger != NULL ? tasks_spawn(group_end_then_cancelled, trigger) : NULL;
    if (task == NULL) {
        return 0;
    }
    tasks_pass(3);
    CHECK_OK(kolk_future_set_result(trigger, 0, NULL));
    tasks_pass(1); /* the child runs and ends */
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_OK(kolk_join(task));
    return 0;
}

TEST(a_group_that_has_come_to_its_end_is_not_cancelled)
{
    tasks_run(group_cancel_too_late, NULL);
    CHECK_STR(tasks_notes(), "6");
}

/* ---- leaving ---- */

static int
group_return(void *arg)
{
    KOLK_GROUP(group);

    (void)arg;
    return kolk_group_spawn(&group, group_work, &children[0], NULL);
}

static int
group_leave(void *arg)
{
    CHECK_OK(group_return(arg));
    CHECK_STR(tasks_notes(), "1"); /* it was waited for */
    CHECK_INT(tasks_reports(), 0);
    children[0].result = -EIO;
    CHECK_OK(group_return(arg));
    CHECK_INT(tasks_reports(), 1);
    CHECK_ERR(tasks_last_error(), -EIO);
    CHECK(strstr(tasks_last_report(), "task_group.c:") != NULL);
    return 0;
}

TEST(leaving_a_block_waits_for_its_group_and_reports_a_failure)
{
    group_children_init();
    tasks_run(group_leave, NULL);
}

static int
group_forget(void *arg)
{
    static kolk_group group;

    (void)arg;
    CHECK_OK(kolk_group_begin(&group));
    CHECK_OK(kolk_group_spawn(&group, group_work, &children[0], NULL));
    tasks_pass(1);
    return 5;
}

static int
group_forgotten(void *arg)
{
    kolk_task *task = tasks_spawn(group_forget, NULL);

    (void)arg;
    CHECK_INT(task != NULL ? kolk_await(task) : 5, 5);
    CHECK_INT(tasks_reports(), 1);
    tasks_pass(2);
    CHECK_STR(tasks_notes(), "c"); /* its children are not left alone */
    return 0;
}

TEST(a_group_open_at_the_end_of_its_task_is_reported_and_cancelled)
{
    group_children_init();
    tasks_run(group_forgotten, NULL);
}

static int
group_add_from_child(void *arg)
{
    kolk_group *group = arg;

    tasks_note('a');
    CHECK_OK(kolk_group_spawn(group, group_work, &children[0], NULL));
    return 0;
}

static int
group_grow(void *arg)
{
    kolk_group group;

    (void)arg;
    CHECK_OK(kolk_group_begin(&group));
    CHECK_OK(kolk_group_spawn(&group, group_add_from_child, &group, NULL));
    CHECK_OK(kolk_group_end(&group, 0));
    CHECK_STR(tasks_notes(), "a1");
    return 0;
}

TEST(a_child_may_add_children_while_the_group_is_waited_for)
{
    group_children_init();
    tasks_run(group_grow, NULL);
}
