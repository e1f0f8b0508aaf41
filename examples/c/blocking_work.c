/* blocking_work.c - what would block, in threads, while the loop goes on.
 *
 * A computation, or a library that blocks, would hold up every task of the
 * loop. kolk_to_thread() runs it in the loop's pool of threads and waits for
 * its result, as for anything else. The ticks show that the loop is awake.
 *
 * SPDX-License-Identifier: MIT
 */
#include <kolk.h>
#include <stdio.h>

enum { JOBS = 4, SPAN = 125000 };

struct job {
    int from, to;
    int primes;
};

/* In a thread of the pool: nothing of the loop's may be used here. Returns how
 * many primes there are from `from` up to, but without, `to`. */
static int
primes_count(void *arg)
{
    const struct job *job = arg;
    int count = 0;
    for (int n = job->from < 2 ? 2 : job->from; n < job->to; n++) {
        int divisor = 2;
        while (divisor * divisor <= n && n % divisor != 0) {
            divisor++;
        }
        count += divisor * divisor > n;
    }
    return count;
}

static int
job_run(void *arg)
{
    struct job *job = arg;
    job->primes = kolk_to_thread(primes_count, job);
    return job->primes;
}

static int
ticks_count(void *arg)
{
    int *ticks = arg;
    int err;
    while ((err = kolk_sleep(KOLK_MS(1))) == 0) {
        ++*ticks;
    }
    return err;
}

static int
jobs_run(void *arg)
{
    struct job *jobs = arg;
    int ticks = 0;
    KOLK_GROUP(clock);
    int err = kolk_group_spawn(&clock, ticks_count, &ticks, NULL);
    KOLK_GROUP(work);
    for (int i = 0; i < JOBS && err == 0; i++) {
        jobs[i] = (struct job){i * SPAN, (i + 1) * SPAN, 0};
        err = kolk_group_spawn(&work, job_run, &jobs[i], NULL);
    }
    err = kolk_group_end(&work, err);
    kolk_group_cancel(&clock);
    err = kolk_group_end(&clock, err);
    (void)printf("meanwhile, %d ticks\n", ticks);
    return err;
}

int
main(void)
{
    struct job jobs[JOBS];
    int err = kolk_run(jobs_run, jobs);
    if (err < 0) {
        (void)fprintf(stderr, "blocking_work: %s\n", kolk_strerror(err));
        return 1;
    }
    int primes = 0;
    for (int i = 0; i < JOBS; i++) {
        primes += jobs[i].primes;
    }
    (void)printf("%d primes below %d\n", primes, JOBS * SPAN);
    return 0;
}
