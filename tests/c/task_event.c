/* task_event.c - events and barriers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include <errno.h>

/* ---- event ---- */

static kolk_event event;

static int
event_wait_and_note(void *arg)
{
    const char *letter = arg;

    if (CHECK_OK(kolk_event_wait(&event))) {
        tasks_note(*letter);
    }
    return 0;
}

static int
event_set_and_clear(void *arg)
{
    kolk_task *last = NULL;

    (void)arg;
    for (const char *letter = "abc"; *letter != '\0'; letter++) {
        last = tasks_spawn(event_wait_and_note, (void *)letter);
    }
    tasks_pass(2);
    CHECK_STR(tasks_notes(), "");
    kolk_event_set(&event);
    CHECK(kolk_event_is_set(&event));
    kolk_event_clear(&event); /* whoever waited is on the way */
    CHECK(!kolk_event_is_set(&event));
    return last != NULL ? kolk_await(last) : 0;
}

TEST(an_event_wakes_all_in_order_even_if_cleared_at_once)
{
    event = (kolk_event)KOLK_EVENT_INIT;
    CHECK_ERR(kolk_event_wait(&event), -KOLK_EMISUSE);
    tasks_run(event_set_and_clear, NULL);
    CHECK_STR(tasks_notes(), "abc");
}

static int
event_is_set_already(void *arg)
{
    (void)arg;
    kolk_event_set(&event);
    CHECK_OK(kolk_task_cancel(kolk_current_task()));
    CHECK_OK(kolk_event_wait(&event)); /* no need to wait */
    kolk_event_clear(&event);
    CHECK_ERR(kolk_event_wait(&event), -ECANCELED);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    return 0;
}

TEST(an_event_that_is_set_makes_nobody_wait)
{
    event = (kolk_event)KOLK_EVENT_INIT;
    tasks_run(event_is_set_already, NULL);
}

static void
event_set_by_call(kolk_call *call)
{
    (void)call;
    kolk_event_set(&event);
}

static int
event_wait_for_callback(void *arg)
{
    static kolk_call call;

    (void)arg;
    kolk_call_init(&call, event_set_by_call, NULL);
    CHECK_OK(kolk_call_soon(kolk_current_loop(), &call));
    CHECK_OK(kolk_event_wait(&event));
    return 0;
}

TEST(a_callback_may_set_an_event)
{
    event = (kolk_event)KOLK_EVENT_INIT;
    tasks_run(event_wait_for_callback, NULL);
}

static void
event_race_begin(struct race *race)
{
    (void)race;
    event = (kolk_event)KOLK_EVENT_INIT;
}

static int
event_race_wait(struct race *race, int who)
{
    (void)race;
    (void)who;
    return kolk_event_wait(&event);
}

static void
event_race_set(struct race *race)
{
    (void)race;
    kolk_event_set(&event);
}

static int
event_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = event_race_begin,
        .wait = event_race_wait,
        .wake = event_race_set,
        .end = event_race_set,
    };
    static struct race event_race = {.kind = &kind};

    (void)arg;
    race_run(&event_race);
    return 0;
}

TEST(an_event_is_right_in_every_order)
{
    tasks_run(event_race_run, NULL);
}

/* ---- barrier ---- */

static kolk_barrier barrier;

static int
barrier_wait_and_note(void *arg)
{
    (void)arg;
    int number = kolk_barrier_wait(&barrier);
    if (number == -KOLK_EBROKEN) {
        tasks_note('b');
    } else if (CHECK_OK(number)) {
        tasks_note((char)('0' + number));
    }
    return 0;
}

static int
barrier_two_rounds(void *arg)
{
    kolk_task *last = NULL;

    (void)arg;
    for (int i = 0; i < 2; i++) {
        last = tasks_spawn(barrier_wait_and_note, NULL);
    }
    tasks_pass(2);
    CHECK_STR(tasks_notes(), "");
    for (int i = 0; i < 4; i++) {
        last = tasks_spawn(barrier_wait_and_note, NULL);
    }
    return last != NULL ? kolk_await(last) : 0;
}

TEST(a_barrier_lets_its_parties_through_together_with_a_number_each)
{
    barrier = (kolk_barrier)KOLK_BARRIER_INIT(3);
    CHECK_ERR(kolk_barrier_wait(&barrier), -KOLK_EMISUSE);
    tasks_run(barrier_two_rounds, NULL);
    /* The one who opens it does not wait, so it is the first to go on. */
    CHECK_STR(tasks_notes(), "220101");
}

static int
barrier_abort(void *arg)
{
    (void)arg;
    kolk_task *one = tasks_spawn(barrier_wait_and_note, NULL);
    tasks_pass(2);
    kolk_barrier_abort(&barrier);
    CHECK(kolk_barrier_is_broken(&barrier));
    CHECK_ERR(kolk_barrier_wait(&barrier), -KOLK_EBROKEN);
    CHECK_OK(one != NULL ? kolk_await(one) : 0);
    kolk_barrier_reset(&barrier);
    CHECK(!kolk_barrier_is_broken(&barrier));

    kolk_task *two = tasks_spawn(barrier_wait_and_note, NULL);
    tasks_pass(2);
    kolk_barrier_reset(&barrier);
    CHECK(!kolk_barrier_is_broken(&barrier));
    CHECK_OK(two != NULL ? kolk_await(two) : 0);

    kolk_task *three = tasks_spawn(barrier_wait_and_note, NULL);
    tasks_pass(2);
    CHECK_INT(kolk_barrier_wait(&barrier), 1); /* nobody else is counted */
    CHECK_OK(three != NULL ? kolk_await(three) : 0);
    return 0;
}

TEST(a_broken_barrier_stops_nobody_until_it_is_reset)
{
    barrier = (kolk_barrier)KOLK_BARRIER_INIT(2);
    tasks_run(barrier_abort, NULL);
    CHECK_STR(tasks_notes(), "bb0");
}

/* ---- a barrier in every order ---- */

static void
barrier_race_begin(struct race *race)
{
    (void)race;
    barrier = (kolk_barrier)KOLK_BARRIER_INIT(3);
}

static int
barrier_race_wait(struct race *race, int who)
{
    (void)race;
    (void)who;
    return kolk_barrier_wait(&barrier);
}

static int
barrier_arrive(void *arg)
{
    (void)arg;
    CHECK_OK(kolk_barrier_wait(&barrier));
    return 0;
}

/* The third party; it waits if the first has been cancelled before. */
static void
barrier_race_wake(struct race *race)
{
    (void)race;
    CHECK_OK(kolk_spawn_eager(barrier_arrive, NULL, NULL));
}

static void
barrier_race_end(struct race *race)
{
    if (!race->has_won) {
        CHECK_INT(barrier.waiting, race->is_woken ? 2 : 1);
        if (!race->is_woken) {
            barrier_race_wake(race);
        }
        CHECK_INT(kolk_barrier_wait(&barrier), 2);
    }
    CHECK_INT(barrier.waiting, 0);
}

static int
barrier_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = barrier_race_begin,
        .wait = barrier_race_wait,
        .wake = barrier_race_wake,
        .end = barrier_race_end,
    };
    static struct race barrier_race = {.kind = &kind};

    (void)arg;
    race_run(&barrier_race);
    return 0;
}

TEST(a_barrier_counts_no_cancelled_party)
{
    tasks_run(barrier_race_run, NULL);
}
