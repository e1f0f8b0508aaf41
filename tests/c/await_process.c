/* await_process.c - tasks and children: waiting, streams, whole conversations.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tasks.h"

#include <kolk/process.h>
#include <kolk/scope.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const kolk_stdio to_pipe = {KOLK_STDIO_PIPE, 0};

/* Spawns a piece of shell with pipes for its streams; NULL if that fails, and
 * then the task is cancelled. */
static kolk_process *
spawn(const char *text)
{
    kolk_process_options options = {
        .shell = text, .input = to_pipe, .output = to_pipe, .error = to_pipe};
    kolk_process *process = NULL;
    int err =
        kolk_process_spawn(kolk_current_loop(), &options, NULL, NULL, &process);

    return CHECK_OK(err) ? process : NULL;
}

/* Kills a child that a test leaves behind, waits for it, and gives it up. */
static void
finish(kolk_process *process)
{
    KOLK_SHIELD(shield);

    if (kolk_process_kill(process) != -EPERM) {
        (void)!kolk_process_wait(process);
    }
    kolk_process_unref(process);
}

/* ---- waiting ---- */

static int
wait_for(void *process)
{
    return kolk_process_wait(process);
}

static int
two_wait(void *arg)
{
    kolk_process *process = spawn("read x; exit 3");

    (void)arg;
    if (process == NULL) {
        return 0;
    }
    kolk_task *one = tasks_spawn(wait_for, process);
    kolk_task *two = tasks_spawn(wait_for, process);
    tasks_pass(2);
    if (one != NULL && two != NULL) {
        int fd = kolk_process_take_pipe(process, 0);
        CHECK_INT(close(fd), 0);
        CHECK_INT(kolk_await(one), 3);
        CHECK_INT(kolk_await(two), 3);
        CHECK_INT(kolk_process_wait(process), 3); /* at once */
    }
    finish(process);
    return 0;
}

TEST(every_task_that_waits_for_a_child_gets_its_status)
{
    CHECK_OK(tasks_run_real(two_wait, NULL));
}

static int
wait_in_vain(void *arg)
{
    kolk_process *process = spawn("read x; exit 3");

    (void)arg;
    if (process == NULL) {
        return 0;
    }
    KOLK_TIMEOUT(timeout, KOLK_MS(5));
    CHECK_ERR(kolk_process_wait(process), -ECANCELED);
    CHECK_ERR(kolk_process_status(process), -EAGAIN);
    CHECK_ERR(kolk_process_wait(process), -ECANCELED);
    CHECK_ERR(kolk_timeout_end(&timeout, -ECANCELED), -ETIMEDOUT);
    CHECK_OK(kolk_process_terminate(process));
    CHECK_INT(kolk_process_wait(process), KOLK_PROCESS_SIGNALED + SIGTERM);
    finish(process);
    return 0;
}

TEST_TIME(a_wait_that_is_cancelled_leaves_the_child_alone)
{
    CHECK_OK(tasks_run_real(wait_in_vain, NULL));
}

static int
wait_for_anothers(void *arg)
{
    kolk_process *process = spawn("exit 3");

    (void)arg;
    if (process == NULL) {
        return 0;
    }
    CHECK_INT(waitpid(kolk_process_pid(process), NULL, 0),
              kolk_process_pid(process));
    CHECK_ERR(kolk_process_wait(process), -ECHILD);
    finish(process);
    return 0;
}

TEST(a_wait_ends_although_somebody_else_has_reaped_the_child)
{
    CHECK_OK(tasks_run_real(wait_for_anothers, NULL));
}

