/* from_asyncio.c - the right side of the guide for those who know asyncio.
 *
 * SPDX-License-Identifier: MIT
 *
 * The guide shows what stands between two comments [name], beside what has the
 * same name in from_asyncio.py. Both run, and end with the same results.
 */
#include "from_asyncio.h"

#include <errno.h>

/* [run] */
static int
main_task(void *arg)
{
    (void)arg;
    int err = kolk_sleep(KOLK_MS(10));
    return err < 0 ? err : 42;
}
/* [run] */

static int
twice(void *arg)
{
    int err = kolk_checkpoint();
    return err < 0 ? err : 2 * *(int *)arg;
}

/* [task] */
static int
task(void *arg)
{
    kolk_spawn_options options = {.name = "child"};
    kolk_task *child;
    int x = 21;
    (void)arg;
    int err = kolk_spawn_with(NULL, &options, twice, &x, &child);
    if (err < 0) {
        return err;
    }
    int result = kolk_await(child);
    kolk_task_detach(child);
    return result;
}
/* [task] */

/* [gather] */
static int
gather(void *arg)
{
    int x[2] = {1, 2}, results[2];
    kolk_task *tasks[2] = {NULL, NULL};
    (void)arg;
    int err = kolk_spawn(twice, &x[0], &tasks[0]);
    err = err < 0 ? err : kolk_spawn(twice, &x[1], &tasks[1]);
    err = err < 0 ? err : kolk_gather(tasks, 2, results);
    kolk_future_unref(tasks[0]);
    kolk_future_unref(tasks[1]);
    return err < 0 ? err : results[0] + results[1];
}
/* [gather] */

static int
fail(void *arg)
{
    (void)arg;
    int err = kolk_checkpoint();
    return err < 0 ? err : -EIO;
}

/* [gather_all] */
static int
gather_all(void *arg)
{
    int x = 1, results[2] = {0, 0};
    kolk_task *tasks[2] = {NULL, NULL};
    (void)arg;
    int err = kolk_spawn(twice, &x, &tasks[0]);
    err = err < 0 ? err : kolk_spawn(fail, NULL, &tasks[1]);
    err = err < 0 ? err : kolk_gather_all(tasks, 2, results);
    kolk_future_unref(tasks[0]);
    kolk_future_unref(tasks[1]);
    return err == 0 && results[1] == -EIO ? results[0] : 0;
}
/* [gather_all] */

static int
sleep_ms(void *arg)
{
    int err = kolk_sleep(KOLK_MS(*(int *)arg));
    return err < 0 ? err : *(int *)arg;
}

/* [wait] */
static int
wait_first(void *arg)
{
    int x = 1, long_time = 60000;
    kolk_task *tasks[2] = {NULL, NULL};
    (void)arg;
    int err = kolk_spawn(twice, &x, &tasks[0]);
    err = err < 0 ? err : kolk_spawn(sleep_ms, &long_time, &tasks[1]);
    int done =
        err < 0 ? err : kolk_wait(tasks, 2, KOLK_FIRST_COMPLETED, KOLK_NEVER);
    if (err == 0) {
        (void)kolk_task_cancel(tasks[1]);
        err = kolk_await(tasks[1]); /* until &long_time is ours again */
    }
    kolk_future_unref(tasks[0]);
    kolk_future_unref(tasks[1]);
    return err == -ECANCELED ? done : err;
}
/* [wait] */

/* [as_completed] */
static int
as_completed(void *arg)
{
    int slow = 30, fast = 1;
    kolk_task *tasks[2] = {NULL, NULL};
    kolk_as_completed *iteration = NULL;
    size_t order[2] = {0, 0}, n = 0;
    (void)arg;
    int err = kolk_spawn(sleep_ms, &slow, &tasks[0]);
    err = err < 0 ? err : kolk_spawn(sleep_ms, &fast, &tasks[1]);
    err = err < 0 ? err : kolk_as_completed_new(tasks, 2, &iteration);
    while (err == 0 && kolk_as_completed_next(iteration, &order[n]) == 1) {
        n++;
    }
    kolk_as_completed_free(iteration);
    kolk_future_unref(tasks[0]);
    kolk_future_unref(tasks[1]);
    return order[0] == 1 ? 0 : 1; /* the place of the fast one */
}
/* [as_completed] */

/* [group] */
static int
group(void *arg)
{
    int x[2] = {1, 2};
    kolk_task *a = NULL, *b = NULL;
    (void)arg;
    KOLK_GROUP(group);
    int err = kolk_group_spawn(&group, twice, &x[0], &a);
    err = err < 0 ? err : kolk_group_spawn(&group, twice, &x[1], &b);
    err = kolk_group_end(&group, err);
    if (err == 0) {
        err = kolk_future_result(a) + kolk_future_result(b);
    }
    kolk_future_unref(a);
    kolk_future_unref(b);
    return err;
}
/* [group] */

