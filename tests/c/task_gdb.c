/* task_gdb.c - gdb finds its way to tasks that wait.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each test runs gdb on this program itself, with the hidden test
 * `program_to_debug` as what it debugs, and looks for names in what gdb says.
 */
#include "kit.h"

#include <glob.h>
#include <kolk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the program to debug ---- */

static struct {
    kolk_lock lock;
    volatile int stops;
    bool crashes; /* where it would stop */
} program;

/* Where gdb stops it. */
__attribute__((noinline)) void program_stop(void);

void
program_stop(void)
{
    program.stops++;
    if (program.crashes) {
        abort();
    }
}

__attribute__((noinline)) static int
egg_boil(int minutes)
{
    volatile int left = minutes;
    int result = kolk_sleep(KOLK_S(left));

    return result + left - minutes;
}

__attribute__((noinline)) static int
egg_cook(int minutes)
{
    int result = egg_boil(minutes);

    program.stops += 0;
    return result;
}

static int
egg_run(void *arg)
{
    (void)arg;
    return egg_cook(3);
}

static int
toast_run(void *arg)
{
    (void)arg;
    int err = kolk_lock_acquire(&program.lock);

    if (err == 0) {
        kolk_lock_release(&program.lock);
    }
    return err;
}

static int
late_run(void *arg)
{
    (void)arg;
    return 0;
}

static int
program_run(void *arg)
{
    static const struct {
        const char *name;
        kolk_task_fn *fn;
    } dishes[] = {{"egg", egg_run}, {"toast", toast_run}};
    kolk_task *tasks[3];

    (void)arg;
    CHECK_OK(kolk_lock_acquire(&program.lock));
    for (int i = 0; i < 2; i++) {
        kolk_spawn_options options = {.name = dishes[i].name};
        CHECK_OK(
            kolk_spawn_with(NULL, &options, dishes[i].fn, NULL, &tasks[i]));
    }
    CHECK_OK(kolk_checkpoint());
    kolk_spawn_options options = {.name = "late"};
    CHECK_OK(kolk_spawn_with(NULL, &options, late_run, NULL, &tasks[2]));
    program_stop();
    kolk_lock_release(&program.lock);
    for (int i = 0; i < 3; i++) {
        (void)kolk_task_cancel(tasks[i]);
        kolk_task_detach(tasks[i]);
    }
    return 0;
}

KIT_TEST(program_to_debug, KIT_HIDDEN)
{
    CHECK_OK(kolk_run(program_run, NULL));
}

KIT_TEST(program_that_crashes, KIT_HIDDEN)
{
    program.crashes = true;
    CHECK_OK(kolk_run(program_run, NULL));
}

/* ---- gdb ---- */

enum { GDB_SKIPPED = 77 };

static void
gdb_skip(const char *reason, const char *said)
{
    printf("skipped: %s\n%s", reason, said);
    (void)fflush(stdout);
    _exit(GDB_SKIPPED);
}

/* The path of this program. */
static const char *
gdb_program(void)
{
    static char self[512];

    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    return self;
}

/* Runs gdb with `options`, the script loaded after the first of them; what it
 * says in `said`. */
static void
gdb_run(const char *first, const char *options, char *said, size_t size)
{
    char line[4096];
    const char *root = strstr(__FILE__, "tests/c/");

    CHECK(root != NULL);
    (void)snprintf(line, sizeof line,
                   "gdb --batch -nx -iex 'set debuginfod enabled off' %s"
                   " -ex 'source %.*stools/gdb/kolk-gdb.py' %s"
                   " 2>&1 </dev/null",
                   first, (int)(root - __FILE__), __FILE__, options);
    FILE *pipe = popen(line, "re");
    CHECK(pipe != NULL);
    size_t got = fread(said, 1, size - 1, pipe);
    said[got] = '\0';
    (void)pclose(pipe);
}

/* Checks that gdb has said each of `words`, a NULL at the end, in this
 * order. */
