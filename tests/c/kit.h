/* kit.h - how the project's tests are written.
 *
 * SPDX-License-Identifier: MIT
 *
 * A file holds blocks `TEST(what_it_does) { ... }`, each at the start of a
 * line: the build finds them there. Each runs as a process of its own, once on
 * each backend.
 *
 * A check that fails records where and what. What happens then depends on
 * where it stands:
 *  - in the test's own body: the kit closes what it has opened and the test
 *    ends, so the lines below may rely on it;
 *  - in a task: the task is cancelled and goes on, because its stack cannot be
 *    left by a jump. Checks are expressions: `if (!CHECK_OK(x)) return 0;`
 *  - in a callback: the loop is stopped, and the callback goes on;
 *  - in another thread: nothing more.
 * Once a check has failed no loop sleeps without a bound: the run ends.
 *
 * At the end of a test, however it came, every descriptor and every allocation
 * made through kolk__sys must have been given back.
 */
#pragma once

#include <errno.h>
#include <kolk.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- tests ---- */

/* A test, for each backend. */
#define TEST(name) KIT_TEST(name, 0)
/* A test that touches no backend, for once. */
#define TEST_ONCE(name) KIT_TEST(name, KIT_ONCE)
/* A test about real time: left out where calls are made to fail. */
#define TEST_TIME(name) KIT_TEST(name, KIT_TIME)

/* ---- checks: each returns whether it holds ---- */

#define CHECK(condition)                                                       \
    KIT_HOLDS(condition, kit_check((condition), __FILE__, __LINE__, #condition))

/* `result` is no error. */
#define CHECK_OK(result)                                                       \
    KIT_HOLDS((result) >= 0,                                                   \
              kit_check_ok((long long)(result), __FILE__, __LINE__, #result))

/* `result` is the error `code`: CHECK_ERR(kolk_sleep(1), -ECANCELED). */
#define CHECK_ERR(result, code)                                                \
    kit_check_error((long long)(result), (code), __FILE__, __LINE__, #result)

#define CHECK_INT(actual, expected)                                            \
    kit_check_int((long long)(actual), (long long)(expected), __FILE__,        \
                  __LINE__, #actual)

#define CHECK_STR(actual, expected)                                            \
    kit_check_str((actual), (expected), __FILE__, __LINE__, #actual)

#define CHECK_PTR(actual, expected)                                            \
    kit_check_ptr((actual), (expected), __FILE__, __LINE__, #actual)

/* ---- loops: closed at the end of the test, unless it has closed them ---- */

/* A loop whose clock starts at 0 and, where the loop would sleep, jumps to the
 * next deadline. Descriptors that are ready come first; a thread that works is
 * not waited for. */
kolk_loop *test_loop_open(void);

/* A loop on the real clock. */
kolk_loop *test_real_loop_open(void);

/* As they, with options; `loop` may have an own backend then. */
kolk_loop *test_loop_open_with(const kolk_loop_options *options);
kolk_loop *test_real_loop_open_with(const kolk_loop_options *options);

/* Runs everything that is due until the virtual clock shows `to`, and then
 * until nothing is ready any more. */
void test_advance(kolk_loop *loop, kolk_time to);

/* Runs turns until nothing is ready; the clock stands still. */
void test_settle(kolk_loop *loop);

void test_loop_close(kolk_loop *loop);

/* ---- what else a test owns ---- */

/* Calls `fn(object)` at the end of the test, also when a check ends it: for
 * what the test has to give back. The last registered comes first. */
void test_later(void (*fn)(void *object), void *object);

/* Descriptors, non-blocking and close-on-exec, closed at the end of the test
 * unless test_close() has closed them before. test_own() adds one that the test
 * has from elsewhere; test_disown() is for one that somebody else owns now. */
void test_socketpair(int fds[2]); /* Unix stream sockets */
void test_pipe(int fds[2]);       /* fds[0] reads what fds[1] writes */
void test_own(int fd);
void test_disown(int fd);
void test_close(int fd);

/* `count`, scaled to what this build can do in good time; prints both. */
size_t test_count(size_t count);

/* Does the test run with failing system calls? */
bool test_is_hard(void);

/* ---- private to the kit ---- */

enum { KIT_ONCE = 1, KIT_TIME = 2, KIT_HIDDEN = 4 };

struct kit_test {
    const char *name;
    void (*fn)(void);
    int flags;
    struct kit_test *next;
};

void kit_add(struct kit_test *test);

#define KIT_TEST(test, test_flags)                                             \
    static void test(void);                                                    \
    __attribute__((constructor)) static void test##_add(void)                  \
    {                                                                          \
        static struct kit_test self = {                                        \
            .name = #test, .fn = (test), .flags = (test_flags)};               \
        kit_add(&self);                                                        \
    }                                                                          \
    static void test(void)

/* The static analyzer cannot know that a check ends the test. */
#ifdef __clang_analyzer__
_Noreturn void kit_ends(void);
#define KIT_HOLDS(condition, check) ((condition) || (kit_ends(), false))
#else
#define KIT_HOLDS(condition, check) (check)
#endif

bool kit_check(bool holds, const char *file, int line, const char *text);
bool kit_check_ok(long long result, const char *file, int line,
                  const char *text);
bool kit_check_error(long long result, long long code, const char *file,
                     int line, const char *text);
bool kit_check_int(long long actual, long long expected, const char *file,
                   int line, const char *text);
bool kit_check_str(const char *actual, const char *expected, const char *file,
                   int line, const char *text);
bool kit_check_ptr(const void *actual, const void *expected, const char *file,
                   int line, const char *text);

/* Records a failure, as a failed check does. */
bool kit_failed(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* How many checks have failed so far. */
int kit_failures(void);

/* kit_loop.c: closes what is open. */
void kit_loops_fini(void);
/* Must no jump leave this function, because the library is below it? */
bool kit_in_library(void);
/* Cancels the current task, or stops the current loop. */
void kit_interrupt(void);
/* Called after each poll of the kernel that gave `events`. */
void kit_polled(int events);

/* kit_process.c: ends the children whose killing was made to fail. */
void kit_process_fini(void);

/* kit_sys.c: the table of system calls, watched and steered. */
void kit_sys_init(void);
void kit_sys_quiet(void); /* no more failures on purpose */

/* kit_leak.c: reports what was not given back, and returns how much. For a
 * test that did not come to its end, `stack` to `stack_end` are its frames,
 * and what they lead to is its own; else NULL. */
int kit_leak_fini(const void *stack, const void *stack_end);
