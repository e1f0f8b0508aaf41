/* soak_others.c - datagram sockets and processes, by the thousand.
 *
 * SPDX-License-Identifier: MIT
 */
#include "soak.h"

/* ---- datagrams ---- */

static kolk_datagram *echo;
static kolk_address echo_name;

static int
echo_run(void *unused)
{
    char bytes[64];
    kolk_address from;

    (void)unused;
    for (;;) {
        int size = kolk_datagram_recv(echo, bytes, sizeof bytes, &from);

        if (size == -ESHUTDOWN) {
            return 0;
        }
        /* Some have closed before their answer came: an error of ICMP's. */
        if (size >= 0) {
            CHECK_OK(kolk_datagram_send(echo, bytes, (size_t)size, &from));
        }
    }
}

static void
associate(size_t number, void *arg)
{
    kolk_datagram_options options = {.remote = echo_name};
    kolk_datagram *datagram;
    char bytes[8] = {0};

    (void)arg;
    if (!CHECK_OK(kolk_datagram_open(kolk_current_loop(), &options, NULL,
                                     &datagram))) {
        return;
    }
    CHECK_OK(kolk_datagram_send_wait(datagram, "hello", 5, NULL));
    if (number % 4 != 3) { /* else its answer is refused */
        CHECK_INT(kolk_datagram_recv(datagram, bytes, sizeof bytes, NULL), 5);
        CHECK_STR(bytes, "hello");
    }
    if (number % 4 == 0) {
        kolk_datagram_close(datagram);
    } else {
        kolk_datagram_abort(datagram);
    }
    kolk_datagram_unref(datagram);
    CHECK_OK(kolk_checkpoint());
}

static void
echo_unref(void *unused)
{
    (void)unused;
    kolk_datagram_unref(echo);
}

static int
datagram_main(void *unused)
{
    kolk_datagram_options options = {0};

    (void)unused;
    CHECK_OK(kolk_address_parse("127.0.0.1", 0, &options.local));
    if (!CHECK_OK(
            kolk_datagram_open(kolk_current_loop(), &options, NULL, &echo))) {
        return 0;
    }
    test_later(echo_unref, NULL);
    CHECK_OK(kolk_datagram_sockname(echo, &echo_name));
    (void)tasks_spawn(echo_run, NULL);
    soak_run("udp", 10000, associate, NULL);
    kolk_datagram_close(echo);
    return 0;
}

TEST_TIME(nothing_is_left_of_udp_associations)
{
    tasks_run_real(datagram_main, NULL);
}

/* ---- processes ---- */

static void
process_exited(kolk_process *process)
{
    CHECK_OK(kolk_future_set_result(kolk_process_owner(process), 0, NULL));
}

static const kolk_process_ops process_ops = {.exited = process_exited};

/* Ends by itself, by its input's end, by a signal; with its handle given up
 * before, or not. */
static void
process_run(size_t number, void *arg)
{
    static const char *const self_ending[] = {"true", NULL};
    static const char *const waiting[] = {"cat", NULL};
    bool is_waiting = number % 4 != 0;
    kolk_process_options options = {
        .argv = is_waiting ? waiting : self_ending,
        .input.kind = KOLK_STDIO_PIPE,
        .output.kind = KOLK_STDIO_PIPE,
    };
    kolk_future *ended;
    kolk_process *process;

    (void)arg;
    if (!CHECK_OK(kolk_future_new(NULL, &ended))) {
        return;
    }
    if (CHECK_OK(kolk_process_spawn(kolk_current_loop(), &options, &process_ops,
                                    ended, &process))) {
        if (number % 4 == 1) {
            CHECK_OK(kolk_process_kill(process));
        } else if (number % 4 == 2) {
            int fd = kolk_process_take_pipe(process, 0);
            CHECK_OK(fd);
            (void)close(fd);
        } else if (number % 4 == 3) {
            kolk_process_unref(process); /* closes its input */
            process = NULL;
        }
        CHECK_OK(kolk_await(ended));
        kolk_process_unref(process);
    }
    kolk_future_unref(ended);
}

static int
process_main(void *unused)
{
    (void)unused;
    soak_run("processes", 1000, process_run, NULL);
    return 0;
}

TEST_TIME(nothing_is_left_of_processes)
{
    tasks_run_real(process_main, NULL);
}
