/* bare_memory.c - how much memory does an idle task hold, and how long does
 * making it take?
 *
 * SPDX-License-Identifier: MIT
 *
 * Every task has run up to its first wait, on a stack of its own with a
 * guard. Memory is resident pages and page tables.
 */
#include "bare_coro.h"

static void
memory_idle(void)
{
    bare_park();
}

int
main(int argc, char **argv)
{
    long tasks = bench_size(argc, argv, 1, 1000000);

    bare_open();
    long before = bench_memory_kib();
    int64_t start = bench_cpu();
    for (long i = 0; i < tasks; i++) {
        (void)bare_spawn(memory_idle);
    }
    bare_yield(); /* returns once every one of them waits */
    int64_t spent = bench_cpu() - start;
    long held = bench_memory_kib() - before;

    bench_print("idle_bytes", tasks, (double)held * 1024 / (double)tasks);
    bench_print("create", tasks, (double)spent / (double)tasks);
    return 0;
}
