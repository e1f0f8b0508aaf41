/* task_ahead.c - with many ready tasks, those to come are fetched ahead.
 *
 * SPDX-License-Identifier: MIT
 *
 * What can be seen of that is nothing; what must not be seen is a note written
 * into the memory of a task that has gone. So tasks end at different times, on
 * stacks that are unmapped at once.
 */
#include "tasks.h"

enum { CROWD = 1500 }; /* with fewer tasks, nothing is fetched */

static size_t ahead_ended;

static int
ahead_yield(void *arg)
{
    size_t rounds = *(size_t *)arg;

    for (size_t i = 0; i < rounds; i++) {
        if (!CHECK_OK(kolk_checkpoint())) {
            break;
        }
    }
    ahead_ended++;
    return 0;
}

static int
ahead_wait(void *event)
{
    int err = kolk_event_wait(event);

    ahead_ended++;
    return err;
}

static int
ahead_crowd(void *arg)
{
    size_t count = *(size_t *)arg;
    kolk_spawn_options small = {.stack_size = 32768,
                                .arg_size = sizeof(size_t)};
    KOLK_GROUP(group);
    int err = 0;

    for (size_t i = 0; i < count && err >= 0; i++) {
        size_t rounds = i * 7 % 23;
        err = kolk_group_spawn_with(&group, &small, ahead_yield, &rounds, NULL);
    }
    return kolk_group_end(&group, err);
}

TEST(tasks_of_a_crowd_end_one_after_the_other)
{
    size_t count = CROWD;

    CHECK_OK(tasks_run(ahead_crowd, &count));
    CHECK_INT(ahead_ended, count);
}

/* The crowd comes and goes: what was noted of the first is not used for the
 * second. */
static int
ahead_waves(void *arg)
{
    for (int i = 0; i < 3; i++) {
        int err = ahead_crowd(arg);
        if (err < 0) {
            return err;
        }
        tasks_pass(10);
    }
    return 0;
}

TEST(crowds_come_and_go)
{
    size_t count = CROWD;

    CHECK_OK(tasks_run(ahead_waves, &count));
    CHECK_INT(ahead_ended, 3 * count);
}

static int
ahead_herd(void *arg)
{
    static kolk_event event = KOLK_EVENT_INIT;
    size_t count = *(size_t *)arg;
    KOLK_GROUP(group);
    int err = 0;

    for (size_t i = 0; i < count && err >= 0; i++) {
        err = kolk_group_spawn(&group, ahead_wait, &event, NULL);
    }
    tasks_pass(2);
    kolk_event_set(&event);
    return kolk_group_end(&group, err);
}

TEST(a_crowd_is_woken_at_once)
{
    size_t count = CROWD;

    CHECK_OK(tasks_run(ahead_herd, &count));
    CHECK_INT(ahead_ended, count);
}