/* [timeout] */
static int
timeout(void *arg)
{
    (void)arg;
    KOLK_TIMEOUT(timeout, KOLK_MS(10));
    int err = kolk_sleep(KOLK_S(60));
    err = kolk_timeout_end(&timeout, err);
    return err == -ETIMEDOUT;
}
/* [timeout] */

/* [wait_for] */
static int
wait_for(void *arg)
{
    int long_time = 60000;
    kolk_task *sleeper;
    (void)arg;
    int err = kolk_spawn(sleep_ms, &long_time, &sleeper);
    if (err < 0) {
        return err;
    }
    err = kolk_wait_for(sleeper, KOLK_MS(10));
    kolk_task_detach(sleeper);
    return err == -ETIMEDOUT;
}
/* [wait_for] */

/* [cancel] */
static int
sleeper(void *log)
{
    int err = kolk_sleep(KOLK_S(60));
    *(int *)log += 1; /* cleaned up */
    return err;
}

static int
cancel(void *arg)
{
    int log = 0;
    kolk_task *task;
    (void)arg;
    int err = kolk_spawn(sleeper, &log, &task);
    err = err < 0 ? err : kolk_checkpoint();
    if (err < 0) {
        return err;
    }
    (void)kolk_task_cancel(task);
    err = kolk_await(task);
    kolk_task_detach(task);
    return err == -ECANCELED ? log : err;
}
/* [cancel] */

/* [shield] */
static int
shield(void *arg)
{
    int x = 4;
    (void)arg;
    (void)kolk_task_cancel(kolk_current_task());
    int err = kolk_checkpoint(); /* -ECANCELED, and so would each wait be */
    KOLK_SHIELD(shield);
    int result = twice(&x);
    (void)kolk_shield_end(&shield);
    (void)kolk_task_uncancel(kolk_current_task());
    return err == -ECANCELED ? result : err;
}
/* [shield] */

/* [future] */
struct alarm {
    kolk_timer timer;
    kolk_future *future;
};

static void
alarm_ring(kolk_timer *timer)
{
    struct alarm *alarm = KOLK_CONTAINER_OF(timer, struct alarm, timer);
    if (kolk_future_set_result(alarm->future, 7, NULL) < 0) {
        return; /* it was cancelled */
    }
}

static int
future(void *arg)
{
    struct alarm alarm;
    (void)arg;
    kolk_timer_init(&alarm.timer, alarm_ring, NULL);
    int err = kolk_future_new(NULL, &alarm.future);
    if (err < 0) {
        return err;
    }
    err = kolk_call_later(kolk_current_loop(), &alarm.timer, KOLK_MS(1));
    err = err < 0 ? err : kolk_await(alarm.future);
    kolk_timer_stop(kolk_current_loop(), &alarm.timer);
    kolk_future_unref(alarm.future);
    return err;
}
/* [future] */

/* [lock] */
static kolk_lock lock = KOLK_LOCK_INIT;
static int balance = 100;

static int
lock_use(void *arg)
{
    (void)arg;
    int err = kolk_lock_acquire(&lock);
    if (err < 0) {
        return err;
    }
    int before = balance;
    err = kolk_checkpoint();
    balance = before - 30;
    (void)kolk_lock_release(&lock);
    return err < 0 ? err : balance;
}
/* [lock] */

/* [event] */
struct setter {
    kolk_call call;
    kolk_event event;
};

static void
setter_run(kolk_call *call)
{
    kolk_event_set(&KOLK_CONTAINER_OF(call, struct setter, call)->event);
}

static int
event(void *arg)
{
    struct setter setter = {.event = KOLK_EVENT_INIT};
    (void)arg;
    kolk_call_init(&setter.call, setter_run, NULL);
    int err = kolk_call_soon(kolk_current_loop(), &setter.call);
    err = err < 0 ? err : kolk_event_wait(&setter.event);
    kolk_call_cancel(kolk_current_loop(), &setter.call);
    return err < 0 ? err : kolk_event_is_set(&setter.event);
}
/* [event] */

/* [condition] */
struct shelf {
    kolk_lock lock;
    kolk_condition filled;
    int item;
};

static int
shelf_put(void *arg)
{
    struct shelf *shelf = arg;
    int err = kolk_lock_acquire(&shelf->lock);
    if (err < 0) {
        return err;
    }
    shelf->item = 9;
    kolk_condition_notify(&shelf->filled, 1);
    return kolk_lock_release(&shelf->lock);
}

