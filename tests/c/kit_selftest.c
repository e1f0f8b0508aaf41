/* kit_selftest.c - the kit fails a test that fails.
 *
 * SPDX-License-Identifier: MIT
 *
 * Tests that must fail are hidden from the build by another macro; each is run
 * as a child, whose exit status is what counts.
 */
#include "kit.h"

#include "base/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- tests that must fail, or not ---- */

KIT_TEST(hidden_pass, KIT_HIDDEN)
{
    CHECK(true);
    CHECK_INT(1 + 1, 2);
    CHECK_STR("a", "a");
    CHECK_ERR(-ECANCELED, -ECANCELED);
}

KIT_TEST(hidden_check, KIT_HIDDEN)
{
    CHECK_INT(1 + 1, 3);
    (void)fprintf(stderr, "not reached\n");
}

KIT_TEST(hidden_block, KIT_HIDDEN)
{
    CHECK(kolk__sys.malloc(100) != NULL);
}

KIT_TEST(hidden_descriptor, KIT_HIDDEN)
{
    CHECK_OK(kolk__sys.open("/dev/null", O_RDONLY | O_CLOEXEC, 0));
}

KIT_TEST(hidden_crash, KIT_HIDDEN)
{
    abort();
}

static void
selftest_say(void *text)
{
    (void)fprintf(stderr, "%s\n", (const char *)text);
}

KIT_TEST(hidden_later, KIT_HIDDEN)
{
    static char first[] = "said first", second[] = "said second";

    test_later(selftest_say, second);
    test_later(selftest_say, first);
    CHECK(false);
}

static int
selftest_task(void *arg)
{
    (void)arg;
    CHECK_INT(2, 3);
    (void)fprintf(stderr, "goes on\n");
    return kolk_checkpoint();
}

KIT_TEST(hidden_task, KIT_HIDDEN)
{
    kolk_loop *loop = test_loop_open();
    kolk_task *task;

    CHECK_OK(kolk_spawn_with(loop, NULL, selftest_task, NULL, &task));
    CHECK_ERR(kolk_run_until(loop, task), -ECANCELED);
    kolk_future_unref(task);
}

static void
selftest_call(kolk_call *call)
{
    (void)call;
    CHECK(false);
}

KIT_TEST(hidden_callback, KIT_HIDDEN)
{
    kolk_loop *loop = test_loop_open();
    kolk_call call;

    kolk_call_init(&call, selftest_call, NULL);
    CHECK_OK(kolk_call_soon(loop, &call));
    CHECK_OK(kolk_run_forever(loop));
}

/* ---- the tests of them ---- */

/* Runs the hidden test `name`; its wait status, what it has said in `out`. */
static int
selftest_run(const char *name, char *out, size_t size)
{
    char command[256], program[128];
    size_t got = 0;

    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    program[len > 0 ? len : 0] = '\0';
    (void)snprintf(command, sizeof command, "env -u KOLK_HARD %s %s 2>&1",
                   program, name);
    FILE *pipe = popen(command, "re");
    if (!CHECK(pipe != NULL)) {
        return -1;
    }
    for (size_t more = 1; more > 0 && got < size - 1; got += more) {
        more = fread(out + got, 1, size - 1 - got, pipe);
    }
    out[got] = '\0';
    return pclose(pipe);
}

/* Does the hidden test `name` fail, saying `text`? */
static void
selftest_fails(const char *name, const char *text)
{
    char out[4096];
    int status = selftest_run(name, out, sizeof out);

    if (!CHECK(status != 0) || !CHECK(strstr(out, text) != NULL)
        || !CHECK(strstr(out, "not reached") == NULL)) {
        (void)fprintf(stderr, "--- %s said:\n%s\n", name, out);
    }
}

TEST_ONCE(a_passing_test_passes)
{
    char out[4096];

    CHECK_INT(selftest_run("hidden_pass", out, sizeof out), 0);
}

TEST_ONCE(a_failed_check_ends_the_test_with_its_place_and_values)
{
    selftest_fails("hidden_check", ": 1 + 1: 2, expected 3");
}

TEST_ONCE(a_lost_block_fails_the_test)
{
    selftest_fails("hidden_block", "100 bytes");
}

TEST_ONCE(a_lost_descriptor_fails_the_test)
{
    selftest_fails("hidden_descriptor", "/dev/null");
}

TEST_ONCE(a_crash_fails_the_test)
{
    char out[4096];

    CHECK(selftest_run("hidden_crash", out, sizeof out) != 0);
}

TEST_ONCE(what_the_test_owns_is_given_back_last_first)
{
    selftest_fails("hidden_later", "said first\nsaid second");
}

TEST(a_failed_check_in_a_task_cancels_it_and_fails_the_test)
{
    selftest_fails("hidden_task", "goes on");
}

TEST(a_failed_check_in_a_callback_stops_the_loop)
{
    selftest_fails("hidden_callback", "CHECK(false)");
}

TEST_ONCE(counts_follow_the_scale)
{
    CHECK_OK(setenv("KOLK_TEST_SCALE", "10", 1));
    CHECK_INT(test_count(1000), 100);
    CHECK_INT(test_count(10), 2);
    CHECK_INT(test_count(1), 1);
}
