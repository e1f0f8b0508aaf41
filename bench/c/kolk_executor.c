/* kolk_executor.c - what does it cost to have another thread run one job and
 * to learn that it is done?
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench_kolk.h"

static int
executor_job(void *unused)
{
    (void)unused;
    return 0;
}

static int
executor_main(void *unused)
{
    (void)unused;
    bench_ok("kolk_to_thread", kolk_to_thread(executor_job, NULL));
    int64_t wall = bench_wall();
    int64_t cpu = bench_cpu();
    for (int i = 0; i < BENCH_JOBS; i++) {
        bench_ok("kolk_to_thread", kolk_to_thread(executor_job, NULL));
    }
    bench_print("executor", 1, (double)(bench_cpu() - cpu) / BENCH_JOBS);
    bench_print("executor_wall", 1, (double)(bench_wall() - wall) / BENCH_JOBS);
    return 0;
}

int
main(void)
{
    return bench_ok("kolk_run", kolk_run(executor_main, NULL));
}
