/* peer_libev.c - libev's answers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench_net.h"

#include <ev.h>
#include <pthread.h>

/* ---- timers ---- */

static long timers_fired;

static void
timers_fire(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    timers_fired++;
}

static double
timers_start(struct ev_loop *loop, ev_timer *timers, long count, int64_t delay,
             uint64_t spread)
{
    uint64_t random = 1;

    ev_now_update(loop);
    int64_t start = bench_cpu();
    for (long i = 0; i < count; i++) {
        uint64_t due = (uint64_t)delay + bench_random(&random) % spread;
        ev_timer_set(&timers[i], (double)due * 1e-9, 0.);
        ev_timer_start(loop, &timers[i]);
    }
    return (double)(bench_cpu() - start) / (double)count;
}

static double
timers_cancel(struct ev_loop *loop, ev_timer *timers, long count)
{
    int64_t start = bench_cpu();

    for (long i = 0; i < count; i++) {
        ev_timer_stop(loop, &timers[i]);
    }
    return (double)(bench_cpu() - start) / (double)count;
}

static void
timers_answer(long count)
{
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_timer *timers = bench_calloc((size_t)count, sizeof *timers);

    for (long i = 0; i < count; i++) {
        ev_timer_init(&timers[i], timers_fire, 0., 0.);
    }
    (void)timers_start(loop, timers, count, BENCH_TIMER_FAR, BENCH_TIMER_FAR);
    (void)timers_cancel(loop, timers, count);
    bench_print(
        "timer_insert", count,
        timers_start(loop, timers, count, BENCH_TIMER_FAR, BENCH_TIMER_FAR));
    bench_print("timer_cancel", count, timers_cancel(loop, timers, count));

    (void)timers_start(loop, timers, count, BENCH_TIMER_SPREAD,
                       BENCH_TIMER_SPREAD);
    bench_sleep(3 * BENCH_TIMER_SPREAD);
    int64_t start = bench_cpu();
    (void)ev_run(loop, 0); /* until none is left */
    bench_print("timer_fire", count,
                (double)(bench_cpu() - start) / (double)timers_fired);
    free(timers);
}

/* ---- wake ---- */

struct wake_side {
    ev_async async;
    struct ev_loop *loop;
    struct wake_side *other;
    long left;
    int is_first; /* the side that gets the last message of all */
};

static void
wake_received(struct ev_loop *loop, ev_async *async, int events)
{
    struct wake_side *side = (struct wake_side *)async->data;

    (void)events;
    side->left--;
    if (side->left > 0 || !side->is_first) {
        ev_async_send(side->other->loop, &side->other->async);
    }
    if (side->left == 0) {
        ev_break(loop, EVBREAK_ALL);
    }
}

static void *
wake_run(void *arg)
{
    struct wake_side *side = arg;

    (void)ev_run(side->loop, 0); /* ends by ev_break() */
    return NULL;
}

static void
wake_answer(long size)
{
    static struct wake_side sides[2];
    pthread_t thread;

    for (int i = 0; i < 2; i++) {
        sides[i].loop = ev_loop_new(EVBACKEND_EPOLL);
        sides[i].other = &sides[1 - i];
        sides[i].left = BENCH_WAKES;
        sides[i].is_first = i == 0;
        ev_async_init(&sides[i].async, wake_received);
        sides[i].async.data = &sides[i];
        ev_async_start(sides[i].loop, &sides[i].async);
    }
    int64_t wall = bench_wall();
    int64_t cpu = bench_cpu();
    int err = pthread_create(&thread, NULL, wake_run, &sides[1]);
    if (err != 0) {
        bench_die("pthread_create", err);
    }
    ev_async_send(sides[1].loop, &sides[1].async);
    (void)wake_run(&sides[0]);
    (void)pthread_join(thread, NULL); /* it has nothing to return */
    bench_print("wake", size, (double)(bench_cpu() - cpu) / BENCH_WAKES);
    bench_print("wake_wall", size, (double)(bench_wall() - wall) / BENCH_WAKES);
}

/* ---- echo ---- */

static char echo_buffer[BENCH_ECHO_BUFFER];

static void
echo_received(struct ev_loop *loop, ev_io *io, int events)
{
    ssize_t size = recv(io->fd, echo_buffer, sizeof echo_buffer, 0);

    (void)events;
    if (size <= 0) {
        ev_io_stop(loop, io);
        (void)close(io->fd); /* the load ended, or gave up and said why */
        free(io);
    } else if (send(io->fd, echo_buffer, (size_t)size, MSG_NOSIGNAL) != size) {
        bench_die("send", errno);
    }
}

static void
echo_accept(struct ev_loop *loop, ev_io *listener, int events)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd < 0) {
        return; /* still readable if there is another */
    }
    ev_io *io = bench_calloc(1, sizeof *io);
    ev_io_init(io, echo_received, fd, EV_READ);
    ev_io_start(loop, io);
}

static void
echo_answer(long size)
{
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io listener;

    (void)size;
    ev_io_init(&listener, echo_accept, bench_listen(SOCK_NONBLOCK), EV_READ);
    ev_io_start(loop, &listener);
    (void)ev_run(loop, 0); /* until it is killed */
}

int
main(int argc, char **argv)
{
    static const struct bench_question questions[] = {
        {"timers", timers_answer},
        {"wake", wake_answer},
        {"echo", echo_answer},
        {NULL, NULL},
    };

    return bench_answer(questions, argc, argv);
}