static void
gdb_check_said(const char *said, const char *const *words)
{
    const char *at = said;

    for (; *words != NULL; words++) {
        const char *found = strstr(at, *words);
        if (found == NULL) {
            printf("gdb says:\n%s", said);
            (void)kit_failed(__FILE__, __LINE__, "no \"%s\"", *words);
            return;
        }
        at = found + strlen(*words);
    }
}

static void
gdb_check(const char *said, const char *const *words)
{
    gdb_check_said(said, words);
    CHECK(strstr(said, "corrupt stack") == NULL);
    CHECK(strstr(said, "Python Exception") == NULL);
}

static void
gdb_check_exists(void)
{
    if (system("gdb --version >/dev/null 2>&1") != 0) {
        gdb_skip("there is no gdb here", "");
    }
}

/* Stops the program in program_stop(), gives gdb `commands`, each as an
 * option, and checks for `words`. */
static void
gdb_check_live(const char *commands, const char *const *words)
{
    static char said[64 * 1024];
    char options[1024];

    if (test_is_hard()) {
        return; /* nothing here goes through the library */
    }
    gdb_check_exists();
    (void)snprintf(options, sizeof options, "%s --args '%s' program_to_debug",
                   commands, gdb_program());
    gdb_run("-ex 'set disable-randomization off' -ex 'break program_stop'"
            " -ex run",
            options, said, sizeof said);
    if (strstr(said, "Breakpoint 1, program_stop") == NULL) {
        gdb_skip("gdb cannot run this program; it says:", said);
    }
    gdb_check(said, words);
}

TEST_ONCE(gdb_lists_tasks)
{
    static const char *const words[] = {
        "* task-",
        ": running, spawned at ",
        "task_gdb.c:",
        "egg: waiting for sleep, spawned at ",
        "toast: waiting for lock, spawned at ",
        "late: ready, spawned at ",
        NULL,
    };

    gdb_check_live("-ex 'kolk tasks'", words);
}

TEST_ONCE(gdb_prints_where_tasks_stand)
{
    static const char *const words[] = {
        "running",    "program_stop",  "program_run", "egg: waiting",
        "egg_boil (", "egg_cook (",    "task_main (", "switch_start",
        "toast: ",    "toast_run (",   "task_main (", "switch_start",
        "late: ",     "not started: ", "late_run",    NULL,
    };

    gdb_check_live("-ex 'kolk bt'", words);
}

TEST_ONCE(gdb_goes_to_a_task_and_back)
{
    static const char *const words[] = {
        "egg_boil",
        "minutes = 3",
        "#0  program_stop",
        NULL,
    };

    gdb_check_live("-ex 'kolk task egg' -ex 'frame function egg_boil'"
                   " -ex 'info args' -ex 'kolk task' ",
                   words);
}

/* Where the program's core file is, in a folder of its own. */
static void
core_make(char *path, size_t size)
{
    char folder[] = "/tmp/kolk-core-XXXXXX";
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    glob_t found;

    CHECK(mkdtemp(folder) != NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)setrlimit(RLIMIT_CORE, &all);
        if (chdir(folder) == 0) {
            execl(gdb_program(), gdb_program(), "program_that_crashes", NULL);
        }
        _exit(1);
    }
    CHECK(waitpid(pid, NULL, 0) == pid);
    (void)snprintf(path, size, "%s/*", folder);
    if (glob(path, 0, NULL, &found) != 0) {
        (void)rmdir(folder);
        gdb_skip("no core file is written here", "");
    }
    (void)snprintf(path, size, "%s", found.gl_pathv[0]);
    globfree(&found);
}

TEST_ONCE(gdb_reads_core_files)
{
    static const char *const words[] = {
        "egg: waiting", "egg_boil (",  "egg_cook (",
        "toast: ",      "toast_run (", NULL,
    };
    static char said[64 * 1024];
    char core[512], first[2048];

    if (test_is_hard()) {
        return;
    }
    gdb_check_exists();
    core_make(core, sizeof core);
    (void)snprintf(first, sizeof first, "'%s' '%s'", gdb_program(), core);
    gdb_run(first, "-ex 'kolk bt'", said, sizeof said);
    (void)unlink(core);
    *strrchr(core, '/') = '\0';
    (void)rmdir(core);
    gdb_check(said, words);
}
