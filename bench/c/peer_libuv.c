/* peer_libuv.c - libuv's answers.
 *
 * SPDX-License-Identifier: MIT
 *
 * libuv has callbacks and no tasks. What comes nearest to a yield is an idle
 * handle: two of them are called once in each turn of the loop.
 */
#include "bench_net.h"

#include <stdbool.h>
#include <uv.h>

static void
uv_check(const char *what, int result)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(result));
        exit(1);
    }
}

/* ---- yield ---- */

static long yield_left;

static void
yield_turn(uv_idle_t *idle)
{
    if (--yield_left <= 0) {
        uv_stop(idle->loop);
    }
}

static void
yield_answer(long size)
{
    uv_idle_t idle[2];
    const long total = BENCH_SWITCHES / 2;

    if (size != 2) {
        exit(BENCH_NO_ANSWER); /* a turn's cost shared by many is no switch */
    }
    for (int i = 0; i < 2; i++) {
        uv_check("uv_idle_init", uv_idle_init(uv_default_loop(), &idle[i]));
        uv_check("uv_idle_start", uv_idle_start(&idle[i], yield_turn));
    }
    yield_left = total;
    int64_t start = bench_cpu();
    (void)uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* ends by uv_stop() */
    bench_print("yield", size, (double)(bench_cpu() - start) / (double)total);
}

/* ---- timers ---- */

static long timers_fired;

static void
timers_fire(uv_timer_t *timer)
{
    (void)timer;
    timers_fired++;
}

static double
timers_start(uv_timer_t *timers, long count, int64_t delay, uint64_t spread)
{
    const uint64_t ms = 1000000;
    uint64_t random = 1;

    uv_update_time(uv_default_loop());
    int64_t start = bench_cpu();
    for (long i = 0; i < count; i++) {
        uint64_t due = (uint64_t)delay + bench_random(&random) % spread;
        uv_check("uv_timer_start",
                 uv_timer_start(&timers[i], timers_fire, due / ms, 0));
    }
    return (double)(bench_cpu() - start) / (double)count;
}

static double
timers_cancel(uv_timer_t *timers, long count)
{
    int64_t start = bench_cpu();

    for (long i = 0; i < count; i++) {
        uv_check("uv_timer_stop", uv_timer_stop(&timers[i]));
    }
    return (double)(bench_cpu() - start) / (double)count;
}

static void
timers_answer(long count)
{
    uv_timer_t *timers = bench_calloc((size_t)count, sizeof *timers);

    for (long i = 0; i < count; i++) {
        uv_check("uv_timer_init", uv_timer_init(uv_default_loop(), &timers[i]));
    }
    (void)timers_start(timers, count, BENCH_TIMER_FAR, BENCH_TIMER_FAR);
    (void)timers_cancel(timers, count);
    bench_print("timer_insert", count,
                timers_start(timers, count, BENCH_TIMER_FAR, BENCH_TIMER_FAR));
    bench_print("timer_cancel", count, timers_cancel(timers, count));

    (void)timers_start(timers, count, BENCH_TIMER_SPREAD, BENCH_TIMER_SPREAD);
    bench_sleep(3 * BENCH_TIMER_SPREAD);
    int64_t start = bench_cpu();
    (void)uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* until none is left */
    bench_print("timer_fire", count,
                (double)(bench_cpu() - start) / (double)timers_fired);
    free(timers);
}

/* ---- executor ---- */

static long executor_left;

static void
executor_job(uv_work_t *work)
{
    (void)work;
}

static void
executor_done(uv_work_t *work, int status)
{
    uv_check("uv_queue_work", status);
    if (--executor_left > 0) {
        uv_check("uv_queue_work",
                 uv_queue_work(work->loop, work, executor_job, executor_done));
    }
}

static void
executor_run(long jobs)
{
    uv_work_t work;

    executor_left = jobs;
    uv_check("uv_queue_work", uv_queue_work(uv_default_loop(), &work,
                                            executor_job, executor_done));
    (void)uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* until none is left */
}

static void
executor_answer(long size)
{
    executor_run(1); /* starts the threads */
    int64_t wall = bench_wall();
    int64_t cpu = bench_cpu();
    executor_run(BENCH_JOBS);
    bench_print("executor", size, (double)(bench_cpu() - cpu) / BENCH_JOBS);
    bench_print("executor_wall", size,
                (double)(bench_wall() - wall) / BENCH_JOBS);
}

