/* bare_wake.c - what does it cost two threads to wake each other once?
 *
 * SPDX-License-Identifier: MIT
 *
 * Two eventfds, each read by one thread and written by the other: four system
 * calls and two sleeps a round trip.
 */
#include "bench.h"

#include <pthread.h>
#include <sys/eventfd.h>

static int wake_ping;
static int wake_pong;

static void *
wake_answer(void *unused)
{
    eventfd_t value;

    for (int i = 0; i < BENCH_WAKES; i++) {
        bench_check("read", eventfd_read(wake_ping, &value));
        bench_check("write", eventfd_write(wake_pong, 1));
    }
    return unused;
}

int
main(void)
{
    pthread_t thread;
    eventfd_t value;

    bench_check("eventfd", wake_ping = eventfd(0, EFD_CLOEXEC));
    bench_check("eventfd", wake_pong = eventfd(0, EFD_CLOEXEC));
    int err = pthread_create(&thread, NULL, wake_answer, NULL);
    if (err != 0) {
        bench_die("pthread_create", err);
    }
    int64_t wall = bench_wall();
    int64_t cpu = bench_cpu();
    for (int i = 0; i < BENCH_WAKES; i++) {
        bench_check("write", eventfd_write(wake_ping, 1));
        bench_check("read", eventfd_read(wake_pong, &value));
    }
    bench_print("wake", 1, (double)(bench_cpu() - cpu) / BENCH_WAKES);
    bench_print("wake_wall", 1, (double)(bench_wall() - wall) / BENCH_WAKES);
    (void)pthread_join(thread, NULL); /* it has nothing to return */
    return 0;
}
