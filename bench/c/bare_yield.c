/* bare_yield.c - what does it cost to let the next of N tasks run?
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare_coro.h"

static long yield_rounds;

static void
yield_run(void)
{
    for (long i = 0; i < yield_rounds; i++) {
        bare_yield();
    }
}

static double
yield_measure(struct bare_coro **coros, long tasks, long rounds)
{
    yield_rounds = rounds;
    for (long i = 0; i < tasks; i++) {
        coros[i] = bare_spawn(yield_run);
    }
    int64_t start = bench_cpu();
    for (long i = 0; i < tasks; i++) {
        bare_join(coros[i]);
    }
    return (double)(bench_cpu() - start) / (double)(tasks * rounds);
}

int
main(int argc, char **argv)
{
    long tasks = bench_size(argc, argv, 1, 2);
    struct bare_coro **coros = bench_calloc((size_t)tasks, sizeof(void *));

    bare_open();
    (void)yield_measure(coros, tasks, 2); /* stacks and caches are warm now */
    bench_print("yield", tasks,
                yield_measure(coros, tasks, BENCH_SWITCHES / tasks));
    free(coros);
    return 0;
}