/* ---- wake ---- */

static struct wake_side {
    uv_loop_t loop;
    uv_async_t async;
    struct wake_side *other;
    long left;
} wake_sides[2];

static void
wake_answer_async(uv_async_t *async)
{
    struct wake_side *side = (struct wake_side *)async->data;

    uv_check("uv_async_send", uv_async_send(&side->other->async));
    if (--side->left == 0) {
        uv_close((uv_handle_t *)async, NULL);
    }
}

static void
wake_run(void *arg)
{
    struct wake_side *side = arg;

    (void)uv_run(&side->loop, UV_RUN_DEFAULT); /* until its handle is closed */
}

/* A handle must not be told anything once it is closed: the side that starts
 * ends one message later than the other. */
static void
wake_last(uv_async_t *async)
{
    struct wake_side *side = (struct wake_side *)async->data;

    if (--side->left == 0) {
        uv_close((uv_handle_t *)async, NULL);
        return;
    }
    uv_check("uv_async_send", uv_async_send(&side->other->async));
}

static void
wake_answer(long size)
{
    uv_async_cb callbacks[2] = {wake_last, wake_answer_async};
    uv_thread_t thread;

    for (int i = 0; i < 2; i++) {
        struct wake_side *side = &wake_sides[i];
        uv_check("uv_loop_init", uv_loop_init(&side->loop));
        uv_check("uv_async_init",
                 uv_async_init(&side->loop, &side->async, callbacks[i]));
        side->async.data = side;
        side->other = &wake_sides[1 - i];
        side->left = BENCH_WAKES;
    }
    int64_t wall = bench_wall();
    int64_t cpu = bench_cpu();
    uv_check("uv_thread_create",
             uv_thread_create(&thread, wake_run, &wake_sides[1]));
    uv_check("uv_async_send", uv_async_send(&wake_sides[1].async));
    wake_run(&wake_sides[0]);
    uv_check("uv_thread_join", uv_thread_join(&thread));
    bench_print("wake", size, (double)(bench_cpu() - cpu) / BENCH_WAKES);
    bench_print("wake_wall", size, (double)(bench_wall() - wall) / BENCH_WAKES);
}

/* ---- echo ---- */

static char echo_buffer[BENCH_ECHO_BUFFER];

static void
echo_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(echo_buffer, sizeof echo_buffer);
}

static void
echo_closed(uv_handle_t *handle)
{
    free(handle);
}

/* uv_try_write() sends at once and needs no memory that outlives the call:
 * the quickest that libuv offers. */
static void
echo_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    if (size < 0) {
        uv_close((uv_handle_t *)stream, echo_closed);
    } else if (size > 0) {
        uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)size);
        int sent = uv_try_write(stream, &answer, 1);
        uv_check("uv_try_write", sent);
        if (sent != size) {
            bench_die("uv_try_write", EAGAIN);
        }
    }
}

static void
echo_accept(uv_stream_t *listener, int status)
{
    uv_tcp_t *client = bench_calloc(1, sizeof *client);

    uv_check("listen", status);
    uv_check("uv_tcp_init", uv_tcp_init(listener->loop, client));
    uv_check("uv_accept", uv_accept(listener, (uv_stream_t *)client));
    uv_check("uv_read_start",
             uv_read_start((uv_stream_t *)client, echo_alloc, echo_read));
}

static void
echo_answer(long size)
{
    uv_tcp_t listener;

    (void)size;
    uv_check("uv_tcp_init", uv_tcp_init(uv_default_loop(), &listener));
    uv_check("uv_tcp_open",
             uv_tcp_open(&listener, bench_listen(SOCK_NONBLOCK)));
    uv_check("uv_listen",
             uv_listen((uv_stream_t *)&listener, BENCH_BACKLOG, echo_accept));
    (void)uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* until it is killed */
}

int
main(int argc, char **argv)
{
    static const struct bench_question questions[] = {
        {"yield", yield_answer},       {"timers", timers_answer},
        {"executor", executor_answer}, {"wake", wake_answer},
        {"echo", echo_answer},         {NULL, NULL},
    };

    return bench_answer(questions, argc, argv);
}
