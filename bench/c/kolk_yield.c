/* kolk_yield.c - what does it cost to let the next of N tasks run?
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench_kolk.h"

static long yield_tasks;
static long yield_rounds;

static int
yield_run(void *unused)
{
    (void)unused;
    for (long i = 0; i < yield_rounds; i++) {
        bench_ok("kolk_checkpoint", kolk_checkpoint());
    }
    return 0;
}

static double
yield_measure(kolk_task **tasks, long rounds)
{
    yield_rounds = rounds;
    for (long i = 0; i < yield_tasks; i++) {
        tasks[i] = bench_spawn(yield_run, NULL);
    }
    int64_t start = bench_cpu();
    for (long i = 0; i < yield_tasks; i++) {
        bench_join(tasks[i]);
    }
    return (double)(bench_cpu() - start) / (double)(yield_tasks * rounds);
}

static int
yield_main(void *unused)
{
    kolk_task **tasks = bench_calloc((size_t)yield_tasks, sizeof *tasks);

    (void)unused;
    (void)yield_measure(tasks, 2); /* stacks and caches are warm now */
    bench_print("yield", yield_tasks,
                yield_measure(tasks, BENCH_SWITCHES / yield_tasks));
    free(tasks);
    return 0;
}

int
main(int argc, char **argv)
{
    yield_tasks = bench_size(argc, argv, 1, 2);
    return bench_ok("kolk_run", kolk_run(yield_main, NULL));
}
