/* kolk_wake.c - what does it cost two loops in two threads to wake each other
 * once?
 *
 * SPDX-License-Identifier: MIT
 *
 * Each side's call, when it runs, pushes the other's into the other's inbox.
 */
#include "bench_kolk.h"

#include <pthread.h>

struct wake_side {
    kolk_call call;
    kolk_loop *loop;
    struct wake_side *other;
    int left;
    bool is_first; /* gets the last message of all, and answers it no more */
};

static void
wake_push(struct wake_side *side)
{
    bench_ok("kolk_inbox_push",
             kolk_inbox_push(kolk_loop_inbox(side->loop), &side->call));
}

static void
wake_received(kolk_call *call)
{
    struct wake_side *side = KOLK_CONTAINER_OF(call, struct wake_side, call);

    side->left--;
    if (side->left > 0 || !side->is_first) {
        wake_push(side->other);
    }
    if (side->left == 0) {
        kolk_loop_stop(side->loop);
    }
}

static void *
wake_run(void *arg)
{
    struct wake_side *side = arg;

    bench_ok("kolk_run_forever", kolk_run_forever(side->loop));
    return NULL;
}

int
main(void)
{
    struct wake_side sides[2] = {0};
    pthread_t thread;

    for (int i = 0; i < 2; i++) {
        bench_ok("kolk_loop_open", kolk_loop_open(NULL, &sides[i].loop));
        kolk_call_init(&sides[i].call, wake_received, NULL);
        sides[i].other = &sides[1 - i];
        sides[i].left = BENCH_WAKES;
        sides[i].is_first = i == 0;
    }
    int64_t wall = bench_wall();
    int64_t cpu = bench_cpu();
    int err = pthread_create(&thread, NULL, wake_run, &sides[1]);
    if (err != 0) {
        bench_die("pthread_create", err);
    }
    wake_push(&sides[1]);
    (void)wake_run(&sides[0]);
    (void)pthread_join(thread, NULL); /* it has nothing to return */
    bench_print("wake", 1, (double)(bench_cpu() - cpu) / BENCH_WAKES);
    bench_print("wake_wall", 1, (double)(bench_wall() - wall) / BENCH_WAKES);
    for (int i = 0; i < 2; i++) {
        bench_ok("kolk_loop_close", kolk_loop_close(sides[i].loop));
    }
    return 0;
}
