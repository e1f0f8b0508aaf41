/* task_queue.c - queues: order, fairness, bounds, shutdown.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include <errno.h>
#include <stdlib.h>

/* A queue of ints for one test. */
static kolk_queue *queue;

static bool
queue_open(size_t maxsize, kolk_queue_order order, kolk_compare_fn *compare)
{
    kolk_queue_options options = {.item_size = sizeof(int),
                                  .maxsize = maxsize,
                                  .order = order,
                                  .compare = compare};

    queue = NULL;
    return CHECK_OK(kolk_queue_new(&options, &queue));
}

static void
queue_close(void)
{
    CHECK_OK(kolk_queue_free(queue));
    queue = NULL;
}

static int
queue_pop_int(void)
{
    int item = -1;

    CHECK_OK(kolk_queue_try_get(queue, &item));
    return item;
}

static void
queue_push_int(int item)
{
    CHECK_OK(kolk_queue_try_put(queue, &item));
}

/* ---- order ---- */

TEST(a_fifo_queue_keeps_the_order_while_it_wraps_and_grows)
{
    int in = 0, out = 0;

    queue_open(0, KOLK_FIFO, NULL);
    for (int round = 1; round < 40; round++) {
        for (int i = 0; i < round; i++) {
            queue_push_int(in++);
        }
        for (int i = 0; i < round / 2; i++) {
            CHECK_INT(queue_pop_int(), out++);
        }
        CHECK_INT(kolk_queue_size(queue), in - out);
    }
    while (out < in) {
        CHECK_INT(queue_pop_int(), out++);
    }
    CHECK(kolk_queue_is_empty(queue));
    queue_close();
}

TEST(a_lifo_queue_gives_the_newest_first)
{
    queue_open(0, KOLK_LIFO, NULL);
    for (int i = 0; i < 10; i++) {
        queue_push_int(i);
    }
    for (int i = 9; i >= 5; i--) {
        CHECK_INT(queue_pop_int(), i);
    }
    queue_push_int(77);
    CHECK_INT(queue_pop_int(), 77);
    for (int i = 4; i >= 0; i--) {
        CHECK_INT(queue_pop_int(), i);
    }
    queue_close();
}

/* By hundreds only, so that many are equal. */
static int
queue_compare_hundreds(const void *a, const void *b)
{
    return *(const int *)a / 100 - *(const int *)b / 100;
}

TEST(a_priority_queue_keeps_equal_items_in_order)
{
    enum { COUNT = 500 };
    unsigned seed = 1;
    int next[10] = {0}, put[10] = {0};

    queue_open(0, KOLK_PRIORITY_ORDER, queue_compare_hundreds);
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 1103515245 + 12345;
        int level = (int)(seed >> 16) % 10;
        queue_push_int(level * 100 + put[level]++ % 100);
    }
    for (int i = 0, last = 0; i < COUNT; i++) {
        int item = queue_pop_int();
        int level = item / 100;

        CHECK(level >= last);
        CHECK_INT(item % 100, next[level]++ % 100);
        last = level;
    }
    queue_close();
}

struct queue_big {
    char text[24];
    int priority;
    char tail[100];
};

static int
queue_compare_big(const void *a, const void *b)
{
    return ((const struct queue_big *)a)->priority
           - ((const struct queue_big *)b)->priority;
}

TEST(items_of_any_size_come_out_whole)
{
    kolk_queue_options options = {.item_size = sizeof(struct queue_big),
                                  .order = KOLK_PRIORITY_ORDER,
                                  .compare = queue_compare_big};
    struct queue_big item = {.text = "text"};

    CHECK_OK(kolk_queue_new(&options, &queue));
    for (int i = 0; i < 50; i++) {
        item.priority = i * 7 % 50;
        item.tail[99] = (char)item.priority;
        CHECK_OK(kolk_queue_try_put(queue, &item));
    }
    for (int i = 0; i < 50; i++) {
        CHECK_OK(kolk_queue_try_get(queue, &item));
        CHECK_INT(item.priority, i);
        CHECK_INT(item.tail[99], i);
        CHECK_STR(item.text, "text");
    }
    queue_close();
}

TEST(a_queue_with_senseless_options_is_refused)
{
    kolk_queue_options options = {.item_size = 0};

    CHECK_ERR(kolk_queue_new(&options, &queue), -EINVAL);
    options.item_size = SIZE_MAX;
    CHECK_ERR(kolk_queue_new(&options, &queue), -EINVAL);
    options.item_size = 4;
    options.order = KOLK_PRIORITY_ORDER;
    CHECK_ERR(kolk_queue_new(&options, &queue), -EINVAL);
    options.order = KOLK_FIFO;
    options.compare = queue_compare_big;
    CHECK_ERR(kolk_queue_new(&options, &queue), -EINVAL);
    CHECK_OK(kolk_queue_free(NULL));
}

