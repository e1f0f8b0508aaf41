/* loop_debug.c - debug mode, the dump, and the instrumentation points.
 *
 * SPDX-License-Identifier: MIT
 */
#include "reports.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const kolk_loop_options debug_on = {.debug = KOLK_ON};

/* ---- slow steps ---- */

static int
busy_for_a_while(void *arg)
{
    kolk_time end = kolk_monotonic() + KOLK_MS(3);

    (void)arg;
    while (kolk_monotonic() < end) {
    }
    return 0;
}

TEST_TIME(a_slow_step_is_reported_with_the_tasks_name_and_site)
{
    kolk_loop *loop = test_real_loop_open_with(&debug_on);
    kolk_spawn_options options = {.name = "the busy one"};

    reports_watch(loop);
    kolk_loop_set_slow_step(loop, KOLK_MS(2));
    CHECK_OK(kolk_spawn_with(loop, &options, busy_for_a_while, NULL, NULL));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(reports.count, 1);
    CHECK_REPORT("took");
    CHECK_REPORT("the busy one");
    CHECK_REPORT("loop_debug.c:");
}

TEST_TIME(a_quick_step_is_not_reported)
{
    kolk_loop *loop = test_real_loop_open_with(&debug_on);

    reports_watch(loop);
    kolk_loop_set_slow_step(loop, KOLK_S(100));
    CHECK_OK(kolk_spawn_with(loop, NULL, busy_for_a_while, NULL, NULL));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(reports.count, 0);
}

/* ---- errors that nobody read ---- */

static int
fail(void *arg)
{
    (void)arg;
    return -EIO;
}

TEST(the_error_of_a_task_that_nobody_read_is_reported)
{
    kolk_loop *loop = test_loop_open();
    kolk_spawn_options options = {.name = "the lost one"};

    reports_watch(loop);
    CHECK_OK(kolk_spawn_with(loop, &options, fail, NULL, NULL));
    test_settle(loop);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.error, -EIO);
    CHECK_REPORT("nobody read");
    CHECK_REPORT("loop_debug.c:");
    CHECK_STR(reports.task, "the lost one");
}

TEST(an_error_that_was_read_is_not_reported)
{
    kolk_loop *loop = test_loop_open();
    kolk_task *task;

    reports_watch(loop);
    CHECK_OK(kolk_spawn_with(loop, NULL, fail, NULL, &task));
    int result = kolk_run_until(loop, task);
    kolk_task_detach(task);
    CHECK_ERR(result, -EIO);
    CHECK_INT(reports.count, 0);
}

/* ---- deadlock ---- */

static kolk_lock deadlock_lock;

static int
take_lock_twice(void *arg)
{
    (void)arg;
    return kolk_lock_acquire(&deadlock_lock);
}

static void
stop_at_report(void)
{
    kolk_loop_stop(kolk_current_loop());
}

TEST(a_deadlock_is_reported_with_every_blocked_task)
{
    kolk_loop *loop = test_loop_open_with(&debug_on);
    kolk_spawn_options options = {.name = "the stuck one"};

    reports_watch(loop);
    reports.then = stop_at_report;
    CHECK_OK(kolk_spawn_with(loop, NULL, take_lock_twice, NULL, NULL));
    CHECK_OK(kolk_spawn_with(loop, &options, take_lock_twice, NULL, NULL));
    CHECK_OK(kolk_run_forever(loop));
    CHECK_INT(reports.error, -EDEADLK);
    CHECK_REPORT("lock");
    CHECK_REPORT("the stuck one");
}

/* ---- the dump ---- */

static int
sleep_long(void *arg)
{
    (void)arg;
    return kolk_sleep(KOLK_S(1000));
}

TEST(a_dump_says_what_each_task_waits_for)
{
    kolk_loop *loop = test_loop_open();
    kolk_spawn_options options = {.name = "the sleeper"};
    char text[1024] = "";
    int fds[2];

    test_pipe(fds);
    CHECK_OK(kolk_spawn_with(loop, &options, sleep_long, NULL, NULL));
    CHECK_OK(kolk_run_once(loop));
    CHECK_OK(kolk_spawn_with(loop, NULL, sleep_long, NULL, NULL));
    CHECK_OK(kolk_loop_dump(loop, fds[1]));
    CHECK(read(fds[0], text, sizeof text - 1) > 0);
    CHECK(strstr(text, "the sleeper: waiting for sleep") != NULL);
    CHECK(strstr(text, "task-2: ready") != NULL);
    CHECK(strstr(text, "loop_debug.c:") != NULL);
}

