/* bare_spawn.c - what does a task cost that does nothing, joined?
 *
 * SPDX-License-Identifier: MIT
 *
 * With size 1 each is joined before the next is spawned; with size N there
 * are N at a time.
 */
#include "bare_coro.h"

static void
spawn_nothing(void)
{
}

static double
spawn_measure(struct bare_coro **coros, long batch, long total)
{
    int64_t start = bench_cpu();

    for (long done = 0; done < total; done += batch) {
        for (long i = 0; i < batch; i++) {
            coros[i] = bare_spawn(spawn_nothing);
        }
        for (long i = 0; i < batch; i++) {
            bare_join(coros[i]);
        }
    }
    return (double)(bench_cpu() - start) / (double)total;
}

int
main(int argc, char **argv)
{
    long batch = bench_size(argc, argv, 1, 1);
    struct bare_coro **coros = bench_calloc((size_t)batch, sizeof(void *));

    bare_open();
    (void)spawn_measure(coros, batch, batch); /* makes the stacks */
    bench_print("spawn", batch, spawn_measure(coros, batch, BENCH_SPAWNS));
    free(coros);
    return 0;
}
