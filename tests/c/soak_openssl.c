/* soak_openssl.c - TLS connections, ended in each way, by the thousand.
 *
 * SPDX-License-Identifier: MIT
 */
#include "soak_place.h"
#include "tls_pair.h"

static kolk_tls_client tls_client;

static bool
serve_tls(void)
{
    place.tls = &tls_client;
    return serve_tcp();
}

/* 10,000 of all five endings together: a handshake takes milliseconds. */
static int
tls_main(void *arg)
{
    if (serve_tls()) {
        soak_run("tls", 2000, visit, arg);
        serve_stop();
    }
    return 0;
}

static void
tls_prepare(void)
{
    tls_pair *pair = tls_pair_new(NULL, NULL);

    tls_client = (kolk_tls_client){.context = pair->contexts[TLS_CLIENT],
                                   .name = "example.org"};
    place.server_tls = pair->contexts[TLS_SERVER];
}

static void
tls_run(enum ending ending)
{
    tls_prepare();
    tasks_run_real(tls_main, &ending);
}

TEST_TIME(nothing_is_left_of_tls_connections_that_were_closed)
{
    tls_run(CLOSED);
}

TEST_TIME(nothing_is_left_of_tls_connections_that_were_aborted)
{
    tls_run(ABORTED);
}

TEST_TIME(nothing_is_left_of_tls_connections_that_the_client_has_reset)
{
    tls_run(RESET);
}

TEST_TIME(nothing_is_left_of_tls_connections_that_were_half_closed)
{
    tls_run(HALF_CLOSED);
}

TEST_TIME(nothing_is_left_of_tls_connections_that_the_server_has_closed)
{
    tls_run(LEFT);
}

/* ---- handshakes that come to nothing ---- */

static kolk_stream *
enter_plain(size_t number)
{
    kolk_stream *stream = NULL;

    place.tls = NULL;
    CHECK_OK(enter(number, &stream));
    return stream;
}

static int
shake_hands(void *stream)
{
    return kolk_stream_start_tls(stream, &tls_client);
}

/* The server does not know TLS, and sends the greeting back. */
static void
cancel_handshake(size_t number, void *arg)
{
    kolk_stream *stream = enter_plain(number);
    kolk_task *task;

    (void)arg;
    if (stream == NULL) {
        return;
    }
    if (CHECK_OK(kolk_spawn(shake_hands, stream, &task))) {
        for (size_t i = 0; i < number % 3; i++) { /* at various moments */
            CHECK_OK(kolk_checkpoint());
        }
        (void)kolk_task_cancel(task);
        CHECK(kolk_await(task) < 0);
        kolk_future_unref(task);
    }
    kolk_stream_abort(stream);
}

/* The client leaves a server in the middle of the handshake. */
static void
leave_handshake(size_t number, void *arg)
{
    kolk_stream *stream = enter_plain(number);

    (void)arg;
    if (stream == NULL) {
        return;
    }
    if (number % 2 == 0) {
        CHECK_OK(kolk_stream_write(stream, "\x16\x03\x01", 3));
    }
    if (number % 3 == 0) {
        hurry(stream);
    }
    if (number % 4 == 0) {
        (void)kolk_stream_close(stream);
    } else {
        kolk_stream_abort(stream);
    }
}

static int
handshake_main(void *fn)
{
    if (serve_tcp()) {
        soak_run("handshakes", 10000, *(soak_fn **)fn, NULL);
        serve_stop();
    }
    return 0;
}

TEST_TIME(nothing_is_left_of_handshakes_that_were_cancelled)
{
    soak_fn *fn = cancel_handshake;

    tls_prepare();
    place.server_tls = NULL;
    tasks_run_real(handshake_main, &fn);
}

TEST_TIME(nothing_is_left_of_handshakes_that_the_client_has_left)
{
    soak_fn *fn = leave_handshake;

    tls_prepare();
    tasks_run_real(handshake_main, &fn);
}
