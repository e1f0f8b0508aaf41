/* coro_overflow.c - the report of a stack overflow, and who comes after it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

#include "base/sys.h"
#include "coro/announce.h"
#include "coro/overflow.h"
#include "coro/stack.h"
#include "coro/switch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLACE_STACK = 32 * 1024 };

static struct {
    kolk__stacks *stacks;
    char *end;
    void *coro, *main;
    kolk__fiber coro_fiber, main_fiber;
} place;

/* ---- in the child that is to die ---- */

static const char *
place_describe(const void *address, char *buffer, size_t size)
{
    if (place.stacks == NULL
        || !kolk__stack_is_overflow(place.stacks, place.end, 0, address)) {
        return NULL;
    }
    strncpy(buffer, "the test's coroutine", size - 1);
    buffer[size - 1] = 0;
    return buffer;
}

__attribute__((noinline)) static int
deep_call(int depth)
{
    volatile char here[512];

    here[depth % 512] = (char)depth;
    return depth < 0 ? 0 : deep_call(depth + 1) + here[depth % 512];
}

static void
deep_run(void *arg)
{
    (void)arg;
    kolk__announce_arrival(&place.coro_fiber);
    (void)deep_call(0);
    kolk__announce_switch(&place.coro_fiber, &place.main_fiber, true);
    kolk__switch(&place.coro, place.main);
}

static void
overflow_now(void)
{
    char *bottom;

    if (kolk__stacks_open(PLACE_STACK, &place.stacks) < 0) {
        _exit(9);
    }
    place.end = kolk__stack_take(place.stacks, 0, &bottom);
    kolk__fiber_init(&place.coro_fiber, bottom, place.end);
    place.coro = kolk__switch_prepare(place.end, deep_run, NULL);
    kolk__announce_switch(&place.main_fiber, &place.coro_fiber, false);
    kolk__switch(&place.main, place.coro);
    kolk__announce_arrival(&place.main_fiber);
}

static void
child_watch(void)
{
    if (kolk__overflow_watch(place_describe) < 0) {
        _exit(8);
    }
}

static void
child_overflows(void)
{
    child_watch();
    overflow_now();
}

static void *
thread_overflows(void *arg)
{
    child_overflows();
    return arg;
}

static void
child_overflows_in_a_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, thread_overflows, NULL) == 0) {
        (void)pthread_join(thread, NULL);
    }
}

static void
child_faults_elsewhere(void)
{
    child_watch();
    char *page =
        mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(volatile char *)page = 1;
}

static void
child_is_sent_the_signal(void)
{
    child_watch();
    (void)kill(getpid(), SIGSEGV);
}

static void
other_handler(int number)
{
    (void)number;
    (void)!write(STDERR_FILENO, "other\n", 6);
    _exit(7);
}

static void
other_action(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_signo == number && info->si_addr != NULL) {
        other_handler(number);
    }
}

static void
child_has_another_handler(void)
{
    (void)signal(SIGSEGV, other_handler);
    child_faults_elsewhere();
}

static void
child_has_another_action(void)
{
    struct sigaction action = {.sa_sigaction = other_action,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};

    (void)sigaction(SIGSEGV, &action, NULL);
    child_overflows();
}

static void
child_ignores_the_signal(void)
{
    (void)signal(SIGSEGV, SIG_IGN);
    child_is_sent_the_signal();
    _exit(5);
}

/* ---- outside ---- */

struct death {
    int status;
    char text[4096];
};

/* Runs `fn` in a child, and collects what it says and how it ends. */
static struct death
death_of(void (*fn)(void))
{
    struct death death = {0};
    size_t size = 0;
    int fds[2];

    test_pipe(fds);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(fds[1], STDERR_FILENO);
        fn();
        _exit(6);
    }
    CHECK(pid > 0);
    CHECK(waitpid(pid, &death.status, 0) == pid);
    for (ssize_t count; size < sizeof death.text - 1; size += (size_t)count) {
        count = read(fds[0], death.text + size, sizeof death.text - 1 - size);
        if (count <= 0) {
            break;
        }
    }
    return death;
}

static bool
death_is_by_signal(const struct death *death)
{
    return WIFSIGNALED(death->status) && WTERMSIG(death->status) == SIGSEGV;
}

static const char line[] = "kolk: stack overflow in the test's coroutine\n";

TEST_ONCE(an_overflow_is_reported_and_kills)
{
    struct death death = death_of(child_overflows);

    CHECK(strncmp(death.text, line, sizeof line - 1) == 0);
    CHECK(death_is_by_signal(&death));
}

TEST_ONCE(an_overflow_in_a_thread_is_reported)
{
    struct death death = death_of(child_overflows_in_a_thread);

    CHECK(strncmp(death.text, line, sizeof line - 1) == 0);
    CHECK(death_is_by_signal(&death));
}

TEST_ONCE(another_fault_is_not_an_overflow)
{
    struct death death = death_of(child_faults_elsewhere);

    CHECK(strstr(death.text, "kolk:") == NULL);
    CHECK(death_is_by_signal(&death));
}

TEST_ONCE(a_signal_that_was_sent_kills_as_before)
{
    struct death death = death_of(child_is_sent_the_signal);

    CHECK(strstr(death.text, "kolk:") == NULL);
    CHECK(death_is_by_signal(&death));
}

TEST_ONCE(an_ignored_signal_stays_ignored)
{
    struct death death = death_of(child_ignores_the_signal);

    CHECK_STR(death.text, "");
    CHECK(WIFEXITED(death.status));
    CHECK_INT(WEXITSTATUS(death.status), 5);
}

TEST_ONCE(an_earlier_handler_gets_the_other_faults)
{
    struct death death = death_of(child_has_another_handler);

    CHECK_STR(death.text, "other\n");
    CHECK_INT(WEXITSTATUS(death.status), 7);
}

TEST_ONCE(an_earlier_handler_runs_after_the_report)
{
    struct death death = death_of(child_has_another_action);

    CHECK(strncmp(death.text, line, sizeof line - 1) == 0);
    CHECK_STR(death.text + sizeof line - 1, "other\n");
    CHECK_INT(WEXITSTATUS(death.status), 7);
}

static void *
thread_watches(void *arg)
{
    stack_t stack;
    int *result = arg;

    *result = kolk__overflow_watch(place_describe);
    if (*result == 0 && sigaltstack(NULL, &stack) == 0
        && (stack.ss_flags & SS_DISABLE) != 0) {
        *result = 1;
    }
    return NULL;
}

/* The kit counts what is mapped: the thread's stack must have gone with it. */
TEST_ONCE(a_thread_that_ends_gives_its_signal_stack_back)
{
    pthread_t thread;
    int result = -1;

    CHECK_INT(pthread_create(&thread, NULL, thread_watches, &result), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_OK(result);
    CHECK_INT(result, 0);
}
