/* bare_executor.c - what does it cost to have another thread run one job and
 * to learn that it is done?
 *
 * SPDX-License-Identifier: MIT
 *
 * Four threads wait on a condition for jobs; a finished one is announced by
 * an eventfd, as a loop would want it. One job at a time.
 */
#include "bench.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>

enum { EXECUTOR_THREADS = 4 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t is_wanted;
    bool has_job;    /* guarded by lock */
    bool is_closing; /* guarded by lock */
    int done;
    long results; /* written by jobs, one at a time */
} executor = {.lock = PTHREAD_MUTEX_INITIALIZER,
              .is_wanted = PTHREAD_COND_INITIALIZER};

static bool
executor_take(void)
{
    (void)pthread_mutex_lock(&executor.lock);
    while (!executor.has_job && !executor.is_closing) {
        (void)pthread_cond_wait(&executor.is_wanted, &executor.lock);
    }
    bool has_job = executor.has_job;
    executor.has_job = false;
    (void)pthread_mutex_unlock(&executor.lock);
    return has_job;
}

static void *
executor_work(void *unused)
{
    while (executor_take()) {
        executor.results++;
        bench_check("write", eventfd_write(executor.done, 1));
    }
    return unused;
}

static void
executor_run(void)
{
    eventfd_t value;

    (void)pthread_mutex_lock(&executor.lock);
    executor.has_job = true;
    (void)pthread_cond_signal(&executor.is_wanted);
    (void)pthread_mutex_unlock(&executor.lock);
    bench_check("read", eventfd_read(executor.done, &value));
}

static void
executor_close(pthread_t *threads)
{
    (void)pthread_mutex_lock(&executor.lock);
    executor.is_closing = true;
    (void)pthread_cond_broadcast(&executor.is_wanted);
    (void)pthread_mutex_unlock(&executor.lock);
    for (int i = 0; i < EXECUTOR_THREADS; i++) {
        (void)pthread_join(threads[i], NULL); /* nothing to return */
    }
}

int
main(void)
{
    pthread_t threads[EXECUTOR_THREADS];

    bench_check("eventfd", executor.done = eventfd(0, EFD_CLOEXEC));
    for (int i = 0; i < EXECUTOR_THREADS; i++) {
        int err = pthread_create(&threads[i], NULL, executor_work, NULL);
        if (err != 0) {
            bench_die("pthread_create", err);
        }
    }
    executor_run();
    int64_t wall = bench_wall();
    int64_t cpu = bench_cpu();
    for (int i = 0; i < BENCH_JOBS; i++) {
        executor_run();
    }
    bench_print("executor", 1, (double)(bench_cpu() - cpu) / BENCH_JOBS);
    bench_print("executor_wall", 1, (double)(bench_wall() - wall) / BENCH_JOBS);
    executor_close(threads);
    return executor.results == BENCH_JOBS + 1 ? 0 : 1;
}
