/* guide.c - every piece of code of the guide, as one program that runs.
 *
 * SPDX-License-Identifier: MIT
 *
 * The guide shows what stands between two comments [name]. Each piece ends in
 * an `int` that main() compares with what the guide says.
 */
#include <kolk.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* [first] */
static int
greet(void *arg)
{
    const char *name = arg;

    int err = kolk_sleep(KOLK_MS(10));
    if (err < 0) {
        return err;
    }
    printf("hello, %s\n", name);
    return 0;
}
/* [first] */

/* [gather] */
static int
greet_both(void *arg)
{
    (void)arg;
    kolk_task *tasks[2];

    int err = kolk_spawn(greet, "sea", &tasks[0]);
    if (err < 0) {
        return err;
    }
    err = kolk_spawn(greet, "sky", &tasks[1]);
    if (err < 0) {
        (void)kolk_task_cancel(tasks[0]);
        kolk_task_detach(tasks[0]);
        return err;
    }
    err = kolk_gather(tasks, 2, NULL);
    kolk_task_detach(tasks[0]);
    kolk_task_detach(tasks[1]);
    return err;
}
/* [gather] */

/* [group] */
static int
greet_group(void *arg)
{
    (void)arg;
    KOLK_GROUP(group);

    int err = kolk_group_spawn(&group, greet, "river", NULL);
    if (err == 0) {
        err = kolk_group_spawn(&group, greet, "lake", NULL);
    }
    return kolk_group_end(&group, err);
}
/* [group] */

/* [cancel] */
static int
tick(void *arg)
{
    int *ticks = arg;

    for (;;) {
        int err = kolk_sleep(KOLK_MS(1));
        if (err < 0) {
            return err; /* -ECANCELED: clean up and go */
        }
        *ticks += 1;
    }
}

static int
tick_for_a_while(void *arg)
{
    kolk_task *task;

    int err = kolk_spawn(tick, arg, &task);
    if (err < 0) {
        return err;
    }
    err = kolk_sleep(KOLK_MS(20));
    (void)kolk_task_cancel(task); /* a request; the task ends by itself */
    int result = kolk_await(task);
    kolk_task_detach(task);
    return err < 0 ? err : result;
}
/* [cancel] */

/* [timeout] */
static int
tick_with_timeout(void *arg)
{
    KOLK_TIMEOUT(timeout, KOLK_MS(20));
    int err = tick(arg);
    return kolk_timeout_end(&timeout, err);
}
/* [timeout] */

/* [shield] */
static int
say_goodbye(int fd)
{
    KOLK_SHIELD(shield);
    int err = kolk_send(fd, "bye\n", 4, 0);
    (void)kolk_shield_end(&shield);
    return err;
}
/* [shield] */

/* [queue] */
static int
produce(void *arg)
{
    kolk_queue *queue = arg;

    for (int i = 1; i <= 10; i++) {
        int err = kolk_queue_put(queue, &i); /* waits while it is full */
        if (err < 0) {
            return err;
        }
    }
    kolk_queue_shutdown(queue, false); /* nothing more comes */
    return 0;
}

static int
add_up(void *arg)
{
    const kolk_queue_options options = {.item_size = sizeof(int), .maxsize = 4};
    kolk_queue *queue;
    int item, sum = 0;

    (void)arg;
    int err = kolk_queue_new(&options, &queue);
    if (err < 0) {
        return err;
    }
    KOLK_GROUP(group);
    err = kolk_group_spawn(&group, produce, queue, NULL);
    while (err == 0) {
        err = kolk_queue_get(queue, &item);
        sum += err == 0 ? item : 0;
    }
    err = kolk_group_end(&group, err == -ESHUTDOWN ? 0 : err);
    (void)kolk_queue_free(queue);
    return err < 0 ? err : sum;
}
/* [queue] */

/* [lock] */
static kolk_lock lock = KOLK_LOCK_INIT;
static int balance = 100;

static int
withdraw(void *arg)
{
    const int *amount = arg;

    int err = kolk_lock_acquire(&lock);
    if (err < 0) {
        return err;
    }
    int before = balance;
    err = kolk_checkpoint(); /* others run, but not in here */
    if (err == 0) {
        balance = before - *amount;
    }
    (void)kolk_lock_release(&lock);
    return err;
}
/* [lock] */

/* [sockets] */
static int
echo(void *arg)
{
    const int *fd = arg;
    char buffer[512];
    int got;

    while ((got = kolk_recv(*fd, buffer, sizeof buffer, 0)) > 0) {
        for (int sent = 0; sent < got;) {
            int n = kolk_send(*fd, buffer + sent, (size_t)(got - sent), 0);
            if (n < 0) {
                got = n;
                break;
            }
            sent += n;
        }
    }
    (void)kolk_close(*fd); /* not close(2): the loop knows this one */
    return got;
}
/* [sockets] */