TEST(a_queue_that_cannot_grow_refuses_the_item)
{
    kolk_queue_options options = {.item_size = SIZE_MAX / 4};
    char item = 0;

    CHECK_OK(kolk_queue_new(&options, &queue));
    CHECK_ERR(kolk_queue_try_put(queue, &item), -ENOMEM);
    CHECK_INT(kolk_queue_size(queue), 0);
    CHECK_ERR(kolk_queue_task_done(queue), -KOLK_EMISUSE); /* was not put */
    queue_close();
}

/* ---- waiting ---- */

static int
queue_get_and_note(void *arg)
{
    int item = -1;
    int err = kolk_queue_get(queue, &item);

    (void)arg;
    tasks_note(err == 0 ? (char)('0' + item) : err == -ESHUTDOWN ? 's' : 'e');
    return 0;
}

static int
queue_feed_getters(void *arg)
{
    kolk_task *last = NULL;

    (void)arg;
    for (int i = 0; i < 3; i++) {
        last = tasks_spawn(queue_get_and_note, NULL);
    }
    tasks_pass(2);
    for (int i = 1; i <= 4; i++) {
        CHECK_OK(kolk_queue_put(queue, &i));
    }
    CHECK_INT(kolk_queue_size(queue), 1); /* three have been handed over */
    int item;
    CHECK_OK(kolk_queue_get(queue, &item));
    CHECK_INT(item, 4);
    return last != NULL ? kolk_await(last) : 0;
}

TEST(items_go_to_the_getter_that_waits_longest)
{
    queue_open(0, KOLK_FIFO, NULL);
    tasks_run(queue_feed_getters, NULL);
    CHECK_STR(tasks_notes(), "123");
    queue_close();
}

static int
queue_put_and_note(void *arg)
{
    int item = *(const char *)arg - '0';
    int err = kolk_queue_put(queue, &item);

    tasks_note(err == 0 ? *(const char *)arg : err == -ESHUTDOWN ? 's' : 'e');
    return 0;
}

static int
queue_drain_putters(void *arg)
{
    kolk_task *last = NULL;

    (void)arg;
    for (const char *digit = "12345"; *digit != '\0'; digit++) {
        last = tasks_spawn(queue_put_and_note, (void *)digit);
    }
    tasks_pass(2);
    CHECK_STR(tasks_notes(), "12");
    CHECK(kolk_queue_is_full(queue));
    int item = 9;
    CHECK_ERR(kolk_queue_try_put(queue, &item), -EAGAIN);
    CHECK_INT(queue_pop_int(), 1);
    CHECK(kolk_queue_is_full(queue)); /* the room is taken already */
    CHECK_ERR(kolk_queue_try_put(queue, &item), -EAGAIN);
    for (int i = 2; i <= 5; i++) {
        CHECK_INT(queue_pop_int(), i);
    }
    CHECK_ERR(kolk_queue_try_get(queue, &item), -EAGAIN);
    return last != NULL ? kolk_await(last) : 0;
}

TEST(room_goes_to_the_putter_that_waits_longest)
{
    queue_open(2, KOLK_FIFO, NULL);
    tasks_run(queue_drain_putters, NULL);
    CHECK_STR(tasks_notes(), "12345");
    queue_close();
}

static void
queue_feed_by_call(kolk_call *call)
{
    (void)call;
    queue_push_int(5);
}

static int
queue_wait_for_callback(void *arg)
{
    static kolk_call call;
    int item;

    (void)arg;
    kolk_call_init(&call, queue_feed_by_call, NULL);
    CHECK_OK(kolk_call_soon(kolk_current_loop(), &call));
    CHECK_OK(kolk_queue_get(queue, &item));
    CHECK_INT(item, 5);
    return 0;
}

TEST(a_callback_may_use_a_queue_without_waiting)
{
    int item = 1;

    queue_open(0, KOLK_FIFO, NULL);
    CHECK_ERR(kolk_queue_put(queue, &item), -KOLK_EMISUSE);
    CHECK_ERR(kolk_queue_get(queue, &item), -KOLK_EMISUSE);
    CHECK_ERR(kolk_queue_join(queue), -KOLK_EMISUSE);
    tasks_run(queue_wait_for_callback, NULL);
    queue_close();
}

static int
queue_free_while_waiting(void *arg)
{
    kolk_task *getter = tasks_spawn(queue_get_and_note, NULL);

    (void)arg;
    tasks_pass(2);
    CHECK_ERR(kolk_queue_free(queue), -KOLK_EMISUSE);
    queue_push_int(1);
    return getter != NULL ? kolk_await(getter) : 0;
}