TEST(waiting_outside_of_a_task_is_misuse)
{
    static const kolk_process_options options = {.shell = "exit 0"};
    kolk_loop *loop = test_real_loop_open();
    kolk_process *process;
    kolk_output output;

    CHECK_OK(kolk_process_spawn(loop, &options, NULL, NULL, &process));
    CHECK_ERR(kolk_process_wait(process), -KOLK_EMISUSE);
    CHECK_ERR(kolk_process_communicate(process, NULL, 0, 0, &output),
              -KOLK_EMISUSE);
    kolk_output_fini(&output);
    CHECK_ERR(kolk_process_run(&options, NULL, 0, 0, &output), -KOLK_EMISUSE);
    kolk_output_fini(&output);
    (void)waitpid(kolk_process_pid(process), NULL, 0);
    kolk_process_unref(process);
}

/* ---- conversations ---- */

/* Runs a piece of shell; `pipes` says which streams are pipes. */
static int
run_shell(const char *text, const char *input, size_t limit, kolk_output *out)
{
    kolk_process_options options = {
        .shell = text, .output = to_pipe, .error = to_pipe};

    return kolk_process_run(&options, input, input != NULL ? strlen(input) : 0,
                            limit, out);
}

static int
talk_a_little(void *arg)
{
    kolk_output out;

    (void)arg;
    CHECK_OK(run_shell("cat; echo err >&2; exit 4", "hello", 0, &out));
    CHECK_STR(out.output, "hello");
    CHECK_INT(out.output_size, 5);
    CHECK_STR(out.error, "err\n");
    CHECK_INT(out.error_size, 4);
    CHECK_INT(out.status, 4);
    kolk_output_fini(&out);
    CHECK_PTR(out.output, NULL);
    kolk_output_fini(&out);

    CHECK_OK(run_shell("exec >&-; exec 2>&-; read x", "x", 0, &out));
    CHECK_STR(out.output, "");
    CHECK_STR(out.error, "");
    CHECK_INT(out.output_size + out.error_size, 0);
    kolk_output_fini(&out);

    kolk_process_options options = {.shell = "kill -9 $$"};
    CHECK_OK(kolk_process_run(&options, NULL, 0, 0, &out));
    CHECK_PTR(out.output, NULL);
    CHECK_PTR(out.error, NULL);
    CHECK_INT(out.status, KOLK_PROCESS_SIGNALED + SIGKILL);
    kolk_output_fini(&out);
    return 0;
}

TEST(a_child_is_told_its_input_and_its_answers_are_gathered)
{
    CHECK_OK(tasks_run_real(talk_a_little, NULL));
}

static int
talk_in_vain(void *arg)
{
    static const char *const argv[] = {"/no/such/program", NULL};
    kolk_process_options options = {.argv = argv};
    kolk_output out;

    (void)arg;
    CHECK_ERR(kolk_process_run(&options, "x", 1, 0, &out), -ENOENT);
    CHECK_PTR(out.output, NULL);
    kolk_output_fini(&out);
    return 0;
}

TEST(a_program_that_is_not_there_is_an_error_of_the_run)
{
    CHECK_OK(tasks_run_real(talk_in_vain, NULL));
}

static int
talk_much(void *arg)
{
    size_t size = *(const size_t *)arg;
    kolk_process_options options = {
        .shell = "tee /dev/stderr", .output = to_pipe, .error = to_pipe};
    char *input = malloc(size);
    kolk_output out;

    if (!CHECK(input != NULL)) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        input[i] = (char)(i * 7 / 5);
    }
    CHECK_OK(kolk_process_run(&options, input, size, 0, &out));
    CHECK_INT(out.output_size, size);
    CHECK_INT(out.error_size, size);
    CHECK(out.output_size == size && memcmp(out.output, input, size) == 0);
    CHECK(out.error_size == size && memcmp(out.error, input, size) == 0);
    kolk_output_fini(&out);
    free(input);
    return 0;
}

TEST(megabytes_both_ways_do_not_block)
{
    size_t size = test_is_hard() ? 200000 : 10000000;

    CHECK_OK(tasks_run_real(talk_much, &size));
}

