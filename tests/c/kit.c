/* kit.c - runs one test of a program, and records what its checks find.
 *
 * SPDX-License-Identifier: MIT
 *
 * cmocka runs the test and reports it. Its fail() jumps out of the test, so
 * the kit gives everything back before: what lies on the test's stack (nodes
 * lent to a loop) is still there at that moment, and is not afterwards. For
 * targets without cmocka a failed test exits, which is all that ctest asks for.
 */
#include "kit.h"

#include "base/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef KIT_HAVE_CMOCKA
#include <cmocka.h>
#endif

enum { KIT_LATER_MAX = 256, KIT_SKIPPED = 77 };

static struct kit_test *kit_tests; /* newest first */

struct kit_later {
    void (*fn)(void *object); /* NULL: close `fd` */
    void *object;
    int fd;
};

static struct {
    /* written by any thread */
    int failures;

    /* the test's thread */
    pthread_t thread;
    bool is_running;       /* inside the test's body */
    const void *stack_end; /* of the test's frames */
    const char *file;
    int line; /* of the first failure here */
    struct kit_later later[KIT_LATER_MAX];
    int later_count;
} kit;

/* ---- running ---- */

void
kit_add(struct kit_test *test)
{
    test->next = kit_tests;
    kit_tests = test;
}

/* Gives back what the test has left open, and counts what is still missing.
 * Called by the frame next to the test's own, or by the test's caller. */
static void __attribute__((noinline)) kit_end(bool is_early)
{
    const void *stack = __builtin_frame_address(0);

    kit.is_running = false;
    kit_sys_quiet();
    while (kit.later_count > 0) {
        struct kit_later *last = &kit.later[--kit.later_count];
        if (last->fn != NULL) {
            last->fn(last->object);
        } else {
            (void)close(last->fd);
        }
    }
    kit_loops_fini();
    kit_process_fini();
    is_early = is_early && test_is_hard();
    if (kit_leak_fini(is_early ? stack : NULL, kit.stack_end) > 0) {
        kit.failures++;
        kit.file = kit.file != NULL ? kit.file : "leak";
        if (test_is_hard()) {
            _exit(1);
        }
    }
}

static void
kit_report(void)
{
    if (kit.failures > 0 && !test_is_hard()) {
        const char *file = kit.file != NULL ? kit.file : "check";
#ifdef KIT_HAVE_CMOCKA
        _fail(file, kit.line);
#else
        (void)fprintf(stderr, "%s:%d: failed\n", file, kit.line);
        exit(1);
#endif
    }
}

/* cmocka catches SIGSEGV and its like and jumps; a sanitizer's report, a core
 * file and the library's own handler are worth more. */
static void
kit_restore_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS};

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        (void)signal(signals[i], SIG_DFL);
    }
}

static void
kit_body(void **state)
{
    const struct kit_test *test = *state;

    kit_restore_signals();
    kit_sys_init();
    kit.thread = pthread_self();
    kit.is_running = true;
    kit.stack_end = __builtin_frame_address(0);
    test->fn();
    kit_end(false);
    kit_report();
}

/* A kernel that refuses io_uring runs these tests on epoll, which has its own
 * run already. */
static bool
kit_backend_is_here(void)
{
#ifdef KOLK_HAVE_URING
    const char *backend = getenv("KOLK_BACKEND");
    struct io_uring_params params = {0};
    struct io_uring ring;

    if (backend != NULL && strcmp(backend, "io_uring") == 0) {
        int err = io_uring_queue_init_params(4, &ring, &params);
        if (err < 0) {
            printf("skipped: no io_uring here: %s\n", strerror(-err));
            return false;
        }
        io_uring_queue_exit(&ring);
    }
#endif
    return true;
}

