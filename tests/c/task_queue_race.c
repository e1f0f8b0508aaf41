/* task_queue_race.c - queues in every order of item, cancellation, timeout.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include <errno.h>

static kolk_queue *queue;

static bool
queue_race_open(size_t maxsize)
{
    kolk_queue_options options = {.item_size = sizeof(int), .maxsize = maxsize};

    queue = NULL;
    return CHECK_OK(kolk_queue_new(&options, &queue));
}

static void
queue_race_free(struct race *race)
{
    (void)race;
    CHECK_OK(kolk_queue_free(queue));
    queue = NULL;
}

/* ---- get ---- */

static int got[2];

static void
get_race_begin(struct race *race)
{
    (void)race;
    (void)queue_race_open(0);
    got[0] = got[1] = 0;
}

static int
get_race_wait(struct race *race, int who)
{
    (void)race;
    return kolk_queue_get(queue, &got[who]);
}

static void
get_race_wake(struct race *race)
{
    int item = 41;

    (void)race;
    CHECK_OK(kolk_queue_try_put(queue, &item));
}

static void
get_race_end(struct race *race)
{
    int item = 42;

    if (race->has_won || !race->is_woken) {
        CHECK_OK(kolk_queue_try_put(queue, &item));
    }
}

static void
get_race_check(struct race *race)
{
    CHECK_INT(got[0], race->has_won ? 41 : 0);
    CHECK_INT(got[1], race->has_won || !race->is_woken ? 42 : 41);
    CHECK(kolk_queue_is_empty(queue));
    queue_race_free(race);
}

static int
get_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = get_race_begin,
        .wait = get_race_wait,
        .wake = get_race_wake,
        .end = get_race_end,
        .check = get_race_check,
    };
    static struct race get_race = {.kind = &kind};

    (void)arg;
    race_run(&get_race);
    return 0;
}

TEST(a_cancelled_get_loses_no_item)
{
    tasks_run(get_race_run, NULL);
    queue_race_free(NULL); /* where a race was broken off */
}

/* ---- put ---- */

static void
put_race_begin(struct race *race)
{
    int item = 40;

    (void)race;
    if (queue_race_open(1)) {
        CHECK_OK(kolk_queue_try_put(queue, &item));
    }
}

static int
put_race_wait(struct race *race, int who)
{
    int item = who + 1;

    (void)race;
    return kolk_queue_put(queue, &item);
}

static void
put_race_wake(struct race *race)
{
    int item = 0;

    (void)race;
    CHECK_OK(kolk_queue_try_get(queue, &item));
    CHECK_INT(item, 40);
}

static void
put_race_end(struct race *race)
{
    int item = 0;

    if (!race->is_woken) {
        put_race_wake(race);
    }
    if (race->has_won) {
        CHECK_OK(kolk_queue_try_get(queue, &item));
        CHECK_INT(item, 1);
    }
}

static void
put_race_check(struct race *race)
{
    int item = 0;

    CHECK_OK(kolk_queue_try_get(queue, &item));
    CHECK_INT(item, 2);
    CHECK(kolk_queue_is_empty(queue));
    for (int i = race->has_won ? 3 : 2; i > 0; i--) {
        CHECK_OK(kolk_queue_task_done(queue));
    }
    CHECK_ERR(kolk_queue_task_done(queue), -KOLK_EMISUSE);
    queue_race_free(race);
}

static int
put_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = put_race_begin,
        .wait = put_race_wait,
        .wake = put_race_wake,
        .end = put_race_end,
        .check = put_race_check,
    };
    static struct race put_race = {.kind = &kind};

    (void)arg;
    race_run(&put_race);
    return 0;
}

TEST(a_cancelled_put_leaves_no_item_behind)
{
    tasks_run(put_race_run, NULL);
    queue_race_free(NULL);
}

/* ---- join ---- */

static void
join_race_begin(struct race *race)
{
    int item = 1;

    (void)race;
    if (queue_race_open(0)) {
        CHECK_OK(kolk_queue_try_put(queue, &item));
    }
}

static int
join_race_wait(struct race *race, int who)
{
    (void)race;
    (void)who;
    return kolk_queue_join(queue);
}

static void
join_race_wake(struct race *race)
{
    (void)race;
    CHECK_OK(kolk_queue_task_done(queue));
}

static void
join_race_end(struct race *race)
{
    if (!race->is_woken) {
        join_race_wake(race);
    }
}

static int
join_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = join_race_begin,
        .wait = join_race_wait,
        .wake = join_race_wake,
        .end = join_race_end,
        .check = queue_race_free,
    };
    static struct race join_race = {.kind = &kind};

    (void)arg;
    race_run(&join_race);
    return 0;
}

TEST(joining_a_queue_is_right_in_every_order)
{
    tasks_run(join_race_run, NULL);
    queue_race_free(NULL);
}