static int
talk_to_the_deaf(void *arg)
{
    static char input[300000];
    kolk_process_options options = {.shell = "exec <&-; echo x; exit 2",
                                    .output = to_pipe};
    kolk_output out;

    (void)arg;
    CHECK_OK(kolk_process_run(&options, input, sizeof input, 0, &out));
    CHECK_STR(out.output, "x\n");
    CHECK_INT(out.status, 2);
    kolk_output_fini(&out);
    options.shell = "exit 3"; /* and one that just ends */
    CHECK_OK(kolk_process_run(&options, input, sizeof input, 0, &out));
    CHECK_INT(out.status, 3);
    kolk_output_fini(&out);
    return 0;
}

/* SIGPIPE has its default disposition here: it would end the test. */
TEST(a_child_that_does_not_read_its_input_is_no_error)
{
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    CHECK_OK(tasks_run_real(talk_to_the_deaf, NULL));
}

static int
talk_within_limits(void *arg)
{
    kolk_output out;

    (void)arg;
    CHECK_OK(run_shell("printf 12345", NULL, 5, &out));
    CHECK_STR(out.output, "12345");
    kolk_output_fini(&out);
    CHECK_ERR(run_shell("printf 123456; exec sleep 60", NULL, 5, &out),
              -KOLK_ELIMIT);
    CHECK_STR(out.output, "12345");
    CHECK_INT(out.output_size, 5);
    CHECK_INT(out.status, KOLK_PROCESS_SIGNALED + SIGKILL);
    kolk_output_fini(&out);
    CHECK_ERR(run_shell("exec yes", NULL, 100000, &out), -KOLK_ELIMIT);
    CHECK_INT(out.output_size, 100000);
    CHECK_INT(out.status, KOLK_PROCESS_SIGNALED + SIGKILL);
    kolk_output_fini(&out);
    return 0;
}

TEST(a_child_that_says_more_than_the_limit_is_killed)
{
    CHECK_OK(tasks_run_real(talk_within_limits, NULL));
}

static int
talk_past_a_daemon(void *arg)
{
    kolk_output out;
    kolk_time start = kolk_now(NULL);

    (void)arg;
    /* It says who it is, so that it can be ended. */
    CHECK_OK(run_shell("echo x; sleep 60 & echo $!; exit 5", NULL, 0, &out));
    CHECK_INT(out.status, 5);
    CHECK(kolk_now(NULL) - start < KOLK_S(30));
    if (CHECK(out.output_size > 2)) {
        CHECK(strncmp(out.output, "x\n", 2) == 0);
        (void)kill((pid_t)strtol(out.output + 2, NULL, 10), SIGKILL);
    }
    kolk_output_fini(&out);
    return 0;
}

TEST_TIME(a_daemon_that_keeps_the_pipes_is_not_waited_for)
{
    CHECK_OK(tasks_run_real(talk_past_a_daemon, NULL));
}

static int
talk_past_a_flood(void *arg)
{
    kolk_output out;

    (void)arg;
    CHECK_OK(run_shell("yes & echo $! >&2; exit 5", NULL, 0, &out));
    CHECK_INT(out.status, 5);
    if (CHECK(out.error_size > 0)) {
        (void)kill((pid_t)strtol(out.error, NULL, 10), SIGKILL);
    }
    kolk_output_fini(&out);
    return 0;
}

TEST_TIME(a_daemon_that_floods_the_pipes_is_not_waited_for)
{
    CHECK_OK(tasks_run_real(talk_past_a_flood, NULL));
}