TEST(a_queue_that_is_waited_for_is_not_freed)
{
    queue_open(0, KOLK_FIFO, NULL);
    tasks_run(queue_free_while_waiting, NULL);
    queue_close();
}

/* ---- work that is done ---- */

static int
queue_join_and_note(void *arg)
{
    (void)arg;
    CHECK_OK(kolk_queue_join(queue));
    tasks_note('j');
    return 0;
}

static int
queue_join_work(void *arg)
{
    (void)arg;
    CHECK_OK(kolk_queue_join(queue)); /* nothing was put */
    CHECK_ERR(kolk_queue_task_done(queue), -KOLK_EMISUSE);
    queue_push_int(1);
    queue_push_int(2);
    kolk_task *joiner = tasks_spawn(queue_join_and_note, NULL);
    tasks_pass(2);
    (void)queue_pop_int();
    (void)queue_pop_int();
    tasks_pass(2);
    CHECK_OK(kolk_queue_task_done(queue));
    tasks_pass(2);
    CHECK_STR(tasks_notes(), "");
    CHECK_OK(kolk_queue_task_done(queue));
    CHECK_ERR(kolk_queue_task_done(queue), -KOLK_EMISUSE);
    return joiner != NULL ? kolk_await(joiner) : 0;
}

TEST(joining_a_queue_waits_until_all_work_is_done)
{
    queue_open(0, KOLK_FIFO, NULL);
    tasks_run(queue_join_work, NULL);
    CHECK_STR(tasks_notes(), "j");
    queue_close();
}

/* ---- shutdown ---- */

static int
queue_shut_down(void *arg)
{
    int item = 3;

    (void)arg;
    for (const char *digit = "123"; *digit != '\0'; digit++) {
        (void)tasks_spawn(queue_put_and_note, (void *)digit);
    }
    tasks_pass(2);
    kolk_queue_shutdown(queue, false);
    tasks_pass(2);
    CHECK_STR(tasks_notes(), "1ss"); /* the two that waited for room */
    CHECK_ERR(kolk_queue_put(queue, &item), -ESHUTDOWN);
    CHECK_ERR(kolk_queue_try_put(queue, &item), -ESHUTDOWN);
    CHECK_OK(kolk_queue_get(queue, &item));
    CHECK_INT(item, 1);
    CHECK_ERR(kolk_queue_get(queue, &item), -ESHUTDOWN);
    CHECK_ERR(kolk_queue_try_get(queue, &item), -ESHUTDOWN);
    CHECK_OK(kolk_queue_task_done(queue));
    return 0;
}

TEST(a_queue_that_was_shut_down_gives_what_is_left)
{
    queue_open(1, KOLK_FIFO, NULL);
    tasks_run(queue_shut_down, NULL);
    queue_close();
}

static int
queue_shut_down_getters(void *arg)
{
    kolk_task *last = NULL;

    (void)arg;
    for (int i = 0; i < 2; i++) {
        last = tasks_spawn(queue_get_and_note, NULL);
    }
    tasks_pass(2);
    kolk_queue_shutdown(queue, false);
    return last != NULL ? kolk_await(last) : 0;
}

TEST(shutting_a_queue_down_wakes_its_getters)
{
    queue_open(1, KOLK_FIFO, NULL);
    tasks_run(queue_shut_down_getters, NULL);
    CHECK_STR(tasks_notes(), "ss");
    queue_close();
}

static int
queue_shut_down_now(void *arg)
{
    int item;

    (void)arg;
    for (int i = 0; i < 5; i++) {
        queue_push_int(i);
    }
    (void)queue_pop_int();
    kolk_task *joiner = tasks_spawn(queue_join_and_note, NULL);
    tasks_pass(2);
    kolk_queue_shutdown(queue, true);
    CHECK(kolk_queue_is_empty(queue));
    CHECK_ERR(kolk_queue_get(queue, &item), -ESHUTDOWN);
    tasks_pass(2);
    CHECK_STR(tasks_notes(), ""); /* one item is still worked on */
    CHECK_OK(kolk_queue_task_done(queue));
    CHECK_ERR(kolk_queue_task_done(queue), -KOLK_EMISUSE);
    return joiner != NULL ? kolk_await(joiner) : 0;
}

TEST(shutting_a_queue_down_at_once_throws_its_items_away_as_done)
{
    queue_open(0, KOLK_FIFO, NULL);
    tasks_run(queue_shut_down_now, NULL);
    CHECK_STR(tasks_notes(), "j");
    queue_close();
}