static int
talk(void *arg)
{
    int fds[2];
    char answer[16];

    (void)arg;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds)
        < 0) {
        return -errno;
    }
    KOLK_GROUP(group); /* echo() uses fds[1], so it has to end in here */
    int err = kolk_group_spawn(&group, echo, &fds[1], NULL);
    if (err < 0) {
        (void)close(fds[1]); /* no loop has seen it */
    } else {
        err = say_goodbye(fds[0]);
    }
    if (err >= 0) {
        err = kolk_recv(fds[0], answer, sizeof answer, 0);
    }
    (void)kolk_close(fds[0]);           /* which echo() takes for the end */
    return kolk_group_end(&group, err); /* 4 bytes came back */
}

/* [files] */
static int
first_byte(void *path)
{
    unsigned char byte = 0;

    int fd = kolk_open(path, O_RDONLY, 0);
    if (fd < 0) {
        return fd;
    }
    int n = kolk_pread(fd, &byte, 1, 0);
    (void)kolk_close(fd);
    return n < 0 ? n : byte;
}
/* [files] */

/* [work] */
static int
count_primes(void *arg)
{
    const int *below = arg;
    int count = 0;

    for (int n = 2; n < *below; n++) {
        int d = 2;

        while (d * d <= n && n % d != 0) {
            d++;
        }
        count += d * d > n;
    }
    return count;
}

static int
count_elsewhere(void *arg)
{
    return kolk_to_thread(count_primes, arg); /* the loop goes on meanwhile */
}
/* [work] */

/* [inbox] */
static void *
other_thread(void *arg)
{
    kolk_inbox *inbox = arg;

    /* Runs greet() as a task over there, and waits here until it has ended. */
    int result = kolk_inbox_run(inbox, greet, "other thread");
    kolk_inbox_unref(inbox);
    return (void *)(intptr_t)result;
}

static int
join_thread(void *arg)
{
    pthread_t *thread = arg;
    void *result;

    int error = pthread_join(*thread, &result); /* blocks: so in the pool */
    return error != 0 ? -error : (int)(intptr_t)result;
}

static int
be_called(void *arg)
{
    pthread_t thread;
    kolk_inbox *inbox = kolk_inbox_ref(kolk_loop_inbox(kolk_current_loop()));

    (void)arg;
    int error = pthread_create(&thread, NULL, other_thread, inbox);
    if (error != 0) {
        kolk_inbox_unref(inbox);
        return -error;
    }
    return kolk_to_thread(join_thread, &thread);
}
/* [inbox] */

/* [callbacks] */
struct clock {
    kolk_timer timer;
    kolk_loop *loop;
    int left;
};

static void
clock_strike(kolk_timer *timer)
{
    struct clock *clock = KOLK_CONTAINER_OF(timer, struct clock, timer);

    if (--clock->left == 0
        || kolk_call_later(clock->loop, timer, KOLK_MS(1)) < 0) {
        kolk_loop_stop(clock->loop);
    }
}

static int
strike_three(void)
{
    struct clock clock = {.left = 3};

    int err = kolk_loop_open(NULL, &clock.loop);
    if (err < 0) {
        return err;
    }
    kolk_timer_init(&clock.timer, clock_strike, NULL);
    err = kolk_call_later(clock.loop, &clock.timer, KOLK_MS(1));
    if (err == 0) {
        err = kolk_run_forever(clock.loop);
    }
    (void)kolk_loop_close(clock.loop);
    return err < 0 ? err : clock.left;
}
/* [callbacks] */

static int
withdraw_twice(void *arg)
{
    int amounts[2] = {30, 20};

    (void)arg;
    KOLK_GROUP(group);
    int err = kolk_group_spawn(&group, withdraw, &amounts[0], NULL);
    if (err == 0) {
        err = kolk_group_spawn(&group, withdraw, &amounts[1], NULL);
    }
    err = kolk_group_end(&group, err);
    return err < 0 ? err : balance;
}

static int failures;

static void
expect(const char *name, int actual, int expected)
{
    if (actual != expected) {
        (void)fprintf(stderr, "%s: %d (%s), not %d\n", name, actual,
                      kolk_strerror(actual), expected);
        failures++;
    }
}

int
main(void)
{
    int ticks = 0, below = 100;
    char path[] = "/proc/self/status"; /* begins with "Name:" */

    expect("first", kolk_run(greet, "world"), 0);
    expect("gather", kolk_run(greet_both, NULL), 0);
    expect("group", kolk_run(greet_group, NULL), 0);
    expect("cancel", kolk_run(tick_for_a_while, &ticks), -ECANCELED);
    expect("timeout", kolk_run(tick_with_timeout, &ticks), -ETIMEDOUT);
    expect("ticks", ticks > 0, 1);
    expect("queue", kolk_run(add_up, NULL), 55);
    expect("lock", kolk_run(withdraw_twice, NULL), 50);
    expect("sockets", kolk_run(talk, NULL), 4);
    expect("files", kolk_run(first_byte, path), 'N');
    expect("work", kolk_run(count_elsewhere, &below), 25);
    expect("inbox", kolk_run(be_called, NULL), 0);
    expect("callbacks", strike_three(), 0);
    return failures == 0 ? 0 : 1;
}