static int
talk_twice(void *arg)
{
    static const char input[] = "one\ntwo\n";
    kolk_process *process = spawn("echo begun; sleep 0.2; cat; exit 6");
    kolk_output out;

    (void)arg;
    if (process == NULL) {
        return 0;
    }
    KOLK_TIMEOUT(timeout, KOLK_MS(100));
    int err = kolk_process_communicate(process, input, 8, 0, &out);
    CHECK_ERR(kolk_timeout_end(&timeout, err), -ETIMEDOUT);
    CHECK_STR(out.output, "begun\n");
    CHECK_ERR(out.status, -EAGAIN);
    kolk_output_fini(&out);
    CHECK_OK(kolk_process_communicate(process, input, 8, 0, &out));
    CHECK_STR(out.output, input); /* once, and all of it */
    CHECK_INT(out.status, 6);
    kolk_output_fini(&out);
    CHECK_OK(kolk_process_communicate(process, input, 8, 0, &out));
    CHECK_PTR(out.output, NULL);
    CHECK_INT(out.status, 6);
    kolk_output_fini(&out);
    finish(process);
    return 0;
}

TEST_TIME(a_conversation_that_has_timed_out_can_be_taken_up_again)
{
    CHECK_OK(tasks_run_real(talk_twice, NULL));
}

static int
talk_until_killed(void *arg)
{
    static char input[300000];
    kolk_process *process = spawn("exec sleep 60");
    kolk_output out;

    (void)arg;
    if (process == NULL) {
        return 0;
    }
    KOLK_TIMEOUT(timeout, KOLK_MS(20));
    int err = kolk_process_communicate(process, input, sizeof input, 0, &out);
    CHECK_ERR(kolk_timeout_end(&timeout, err), -ETIMEDOUT);
    kolk_output_fini(&out);
    CHECK_OK(kolk_process_kill(process));
    CHECK_OK(kolk_process_communicate(process, input, sizeof input, 0, &out));
    CHECK_INT(out.status, KOLK_PROCESS_SIGNALED + SIGKILL);
    kolk_output_fini(&out);
    finish(process);
    return 0;
}

TEST_TIME(a_child_can_be_killed_after_a_timeout)
{
    CHECK_OK(tasks_run_real(talk_until_killed, NULL));
}

static int
talk_at_length(void *process)
{
    kolk_output out;
    int err = kolk_process_communicate(process, NULL, 0, 0, &out);

    kolk_output_fini(&out);
    return err;
}

static int
talk_at_once(void *arg)
{
    kolk_process *process = spawn("exec cat");
    kolk_output out;

    (void)arg;
    if (process == NULL) {
        return 0;
    }
    kolk_task *other = tasks_spawn(talk_at_length, process);
    if (other != NULL) {
        CHECK_ERR(kolk_process_communicate(process, NULL, 0, 0, &out), 0);
        kolk_output_fini(&out);
        CHECK_ERR(kolk_await(other), -EBUSY);
    }
    finish(process);
    return 0;
}

TEST(one_task_at_a_time_talks_to_a_child)
{
    CHECK_OK(tasks_run_real(talk_at_once, NULL));
}

/* ---- runs that are cancelled ---- */

static int
run_for_long(void *arg)
{
    kolk_process_options options = {.shell = "echo begun; exec sleep 60",
                                    .output = to_pipe};
    kolk_output out;
    int err = kolk_process_run(&options, NULL, 0, 0, &out);

    CHECK_ERR(err, -ECANCELED);
    CHECK_INT(out.status, KOLK_PROCESS_SIGNALED + SIGKILL);
    kolk_output_fini(&out);
    *(int *)arg = err;
    return err;
}

static int
cancel_run(void *arg)
{
    int result = 0;
    kolk_task *task = tasks_spawn(run_for_long, &result);

    (void)arg;
    if (task != NULL) {
        CHECK_OK(kolk_sleep(KOLK_MS(20)));
        (void)kolk_task_cancel(task);
        CHECK_ERR(kolk_await(task), -ECANCELED);
        CHECK_ERR(result, -ECANCELED);
        /* Nothing of it is left. */
        CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
    }
    return 0;
}

TEST_TIME(a_run_that_is_cancelled_kills_the_child_and_waits_for_its_end)
{
    CHECK_OK(tasks_run_real(cancel_run, NULL));
}

