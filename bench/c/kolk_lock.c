/* kolk_lock.c - what does a lock cost, free or handed from task to task?
 *
 * SPDX-License-Identifier: MIT
 *
 * Free: one acquire and one release. Handed over: two tasks, each of which
 * lets the other run while it holds the lock, so that every acquire waits; an
 * acquire, a yield and a release.
 */
#include "bench_kolk.h"

static kolk_lock lock = KOLK_LOCK_INIT;

static int
lock_contend(void *unused)
{
    (void)unused;
    for (int i = 0; i < BENCH_LOCKS / 2; i++) {
        bench_ok("kolk_lock_acquire", kolk_lock_acquire(&lock));
        bench_ok("kolk_checkpoint", kolk_checkpoint());
        bench_ok("kolk_lock_release", kolk_lock_release(&lock));
    }
    return 0;
}

static void
lock_measure_free(void)
{
    int64_t start = bench_cpu();

    for (int i = 0; i < BENCH_LOCKS; i++) {
        bench_ok("kolk_lock_acquire", kolk_lock_acquire(&lock));
        bench_ok("kolk_lock_release", kolk_lock_release(&lock));
    }
    bench_print("lock_free", 1, (double)(bench_cpu() - start) / BENCH_LOCKS);
}

static int
lock_main(void *unused)
{
    (void)unused;
    lock_measure_free();

    kolk_task *one = bench_spawn(lock_contend, NULL);
    kolk_task *two = bench_spawn(lock_contend, NULL);
    int64_t start = bench_cpu();
    bench_join(one);
    bench_join(two);
    bench_print("lock_handover", 2,
                (double)(bench_cpu() - start) / BENCH_LOCKS);
    return 0;
}

int
main(void)
{
    return bench_ok("kolk_run", kolk_run(lock_main, NULL));
}
