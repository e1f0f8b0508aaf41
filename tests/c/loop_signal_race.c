/* loop_signal_race.c - signals, threads and forks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ears.h"

#include "base/sys.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- waking ---- */

static void
ear_stops_loop(struct ear *self)
{
    (void)self;
    kolk_loop_stop(kolk_current_loop());
}

static void *
thread_raises(void *arg)
{
    (void)arg;
    (void)usleep(20000); /* the loop sleeps by then, most often */
    (void)raise(SIGUSR1);
    return NULL;
}

static void *
thread_sends(void *arg)
{
    (void)usleep(20000);
    (void)pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

static void
wake_by(void *(*fn)(void *arg))
{
    static struct ear a;
    kolk_loop *loop = test_real_loop_open();
    pthread_t self = pthread_self(), thread;

    ear_start(&a, loop, 'a', SIGUSR1);
    a.then = ear_stops_loop;
    CHECK_INT(pthread_create(&thread, NULL, fn, &self), 0);
    CHECK_OK(kolk_run_forever(loop)); /* nothing else would end it */
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(a.runs, 1);
}

TEST_TIME(a_signal_wakes_a_sleeping_loop_whichever_thread_takes_it)
{
    wake_by(thread_raises);
}

TEST_TIME(a_signal_that_interrupts_the_poll_wakes_the_loop)
{
    wake_by(thread_sends);
}

/* ---- a handler that takes its time ---- */

static ssize_t (*slow_write)(int fd, const void *buf, size_t size);
static atomic_bool slow_has_begun, slow_may_go_on;

static ssize_t
slow_write_waits(int fd, const void *buf, size_t size)
{
    if (!atomic_exchange(&slow_has_begun, true)) {
        while (!atomic_load(&slow_may_go_on)) {
            (void)usleep(100);
        }
    }
    return slow_write(fd, buf, size);
}

static void *
slow_raise(void *arg)
{
    (void)raise(SIGUSR1);
    return arg;
}

TEST_TIME(a_handler_that_stands_at_a_loop_keeps_its_inbox)
{
    static struct ear a, b;
    kolk_loop *other = test_loop_open(), *loop = test_loop_open();
    pthread_t thread;

    ear_start(&b, other, 'b', SIGUSR1);
    ear_start(&a, loop, 'a', SIGUSR1);
    slow_write = kolk__sys.write;
    kolk__sys.write = slow_write_waits;
    CHECK_INT(pthread_create(&thread, NULL, slow_raise, NULL), 0);
    while (!atomic_load(&slow_has_begun)) {
        (void)usleep(100);
    }
    test_loop_close(loop); /* which the handler is about to wake */
    CHECK_INT(a.drops, 1);
    kolk__sys.write = slow_write;
    atomic_store(&slow_may_go_on, true);
    CHECK_INT(pthread_join(thread, NULL), 0);
    test_settle(other);
    CHECK_STR(notes, "b");       /* the list was whole */
    kolk_signal_stop(&b.signal); /* what was kept for the handler goes */
}

static void *
thread_is_cancelled(void *arg)
{
    (void)pthread_cancel(pthread_self());
    (void)raise(SIGUSR1); /* must not end the thread inside the handler */
    *(int *)arg = 1;
    pthread_testcancel();
    return NULL;
}

TEST(a_thread_is_not_cancelled_inside_the_handler)
{
    static struct ear a;
    kolk_loop *loop = test_loop_open();
    pthread_t thread;
    void *result;
    int passed = 0;

    ear_start(&a, loop, 'a', SIGUSR1);
    CHECK_INT(pthread_create(&thread, NULL, thread_is_cancelled, &passed), 0);
    CHECK_INT(pthread_join(thread, &result), 0);
    CHECK(result == PTHREAD_CANCELED);
    CHECK_INT(passed, 1);
    test_settle(loop);
    CHECK_INT(a.runs, 1);
}

/* ---- loops that come and go while signals arrive ---- */

enum { STORM_THREADS = 3 };

static atomic_bool storm_is_over;
static atomic_int storm_told;

static void
storm_tell(kolk_signal *signal)
{
    (void)signal;
    atomic_fetch_add(&storm_told, 1);
}

static void *
storm_listen(void *arg)
{
    kolk_signal signals[2];
    size_t count = *(const size_t *)arg;

    for (size_t i = 0; i < count; i++) {
        kolk_loop *loop;

        if (!CHECK_OK(kolk_loop_open(NULL, &loop))) {
            break;
        }
        for (int j = 0; j < 2; j++) {
            kolk_signal_init(&signals[j], storm_tell, NULL);
            CHECK_OK(kolk_signal_start(loop, &signals[j], SIGUSR1));
        }
        CHECK_OK(kolk_run_once(loop));
        kolk_signal_stop(&signals[0]);
        CHECK_OK(kolk_run_once(loop));
        CHECK_OK(kolk_loop_close(loop));
    }
    return NULL;
}

static void *
storm_blow(void *arg)
{
    while (!atomic_load(&storm_is_over)) {
        (void)kill(getpid(), SIGUSR1); /* to any thread */
        (void)sched_yield();
    }
    return arg;
}

TEST_TIME(loops_come_and_go_in_threads_while_signals_arrive)
{
    static struct ear a, last;
    pthread_t listeners[STORM_THREADS], blower;
    size_t count = test_count(400);
    kolk_loop *loop = test_real_loop_open();

    own_install(SIGUSR1);
    ear_start(&a, loop, 'a', SIGUSR1);
    atomic_store(&storm_is_over, false);
    for (int i = 0; i < STORM_THREADS; i++) {
        CHECK_INT(pthread_create(&listeners[i], NULL, storm_listen, &count), 0);
    }
    CHECK_INT(pthread_create(&blower, NULL, storm_blow, NULL), 0);
    for (int i = 0; i < STORM_THREADS; i++) {
        CHECK_INT(pthread_join(listeners[i], NULL), 0);
    }
    atomic_store(&storm_is_over, true);
    CHECK_INT(pthread_join(blower, NULL), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(a.runs, 1);
    kolk_signal_stop(&a.signal);
    CHECK(own_is_there(SIGUSR1));
    /* What a handler of another thread has kept goes at the next change. */
    ear_start(&last, loop, 'l', SIGUSR1);
    printf("told %d times\n", atomic_load(&storm_told));
}

/* ---- forks ---- */

#define CHILD_EXPECT(condition)                                                \
    if (!(condition)) {                                                        \
        _exit(__LINE__ % 256);                                                 \
    }

static void
child_wait(pid_t pid)
{
    int status = -1;

    CHECK(pid > 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(WEXITSTATUS(status), 0);
    CHECK_INT(status, 0);
}

/* Has nothing reached the loop? */
static void
check_quiet(kolk_loop *loop, struct ear *ear)
{
    test_settle(loop);
    CHECK_INT(ear->runs, 0);
    CHECK_INT(raise(SIGUSR1), 0);
    test_settle(loop);
    CHECK_INT(ear->runs, 1);
}

TEST(in_a_child_signals_do_what_they_did_before)
{
    static struct ear a, b;
    kolk_loop *loop = test_loop_open();

    own_install(SIGUSR1);
    ear_start(&a, loop, 'a', SIGUSR1);
    pid_t pid = fork();
    if (pid == 0) {
        CHILD_EXPECT(own_is_there(SIGUSR1));
        (void)raise(SIGUSR1);
        CHILD_EXPECT(own_runs == 1);
        ear_init(&b, 'b');
        CHILD_EXPECT(kolk_signal_start(loop, &b.signal, SIGUSR1)
                     == -KOLK_EFORK);
        kolk_signal_stop(&a.signal);
        CHILD_EXPECT(own_is_there(SIGUSR1));
        _exit(0);
    }
    child_wait(pid);
    check_quiet(loop, &a);
}

TEST(a_child_has_signals_on_a_loop_of_its_own)
{
    static struct ear a, b;
    kolk_loop *loop = test_loop_open(), *own;

    ear_start(&a, loop, 'a', SIGUSR1);
    pid_t pid = fork();
    if (pid == 0) {
        ear_init(&b, 'b');
        CHILD_EXPECT(kolk_loop_close(loop) == 0 && a.drops == 1);
        CHILD_EXPECT(kolk_loop_open(NULL, &own) == 0);
        CHILD_EXPECT(kolk_signal_start(own, &b.signal, SIGUSR1) == 0);
        (void)raise(SIGUSR1);
        CHILD_EXPECT(kolk_run_once(own) == 0 && b.runs == 1 && a.runs == 0);
        CHILD_EXPECT(kolk_loop_close(own) == 0);
        _exit(0);
    }
    child_wait(pid);
    check_quiet(loop, &a);
}

/* One of which no handler of pthread_atfork() was told. */
TEST(a_child_made_behind_the_librarys_back_does_not_wake_the_parent)
{
    static struct ear a;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        (void)syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
        _exit(0);
    }
    child_wait(pid);
    check_quiet(loop, &a);
}