static int
leave_run(void *arg)
{
    if (tasks_spawn(run_for_long, arg) != NULL) {
        CHECK_OK(kolk_sleep(KOLK_MS(20)));
    }
    return 0;
}

TEST_TIME(closing_the_loop_kills_the_child_of_a_run)
{
    static int result;

    result = 0;
    CHECK_OK(tasks_run_real(leave_run, &result));
    CHECK_ERR(result, -ECANCELED);
    CHECK_INT(tasks_reports(), 0);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
}

/* ---- streams ---- */

static int
talk_by_streams(void *arg)
{
    kolk_process *process =
        spawn("while read x; do echo \"<$x>\"; done; exit 7");
    const char *line;

    (void)arg;
    if (process == NULL) {
        return 0;
    }
    kolk_stream *input = kolk_process_stream(process, 0);
    kolk_stream *output = kolk_process_stream(process, 1);
    if (CHECK(input != NULL) && CHECK(output != NULL)) {
        CHECK_PTR(kolk_process_stream(process, 0), input);
        CHECK_ERR(kolk_process_take_pipe(process, 0), -EBADF);
        for (int i = 0; i < 3; i++) {
            CHECK_OK(kolk_stream_write(input, "a b\n", 4));
            int size = kolk_stream_readline(output, &line);
            CHECK_INT(size, 6);
            CHECK(size == 6 && memcmp(line, "<a b>\n", 6) == 0);
        }
        CHECK_OK(kolk_stream_close(input));
        CHECK_PTR(kolk_process_stream(process, 0), NULL);
        CHECK_INT(kolk_stream_readline(output, &line), 0);
        CHECK_INT(kolk_process_wait(process), 7);
    }
    finish(process);
    return 0;
}

TEST(pipes_can_be_streams)
{
    CHECK_OK(tasks_run_real(talk_by_streams, NULL));
}

static int
streams_that_are_none(void *arg)
{
    static const kolk_process_options options = {.shell = "exit 0"};
    kolk_process *process = spawn("exec cat");
    kolk_process *other;

    (void)arg;
    if (process == NULL) {
        return 0;
    }
    CHECK_PTR(kolk_process_stream(process, -1), NULL);
    CHECK_PTR(kolk_process_stream(process, 3), NULL);
    int fd = kolk_process_take_pipe(process, 0);
    CHECK_OK(fd);
    CHECK_PTR(kolk_process_stream(process, 0), NULL);
    CHECK_INT(close(fd), 0);
    finish(process);
    if (CHECK_OK(kolk_process_spawn(kolk_current_loop(), &options, NULL, NULL,
                                    &other))) {
        CHECK_PTR(kolk_process_stream(other, 1), NULL);
        finish(other);
    }
    return 0;
}

TEST(what_is_no_pipe_or_was_taken_is_no_stream)
{
    CHECK_OK(tasks_run_real(streams_that_are_none, NULL));
}

static int
abandon_streams(void *arg)
{
    kolk_process *process = spawn("exec cat >/dev/null");

    (void)arg;
    if (process == NULL) {
        return 0;
    }
    kolk_stream *input = kolk_process_stream(process, 0);
    (void)kolk_process_stream(process, 1);
    if (CHECK(input != NULL)) {
        CHECK_OK(kolk_stream_write(input, "x\n", 2));
    }
    pid_t pid = kolk_process_pid(process);
    kolk_process_unref(process); /* its input ends with that */
    for (int i = 0; i < 2000 && kill(pid, 0) == 0; i++) {
        if (kolk_sleep(KOLK_MS(1)) < 0) {
            break;
        }
    }
    if (!CHECK(kill(pid, 0) < 0)) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return 0;
}

TEST(streams_go_with_the_last_handle_of_their_child)
{
    CHECK_OK(tasks_run_real(abandon_streams, NULL));
}
