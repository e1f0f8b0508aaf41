/* kolk_memory.c - how much memory does an idle task hold, and how long does
 * making it take?
 *
 * SPDX-License-Identifier: MIT
 *
 * Every task waits for the same future, on a stack of its own with a guard.
 * Memory is resident pages and page tables.
 */
#include "bench_kolk.h"

#include <unistd.h>

static long memory_tasks;
static long memory_waiting;

static int
memory_idle(void *arg)
{
    memory_waiting++;
    return kolk_join(arg);
}

static int
memory_main(void *unused)
{
    kolk_future *never;

    (void)unused;
    bench_ok("kolk_future_new", kolk_future_new(NULL, &never));
    long before = bench_memory_kib();
    int64_t start = bench_cpu();
    for (long i = 0; i < memory_tasks; i++) {
        bench_ok("kolk_spawn", kolk_spawn(memory_idle, never, NULL));
    }
    while (memory_waiting < memory_tasks) {
        bench_ok("kolk_checkpoint", kolk_checkpoint());
    }
    int64_t spent = bench_cpu() - start;
    long held = bench_memory_kib() - before;

    bench_print("idle_bytes", memory_tasks,
                (double)held * 1024 / (double)memory_tasks);
    bench_print("create", memory_tasks, (double)spent / (double)memory_tasks);
    bench_check("stdout", fflush(stdout));
    _exit(0); /* ending a million tasks is another question */
}

int
main(int argc, char **argv)
{
    memory_tasks = bench_size(argc, argv, 1, 1000000);
    return bench_ok("kolk_run", kolk_run(memory_main, NULL));
}
