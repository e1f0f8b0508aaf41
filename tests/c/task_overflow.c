/* task_overflow.c - a stack overflow is reported with the task it was in.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

#include <kolk/debug.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int overflow_depth;

static int
overflow_recurse(void *arg)
{
    volatile char frame[512];

    memset((char *)frame, overflow_depth++, sizeof frame);
    if (overflow_depth == 0) {
        return 0; /* never; but the compiler need not know */
    }
    return overflow_recurse(arg) + frame[7];
}

static int
overflow_main(void *unused)
{
    kolk_spawn_options options = {.name = "the deep one", .stack_size = 32768};
    kolk_task *task;

    (void)unused;
    int err = kolk_spawn_with(NULL, &options, overflow_recurse, NULL, &task);
    return err < 0 ? err : kolk_await(task);
}

/* Runs a program that overflows, in a child; `text` gets what it says. */
static int
overflow_in_child(const char *debug, char *text, size_t size)
{
    struct rlimit no_core = {0, 0};
    int fds[2], status = 0;

    test_pipe(fds);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(fds[1], STDERR_FILENO);
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's would say more */
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)setenv("KOLK_DEBUG", debug, 1);
        _exit(kolk_run(overflow_main, NULL) < 0);
    }
    CHECK(pid > 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    ssize_t n = read(fds[0], text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    return status;
}

TEST(a_stack_overflow_is_reported_with_the_tasks_name_and_site)
{
    char text[512];
    int status = overflow_in_child("1", text, sizeof text);

    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK(strstr(text, "the deep one") != NULL);
    CHECK(strstr(text, "task_overflow.c:") != NULL);
}

TEST(nobody_who_did_not_ask_loses_the_signal_handler)
{
    char text[512];
    int status = overflow_in_child("0", text, sizeof text);

    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK(strstr(text, "the deep one") == NULL); /* an emulator may speak */
}
