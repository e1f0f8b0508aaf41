/* hard.c - runs one test once per system call, with that call failing.
 *
 * SPDX-License-Identifier: MIT
 *
 *   hard PROGRAM TEST
 *
 * A first run counts the requests that could fail. Then each fails in a run of
 * its own, once and for ever; one run moves bytes in small pieces, one is
 * interrupted all the time. Above HARD_CALLS_MAX requests, or fewer for a test
 * that takes long, a sample is taken, by a fixed seed. What the test checks
 * does not count here: it fails by a crash, by running longer than
 * HARD_SECONDS, or by a leak (the kit ends with status 1 then).
 */
#include "hard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    HARD_CALLS_MAX = 200,
    HARD_CALLS_MIN = 10,
    HARD_SECONDS = 20,   /* of one run */
    HARD_BUDGET = 60,    /* seconds for all of a test's, more or less */
    HARD_FAILED_MAX = 3, /* runs of a test; more say nothing new, and may each
                          * take until they are ended */
    HARD_SKIPPED = 77,
};

static struct hard_page *hard_page;
static int hard_page_fd;
static int hard_log_fd; /* what the last run has said */

/* Replaces this process by the test, which is to see `mode`. */
static void
hard_exec(char **argv, const char *mode)
{
    char fd[16];

    (void)snprintf(fd, sizeof fd, "%d", dup(hard_page_fd));
    if (setenv("KOLK_HARD", mode, 1) != 0 || setenv("KOLK_HARD_FD", fd, 1) != 0
        || dup2(hard_log_fd, STDOUT_FILENO) < 0
        || dup2(hard_log_fd, STDERR_FILENO) < 0) {
        _exit(126);
    }
    (void)setpgid(0, 0);
    (void)alarm(HARD_SECONDS);
    execv(argv[1], argv + 1);
    _exit(127);
}

static void
hard_show_log(void)
{
    char text[4096];
    off_t at = 0;
    ssize_t got;

    while ((got = pread(hard_log_fd, text, sizeof text, at)) > 0) {
        (void)fwrite(text, 1, (size_t)got, stdout);
        at += got;
    }
}

/* Runs the test under `mode`. Returns its exit status, or -1 after saying why
 * it is a failure. */
static int
hard_run(char **argv, const char *mode)
{
    int status = 0;

    *hard_page = (struct hard_page){0};
    if (ftruncate(hard_log_fd, 0) != 0
        || lseek(hard_log_fd, 0, SEEK_SET) != 0) {
        perror("hard: log");
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        hard_exec(argv, mode);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        perror("hard: fork");
        return -1;
    }
    (void)kill(-pid, SIGKILL); /* children it may have left */
    if (WIFEXITED(status)
        && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == HARD_SKIPPED)) {
        return WEXITSTATUS(status);
    }
    const char *why = "leaks, or fails otherwise";
    if (WIFSIGNALED(status)) {
        why =
            WTERMSIG(status) == SIGALRM ? "hangs" : strsignal(WTERMSIG(status));
    }
    printf("hard: KOLK_HARD=%s (%s): %s\n", mode, hard_page->name, why);
    hard_show_log();
    return -1;
}

/* Is request `call` of `total` among the `most` of the sample? Every one has
 * the same chance; the seed is fixed, so that a failure can be repeated. */
static bool
hard_is_chosen(uint64_t call, uint64_t total, uint64_t most)
{
    uint64_t hash = (call + 1) * 0x9e3779b97f4a7c15U;

    hash ^= hash >> 32;
    return total <= most || hash % total < most;
}

/* Fails one request after another. Returns how many runs failed. */
static int
hard_fail_each(char **argv, uint64_t total, uint64_t most, int *tried)
{
    static const char *const kinds[] = {"once", "ever"};
    char mode[64];
    int failed = 0;

    for (uint64_t call = 1; call <= total && failed < HARD_FAILED_MAX; call++) {
        if (!hard_is_chosen(call, total, most)) {
            continue;
        }
        *tried += 1;
        for (int i = 0; i < 2; i++) {
            (void)snprintf(mode, sizeof mode, "fail:%llu:%s",
                           (unsigned long long)call, kinds[i]);
            failed += hard_run(argv, mode) < 0;
        }
    }
    return failed;
}

/* How many requests there is time for, if one run takes `seconds`. */
static uint64_t
hard_most(double seconds)
{
    const char *wanted = getenv("KOLK_HARD_BUDGET");
    double budget = wanted != NULL ? strtod(wanted, NULL) : HARD_BUDGET;
    double most = budget / (2 * seconds);

    return most > HARD_CALLS_MAX   ? HARD_CALLS_MAX
           : most < HARD_CALLS_MIN ? HARD_CALLS_MIN
                                   : (uint64_t)most;
}

static double
hard_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool
hard_init(void)
{
    hard_page_fd = memfd_create("hard page", MFD_CLOEXEC);
    hard_log_fd = memfd_create("hard log", MFD_CLOEXEC);
    if (hard_page_fd < 0 || hard_log_fd < 0
        || ftruncate(hard_page_fd, sizeof *hard_page) != 0) {
        return false;
    }
    hard_page = mmap(NULL, sizeof *hard_page, PROT_READ | PROT_WRITE,
                     MAP_SHARED, hard_page_fd, 0);
    return hard_page != MAP_FAILED;
}

int
main(int argc, char **argv)
{
    int failed = 0, tried = 0;

    if (argc != 3 || !hard_init()) {
        (void)fprintf(stderr, "usage: hard PROGRAM TEST\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    double start = hard_now();
    int status = hard_run(argv, "count");
    if (status != 0) {
        return status < 0 ? 1 : status;
    }
    uint64_t total = hard_page->calls;
    uint64_t most = hard_most(hard_now() - start);
    failed += hard_fail_each(argv, total, most, &tried);
    failed += hard_run(argv, "short") < 0;
    failed += hard_run(argv, "eintr") < 0;
    printf("hard: %d of %llu calls tried, %d runs failed\n", tried,
           (unsigned long long)total, failed);
    return failed == 0 ? 0 : 1;
}