static int
condition(void *arg)
{
    struct shelf shelf = {.item = 0};
    (void)arg;
    KOLK_GROUP(group);
    int err = kolk_group_spawn(&group, shelf_put, &shelf, NULL);
    err = err < 0 ? err : kolk_lock_acquire(&shelf.lock);
    while (err == 0 && shelf.item == 0) {
        err = kolk_condition_wait(&shelf.filled, &shelf.lock);
    }
    (void)kolk_lock_release(&shelf.lock);
    err = kolk_group_end(&group, err);
    return err < 0 ? err : shelf.item;
}
/* [condition] */

/* [semaphore] */
static kolk_semaphore semaphore = KOLK_SEMAPHORE_INIT(2);

static int
semaphore_use(void *arg)
{
    (void)arg;
    int err = kolk_semaphore_acquire(&semaphore);
    if (err < 0) {
        return err;
    }
    int is_free = kolk_semaphore_value(&semaphore) > 0;
    (void)kolk_semaphore_release(&semaphore);
    return is_free;
}
/* [semaphore] */

/* [queue] */
static int
produce(void *queue)
{
    for (int i = 1; i <= 10; i++) {
        int err = kolk_queue_put(queue, &i);
        if (err < 0) {
            return err;
        }
    }
    kolk_queue_shutdown(queue, false);
    return 0;
}

static int
queue(void *arg)
{
    kolk_queue_options options = {.item_size = sizeof(int), .maxsize = 4};
    kolk_queue *queue;
    int item, total = 0;
    (void)arg;
    int err = kolk_queue_new(&options, &queue);
    if (err < 0) {
        return err;
    }
    KOLK_GROUP(group);
    err = kolk_group_spawn(&group, produce, queue, NULL);
    while (err == 0 && (err = kolk_queue_get(queue, &item)) == 0) {
        total += item;
    }
    err = kolk_group_end(&group, err == -ESHUTDOWN ? 0 : err);
    (void)kolk_queue_free(queue);
    return err < 0 ? err : total;
}
/* [queue] */

/* [thread] */
static int
blocking(void *arg)
{
    int sum = 0;
    for (int i = 0; i < *(int *)arg; i++) {
        sum += i;
    }
    return sum;
}

static int
thread(void *arg)
{
    int n = 100;
    (void)arg;
    return kolk_to_thread(blocking, &n);
}
/* [thread] */

/* [threadsafe] */
static int
other_thread(void *inbox)
{
    int x = 8;
    return kolk_inbox_run(inbox, twice, &x);
}

static int
threadsafe(void *arg)
{
    (void)arg;
    return kolk_to_thread(other_thread, kolk_loop_inbox(kolk_current_loop()));
}
/* [threadsafe] */

/* [context] */
static const kolk_var request = {.name = "request"};

static int
handle(void *arg)
{
    (void)arg;
    return *(int *)kolk_var_get(&request);
}

static int
context(void *arg)
{
    int number = 5;
    (void)arg;
    int err = kolk_var_set(&request, &number, NULL);
    KOLK_GROUP(group);
    kolk_task *child = NULL;
    err = err < 0 ? err : kolk_group_spawn(&group, handle, NULL, &child);
    err = kolk_group_end(&group, err);
    err = err < 0 ? err : kolk_future_result(child);
    kolk_future_unref(child);
    return err;
}
/* [context] */

/* [loop] */
struct stopper {
    kolk_timer timer;
    kolk_loop *loop;
};

static void
stopper_run(kolk_timer *timer)
{
    kolk_loop_stop(KOLK_CONTAINER_OF(timer, struct stopper, timer)->loop);
}

static int
loop_by_hand(void)
{
    struct stopper stopper;
    int err = kolk_loop_open(NULL, &stopper.loop);
    if (err < 0) {
        return err;
    }
    kolk_timer_init(&stopper.timer, stopper_run, NULL);
    err = kolk_call_later(stopper.loop, &stopper.timer, KOLK_MS(1));
    err = err < 0 ? err : kolk_run_forever(stopper.loop);
    (void)kolk_loop_close(stopper.loop);
    return err < 0 ? err : 1;
}
/* [loop] */

static const struct piece pieces[] = {
    {"run", main_task, 42},
    {"task", task, 42},
    {"gather", gather, 6},
    {"gather_all", gather_all, 2},
    {"wait", wait_first, 1},
    {"as_completed", as_completed, 0},
    {"group", group, 6},
    {"timeout", timeout, 1},
    {"wait_for", wait_for, 1},
    {"cancel", cancel, 1},
    {"shield", shield, 8},
    {"future", future, 7},
    {"lock", lock_use, 70},
    {"event", event, 1},
    {"condition", condition, 9},
    {"semaphore", semaphore_use, 1},
    {"queue", queue, 55},
    {"thread", thread, 4950},
    {"threadsafe", threadsafe, 16},
    {"context", context, 5},
};

int
main(void)
{
    int failures = pieces_run(pieces, sizeof pieces / sizeof *pieces);

    return failures > 0 || loop_by_hand() != 1;
}