/* ---- misuse ---- */

TEST(misuse_in_debug_mode_says_what_and_aborts)
{
    char text[256] = "";
    int fds[2], status;

    test_pipe(fds);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(fds[1], STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        (void)setenv("KOLK_DEBUG", "1", 1);
        _exit(kolk_checkpoint() == 0);
    }
    CHECK(pid > 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK(read(fds[0], text, sizeof text - 1) > 0);
    CHECK(strstr(text, "kolk_checkpoint() outside a task") != NULL);
}

TEST(misuse_is_an_error_without_debug_mode)
{
    CHECK_ERR(kolk_checkpoint(), -KOLK_EMISUSE);
    CHECK_ERR(kolk_sleep(1), -KOLK_EMISUSE);
    CHECK_ERR(kolk_spawn(fail, NULL, NULL), -KOLK_EMISUSE);
}

/* ---- instrumentation ---- */

static struct {
    kolk_tracer tracer;
    char events[256];
} trace;

static void
trace_add(const char *text)
{
    size_t used = strlen(trace.events);

    (void)snprintf(trace.events + used, sizeof trace.events - used, "%s ",
                   text);
}

static void
trace_step_begin(kolk_tracer *tracer, kolk_task *task, kolk_call *call)
{
    (void)tracer;
    CHECK(call != NULL);
    trace_add(task != NULL ? kolk_task_name(task) : "call");
}

static void
trace_step_end(kolk_tracer *tracer, kolk_task *task, kolk_call *call)
{
    (void)tracer, (void)task, (void)call;
    trace_add(".");
}

static void
trace_suspend(kolk_tracer *tracer, kolk_task *task, const char *reason)
{
    (void)tracer, (void)task;
    trace_add(reason);
}

static void
trace_wake(kolk_tracer *tracer, kolk_task *task, kolk_task *waker)
{
    (void)tracer;
    trace_add(kolk_task_name(task));
    trace_add(waker != NULL ? "by" : "woken");
}

static int
trace_waiter(void *arg)
{
    return kolk_join(arg);
}

TEST(a_tracer_sees_steps_waits_and_wake_ups)
{
    kolk_loop *loop = test_loop_open();
    kolk_spawn_options a = {.name = "A"}, b = {.name = "B"};
    kolk_task *first;

    trace.tracer = (kolk_tracer){.step_begin = trace_step_begin,
                                 .step_end = trace_step_end,
                                 .suspend = trace_suspend,
                                 .wake = trace_wake};
    CHECK_OK(kolk_spawn_with(loop, &a, busy_for_a_while, NULL, &first));
    int err = kolk_spawn_with(loop, &b, trace_waiter, first, NULL);
    kolk_loop_set_tracer(loop, &trace.tracer);
    test_settle(loop);
    kolk_loop_set_tracer(loop, NULL);
    kolk_task_detach(first);
    CHECK_OK(err);
    CHECK_STR(trace.events, "A . B . ");
}

static int
trace_sleeper(void *arg)
{
    (void)arg;
    return kolk_sleep(KOLK_MS(1));
}

TEST(a_tracer_sees_why_a_task_waits)
{
    kolk_loop *loop = test_loop_open();
    kolk_spawn_options a = {.name = "A"}, b = {.name = "B"};
    kolk_task *first;

    trace.tracer = (kolk_tracer){.suspend = trace_suspend, .wake = trace_wake};
    CHECK_OK(kolk_spawn_with(loop, &a, trace_sleeper, NULL, &first));
    int err = kolk_spawn_with(loop, &b, trace_waiter, first, NULL);
    kolk_loop_set_tracer(loop, &trace.tracer);
    test_advance(loop, KOLK_MS(2));
    kolk_loop_set_tracer(loop, NULL);
    kolk_task_detach(first);
    CHECK_OK(err);
    CHECK_STR(trace.events, "sleep task A woken B by ");
}
