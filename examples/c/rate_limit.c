/* rate_limit.c - at most so many requests in any span of time.
 *
 * A semaphore bounds how many tasks are in the middle of something. Here each
 * keeps its place for a fixed time, however soon its request is answered: so
 * no more than LIMIT requests begin in any PERIOD. Nobody overtakes: those who
 * wait are served in the order in which they came.
 *
 * SPDX-License-Identifier: MIT
 */
#include <kolk.h>
#include <stdio.h>

enum { REQUESTS = 30, LIMIT = 5 };
#define PERIOD KOLK_MS(20)

static kolk_semaphore limit = KOLK_SEMAPHORE_INIT(LIMIT);
static kolk_time starts[REQUESTS];
static int started;

static int
request_send(void *arg)
{
    (void)arg;
    int err = kolk_semaphore_acquire(&limit);
    if (err < 0) {
        return err;
    }
    kolk_time start = kolk_now(NULL);
    starts[started++] = start;
    err = kolk_sleep(KOLK_MS(3)); /* the request itself */
    if (err == 0) {
        err = kolk_sleep_until(start + PERIOD);
    }
    (void)kolk_semaphore_release(&limit);
    return err;
}

static int
requests_send(void *arg)
{
    int err = 0;
    (void)arg;
    KOLK_GROUP(requests);
    for (int i = 0; i < REQUESTS && err == 0; i++) {
        err = kolk_group_spawn(&requests, request_send, NULL, NULL);
    }
    return kolk_group_end(&requests, err);
}

int
main(void)
{
    int err = kolk_run(requests_send, NULL);
    if (err < 0) {
        (void)fprintf(stderr, "rate_limit: %s\n", kolk_strerror(err));
        return 1;
    }
    /* The one LIMIT places later took the place of this one, or a later. */
    int early = 0;
    for (int i = LIMIT; i < started; i++) {
        early += starts[i] - starts[i - LIMIT] < PERIOD;
    }
    (void)printf("%d requests in %.0f ms, %d of them too early\n", started,
                 (double)(starts[started - 1] - starts[0]) / 1e6, early);
    return early > 0;
}
