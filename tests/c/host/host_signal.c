/* host_signal.c - a host that is told of signals by its loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "host.h"

TEST(a_signal_runs_code_of_the_language_with_its_lock)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *signal = host_new(loop, HOST_SIGNAL, 's', host_stop);
    CHECK_OK(host_listen(signal, SIGUSR1));
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_OK(host_run(loop));
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "ss");
    CHECK(signal->is_lent);
    host_cancel(signal);
    host_unref(signal);
    host_loop_unref(loop);
    host_end();
}

TEST(an_exception_of_a_signals_callback_ends_the_run)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *signal = host_new(loop, HOST_SIGNAL, 's', host_raise);
    CHECK_OK(host_listen(signal, SIGUSR1));
    host_soon_new(loop, 'a', NULL);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    host_cancel(signal);
    host_unref(signal);
    host_loop_unref(loop);
    host_end();
}

/* The loop leads to the object, the object to its loop, and nobody else to
 * either. */
TEST(a_collector_finds_the_cycle_of_a_loop_and_what_waits_for_signals)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *signal = host_new(loop, HOST_SIGNAL, 's', NULL);
    CHECK_OK(host_listen(signal, SIGUSR1));
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(host_collect(), 0);
    host_unref(signal);
    CHECK_INT(host_collect(), 0);
    host_loop_unref(loop);
    CHECK_INT(host_collect(), 2);
    host_end();
}

TEST(closing_the_loop_gives_the_signal_back)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *signal = host_new(loop, HOST_SIGNAL, 's', NULL);
    CHECK_OK(host_listen(signal, SIGUSR1));
    CHECK_INT(raise(SIGUSR1), 0);
    host_loop_close(loop);
    CHECK_INT(signal->drops, 1);
    CHECK_INT(signal->runs, 0);
    host_unref(signal);
    host_loop_unref(loop);
    host_end();
}

static void *
signal_later(void *arg)
{
    host_lock_take(); /* free as soon as the loop sleeps */
    host_lock_give();
    (void)raise(SIGUSR1);
    return arg;
}

TEST_TIME(a_signal_ends_the_hosts_sleep)
{
    pthread_t thread;

    host_begin();
    host_loop *loop = host_loop_new();
    host_object *signal = host_new(loop, HOST_SIGNAL, 's', host_stop);
    CHECK_OK(host_listen(signal, SIGUSR1));
    CHECK_INT(pthread_create(&thread, NULL, signal_later, NULL), 0);
    CHECK_OK(host_run(loop));
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_STR(host_notes, "s");
    CHECK(host_calls.sleeps > 0);
    host_cancel(signal);
    host_unref(signal);
    host_loop_unref(loop);
    host_end();
}

/* What asks the kernel of a guest loop sees the signal, too. */
TEST(a_guest_loops_descriptor_tells_of_a_signal)
{
    struct pollfd fds = {.events = POLLIN};

    host_begin();
    host_loop *loop = host_loop_new();
    host_object *signal = host_new(loop, HOST_SIGNAL, 's', NULL);
    CHECK_OK(host_listen(signal, SIGUSR1));
    CHECK_OK(host_run_once(loop));
    CHECK_OK(fds.fd = kolk_loop_fileno(loop->loop));
    CHECK_INT(poll(&fds, 1, 0), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(poll(&fds, 1, 0), 1);
    CHECK_OK(host_run_once(loop));
    CHECK_STR(host_notes, "s");
    CHECK_OK(host_run_once(loop));
    CHECK_INT(poll(&fds, 1, 0), 0);
    host_cancel(signal);
    host_unref(signal);
    host_loop_unref(loop);
    host_end();
}
