/* bench.h - what every benchmark program shares: clocks, memory, output.
 *
 * SPDX-License-Identifier: MIT
 *
 * A program answers one question. It is started afresh for each measurement,
 * takes the size of the question as its argument (tasks, timers, capacity) and
 * prints one `metric<TAB>value` line per answer, where the metric carries that
 * size: "yield@10000<TAB>11.3". run.sh collects the lines.
 *
 * Time is the CPU time of the whole process, so that what the neighbours do
 * to the machine counts as little as possible. Metrics that end in "_wall" are
 * elapsed time.
 */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Delays of timers, nanoseconds: of those to be cancelled at least, and over
 * what span they spread; the span of those to be fired. */
#define BENCH_TIMER_FAR INT64_C(30000000000)
#define BENCH_TIMER_SPREAD INT64_C(100000000)

enum {
    BENCH_SWITCHES = 4000000, /* task switches in one measurement */
    BENCH_SPAWNS = 2000000,
    BENCH_QUEUE_ITEMS = 4000000,
    BENCH_LOCKS = 4000000,
    BENCH_WAKES = 10000,
    BENCH_JOBS = 10000,
    BENCH_CHILDREN = 400,
    BENCH_PIPE_SIZE = 64 * 1024 * 1024, /* bytes through a child */
    BENCH_ECHO_BUFFER = 65536,          /* what an echo server reads at once */
    BENCH_NO_ANSWER = 64, /* exit status: this program has no answer */
};

static inline int64_t
bench_clock(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now); /* cannot fail for the clocks below */
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* CPU time of this process, all threads, nanoseconds. */
static inline int64_t
bench_cpu(void)
{
    return bench_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static inline int64_t
bench_wall(void)
{
    return bench_clock(CLOCK_MONOTONIC);
}

static inline void
bench_print(const char *metric, long size, double value)
{
    printf("%s@%ld\t%.2f\n", metric, size, value);
}

/* Ends the program: `error` is an errno value. */
static inline void
bench_die(const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

/* For calls whose failure leaves nothing to measure. */
static inline void
bench_check(const char *what, int result)
{
    if (result < 0) {
        bench_die(what, errno);
    }
}

/* The size of the question, argument number `index`. */
static inline long
bench_size(int argc, char **argv, int index, long fallback)
{
    long size = argc > index ? strtol(argv[index], NULL, 10) : fallback;

    if (size <= 0) {
        fprintf(stderr, "%s: sizes are positive\n", argv[0]);
        exit(1);
    }
    return size;
}

static inline void *
bench_calloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL) {
        bench_die("calloc", ENOMEM);
    }
    return memory;
}

static inline void
bench_sleep(int64_t delay)
{
    struct timespec time = {delay / 1000000000, delay % 1000000000};

    while (nanosleep(&time, &time) < 0 && errno == EINTR) {
    }
}

/* xorshift64: the same delays in every program and every run. */
static inline uint64_t
bench_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Memory of this process in KiB: resident pages and the page tables that map
 * them. */
static inline long
bench_memory_kib(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    long total = 0;

    if (status == NULL) {
        bench_die("/proc/self/status", errno);
    }
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0
            || strncmp(line, "VmPTE:", 6) == 0) {
            total += strtol(line + 6, NULL, 10);
        }
    }
    (void)fclose(status); /* only read from */
    return total;
}

/* ---- programs that answer several questions ---- */

struct bench_question {
    const char *name;
    void (*answer)(long size);
};

/* `program question [size]`: answers one of `questions`, which end with an
 * empty one. Returns the exit status. */
static inline int
bench_answer(const struct bench_question *questions, int argc, char **argv)
{
    for (; argc > 1 && questions->name != NULL; questions++) {
        if (strcmp(questions->name, argv[1]) == 0) {
            questions->answer(bench_size(argc, argv, 2, 1));
            return 0;
        }
    }
    return BENCH_NO_ANSWER;
}