static int
kit_run(struct kit_test *test)
{
#ifdef KIT_HAVE_CMOCKA
    const struct CMUnitTest tests[] = {
        {.name = test->name, .test_func = kit_body, .initial_state = test},
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
#else
    void *state = test;

    kit_body(&state);
    return 0;
#endif
}

static int
kit_usage(const char *program)
{
    (void)fprintf(stderr, "usage: %s TEST, one of:\n", program);
    for (const struct kit_test *test = kit_tests; test; test = test->next) {
        (void)fprintf(stderr, "  %s\n", test->name);
    }
    return 2;
}

int
main(int argc, char **argv)
{
    struct kit_test *test = kit_tests;

    while (test != NULL && (argc != 2 || strcmp(test->name, argv[1]) != 0)) {
        test = test->next;
    }
    if (test == NULL) {
        return kit_usage(argv[0]);
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (!kit_backend_is_here()) {
        return KIT_SKIPPED;
    }
    return kit_run(test);
}

/* ---- checks ---- */

int
kit_failures(void)
{
    return __atomic_load_n(&kit.failures, __ATOMIC_RELAXED);
}

bool
kit_failed(const char *file, int line, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)fprintf(stderr, "%s:%d: %s\n", file, line, text);
    __atomic_add_fetch(&kit.failures, 1, __ATOMIC_RELAXED);

    if (!pthread_equal(kit.thread, pthread_self())) {
        return false;
    }
    if (kit.file == NULL) {
        kit.file = file;
        kit.line = line;
    }
    if (!kit.is_running) {
        return false;
    }
    if (kit_in_library()) {
        kit_interrupt();
        return false;
    }
    __builtin_unwind_init(); /* the test's registers, onto the stack */
    kit_end(true);
    kit_report();
    /* Here in hard mode only: the checks do not count, the test has ended. */
    (void)fflush(NULL);
    _exit(0);
}

bool
kit_check(bool holds, const char *file, int line, const char *text)
{
    return holds || kit_failed(file, line, "CHECK(%s)", text);
}

bool
kit_check_ok(long long result, const char *file, int line, const char *text)
{
    return result >= 0
           || kit_failed(file, line, "%s: %lld (%s)", text, result,
                         kolk_strerror((int)result));
}

bool
kit_check_error(long long result, long long code, const char *file, int line,
                const char *text)
{
    return result == code
           || kit_failed(file, line, "%s: %lld (%s), expected %lld (%s)", text,
                         result, result < 0 ? kolk_strerror((int)result) : "",
                         code, kolk_strerror((int)code));
}

bool
kit_check_int(long long actual, long long expected, const char *file, int line,
              const char *text)
{
    return actual == expected
           || kit_failed(file, line, "%s: %lld, expected %lld", text, actual,
                         expected);
}

bool
kit_check_str(const char *actual, const char *expected, const char *file,
              int line, const char *text)
{
    if (actual != NULL && expected != NULL && strcmp(actual, expected) == 0) {
        return true;
    }
    return actual == expected
           || kit_failed(file, line, "%s: \"%s\", expected \"%s\"", text,
                         actual ? actual : "(null)",
                         expected ? expected : "(null)");
}

bool
kit_check_ptr(const void *actual, const void *expected, const char *file,
              int line, const char *text)
{
    return actual == expected
           || kit_failed(file, line, "%s: %p, expected %p", text, actual,
                         expected);
}

/* ---- what a test owns ---- */

static void
kit_push_later(const struct kit_later *later)
{
    if (kit.later_count == KIT_LATER_MAX) {
        (void)kit_failed(__FILE__, __LINE__, "too much to give back");
        return;
    }
    kit.later[kit.later_count++] = *later;
}

void
test_later(void (*fn)(void *object), void *object)
{
    kit_push_later(&(struct kit_later){.fn = fn, .object = object});
}

void
test_own(int fd)
{
    kit_push_later(&(struct kit_later){.fd = fd});
}

void
test_disown(int fd)
{
    for (int i = 0; i < kit.later_count; i++) {
        if (kit.later[i].fn == NULL && kit.later[i].fd == fd) {
            kit.later_count--;
            memmove(&kit.later[i], &kit.later[i + 1],
                    (size_t)(kit.later_count - i) * sizeof kit.later[0]);
            break;
        }
    }
}

void
test_close(int fd)
{
    test_disown(fd);
    CHECK_INT(close(fd), 0);
}

void
test_socketpair(int fds[2])
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

    CHECK_INT(socketpair(AF_UNIX, type, 0, fds), 0);
    test_own(fds[0]);
    test_own(fds[1]);
}

void
test_pipe(int fds[2])
{
    CHECK_INT(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    test_own(fds[0]);
    test_own(fds[1]);
}

size_t
test_count(size_t count)
{
    const char *text = getenv("KOLK_TEST_SCALE");
    size_t percent = text != NULL ? strtoul(text, NULL, 10) : KOLK_TEST_SCALE;
    size_t scaled = count * percent / 100;

    scaled = scaled < 2 ? (count < 2 ? count : 2) : scaled;
    printf("count: %zu of %zu\n", scaled, count);
    return scaled;
}
