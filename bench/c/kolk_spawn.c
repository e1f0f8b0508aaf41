/* kolk_spawn.c - what does a task cost that does nothing, joined?
 *
 * SPDX-License-Identifier: MIT
 *
 * With size 1 each is joined before the next is spawned; with size N there
 * are N at a time.
 */
#include "bench_kolk.h"

static long spawn_batch;

static int
spawn_nothing(void *unused)
{
    (void)unused;
    return 0;
}

static double
spawn_measure(kolk_task **tasks, long total)
{
    int64_t start = bench_cpu();

    for (long done = 0; done < total; done += spawn_batch) {
        for (long i = 0; i < spawn_batch; i++) {
            tasks[i] = bench_spawn(spawn_nothing, NULL);
        }
        for (long i = 0; i < spawn_batch; i++) {
            bench_join(tasks[i]);
        }
    }
    return (double)(bench_cpu() - start) / (double)total;
}

static int
spawn_main(void *unused)
{
    kolk_task **tasks = bench_calloc((size_t)spawn_batch, sizeof *tasks);

    (void)unused;
    (void)spawn_measure(tasks, spawn_batch); /* makes the stacks */
    bench_print("spawn", spawn_batch, spawn_measure(tasks, BENCH_SPAWNS));
    free(tasks);
    return 0;
}

int
main(int argc, char **argv)
{
    spawn_batch = bench_size(argc, argv, 1, 1);
    return bench_ok("kolk_run", kolk_run(spawn_main, NULL));
}
