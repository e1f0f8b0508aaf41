/* await_stream_openssl.c - TLS on streams: both roles, and in the middle.
 *
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include <string.h>

#include "tls_pair.h"

static tls_pair *secure_pair;

/* The server's end of a connection, in a task of its own. */
struct secure {
    kolk_stream *stream;
    int (*serve)(kolk_stream *stream);
    int result;
};

static int
secure_serve(void *arg)
{
    struct secure *self = arg;

    self->result = self->serve(self->stream);
    return 0;
}

/* Runs `client` against `serve`, each of which frees its end. */
static int (*secure_client)(kolk_stream *stream);
static int (*secure_server)(kolk_stream *stream);
static int secure_served;

static int
secure_main(void *unused)
{
    static struct secure self; /* outlives a join that is cancelled */
    kolk_stream *ends[2];

    (void)unused;
    self = (struct secure){.serve = secure_server, .result = -EAGAIN};
    if (!CHECK_OK(kolk_stream_pair(ends))) {
        return 0;
    }
    self.stream = ends[1];
    kolk_task *server = tasks_spawn(secure_serve, &self);
    if (server == NULL) {
        kolk_stream_free(ends[0]);
        kolk_stream_free(ends[1]);
        return 0;
    }
    (void)secure_client(ends[0]);
    CHECK_OK(kolk_join(server));
    secure_served = self.result;
    return 0;
}

static void
secure_run(int (*client)(kolk_stream *stream),
           int (*server)(kolk_stream *stream))
{
    secure_pair = tls_pair_new(NULL, NULL);
    secure_client = client;
    secure_server = server;
    tasks_run(secure_main, NULL);
}

static int
start_client(kolk_stream *stream, const char *name)
{
    kolk_tls_client tls = {.context = secure_pair->contexts[TLS_CLIENT],
                           .name = name};

    return kolk_stream_start_tls(stream, &tls);
}

static int
start_server(kolk_stream *stream)
{
    return kolk_stream_start_tls_server(
        stream, secure_pair->contexts[TLS_SERVER], NULL);
}

/* ---- from the start ---- */

static int
echo_server(kolk_stream *stream)
{
    const char *line;
    int size;

    CHECK_OK(start_server(stream));
    while ((size = kolk_stream_readline(stream, &line)) > 0) {
        CHECK_OK(kolk_stream_write(stream, line, (size_t)size));
    }
    CHECK_INT(size, 0);
    return kolk_stream_close(stream);
}

static int
echo_client(kolk_stream *stream)
{
    const char *line;

    CHECK_OK(start_client(stream, "example.org"));
    CHECK(kolk_transport_tls(kolk_stream_transport(stream)) != NULL);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(kolk_stream_print(stream, "line %d\n", i));
        if (CHECK_INT(kolk_stream_readline(stream, &line), 7)) {
            CHECK_INT(line[5], '0' + i);
        }
    }
    return kolk_stream_close(stream);
}

TEST(two_streams_talk_by_tls)
{
    secure_run(echo_client, echo_server);
    CHECK_OK(secure_served);
}

/* ---- in the middle ---- */

static int
upgrade_server(kolk_stream *stream)
{
    const char *line;

    tasks_pass(5); /* so that more than the line is there */
    if (CHECK_INT(kolk_stream_readline(stream, &line), 9)) {
        CHECK(memcmp(line, "STARTTLS\n", 9) == 0);
    }
    CHECK(kolk_stream_peek(stream, 1, &line) > 1); /* the client's hello */
    return echo_server(stream);
}

static int
upgrade_client(kolk_stream *stream)
{
    CHECK_OK(kolk_stream_print(stream, "STARTTLS\n"));
    return echo_client(stream);
}

TEST(bytes_that_are_buffered_already_belong_to_the_handshake)
{
    secure_run(upgrade_client, upgrade_server);
    CHECK_OK(secure_served);
}

static int
injected_server(kolk_stream *stream)
{
    const char *line;
    char bytes[64];

    tasks_pass(5);
    CHECK_INT(kolk_stream_readline(stream, &line), 9);
    int err = start_server(stream);
    CHECK_ERR(err, -KOLK_ETLS);
    CHECK(kolk_stream_read(stream, bytes, sizeof bytes) < 0);
    kolk_stream_free(stream);
    return err;
}

static int
injected_client(kolk_stream *stream)
{
    CHECK_OK(kolk_stream_print(stream, "STARTTLS\nDELETE everything\n"));
    CHECK(start_client(stream, "example.org") < 0);
    kolk_stream_free(stream);
    return 0;
}

TEST(plain_text_in_front_of_the_handshake_is_never_taken_for_protected)
{
    secure_run(injected_client, injected_server);
    CHECK_ERR(secure_served, -KOLK_ETLS);
}

/* ---- handshakes that fail ---- */

static int
refused_server(kolk_stream *stream)
{
    int err = start_server(stream);
    char byte;

    if (err == 0) { /* it is done first in TLS 1.3 */
        err = kolk_stream_read(stream, &byte, 1);
    }
    kolk_stream_free(stream);
    return err;
}

static int
refused_client(kolk_stream *stream)
{
    char byte;

    CHECK_ERR(start_client(stream, "example.com"), -KOLK_ETLS);
    CHECK(kolk_stream_read(stream, &byte, 1) < 0);
    CHECK(kolk_stream_write(stream, "x", 1) < 0);
    CHECK(kolk_stream_close(stream) < 0);
    return 0;
}

TEST(a_certificate_for_another_name_is_refused)
{
    secure_run(refused_client, refused_server);
    CHECK(secure_served < 0);
}

static void
silent_peer(kolk_stream *stream, int fd)
{
    kolk_tls_client tls = {.context = secure_pair->contexts[TLS_CLIENT],
                           .name = "example.org",
                           .start = {.handshake_timeout = KOLK_S(3)}};
    kolk_time begin = kolk_now(NULL);
    char byte;

    (void)fd;
    CHECK_ERR(kolk_stream_start_tls(stream, &tls), -ETIMEDOUT);
    CHECK(kolk_now(NULL) - begin >= KOLK_S(3));
    CHECK_ERR(kolk_stream_read(stream, &byte, 1), -ETIMEDOUT);
    kolk_stream_free(stream);
}

TEST(a_handshake_with_a_silent_peer_times_out)
{
    secure_pair = tls_pair_new(NULL, NULL);
    peer_test_both(silent_peer);
}

static kolk_stream *shaking;

static int
shake_note(void *unused)
{
    int err = start_client(shaking, "example.org");

    (void)unused;
    tasks_note(err == -ECANCELED ? 'c' : err < 0 ? 'e' : 's');
    return 0;
}

static void
cancelled_shake(kolk_stream *stream, int fd)
{
    char byte;

    shaking = stream;
    kolk_task *task = tasks_spawn(shake_note, NULL);
    tasks_pass(3);
    if (task != NULL && CHECK(!kolk_future_is_done(task))) {
        CHECK_ERR(kolk_stream_read(stream, &byte, 1), -EBUSY);
        CHECK_ERR(start_client(stream, "example.org"), -EBUSY);
        CHECK_INT(kolk_task_cancel(task), 1);
        CHECK_OK(kolk_join(task));
    }
    if (CHECK_STR(tasks_notes(), "c")) {
        CHECK(kolk_stream_read(stream, &byte, 1) < 0);
    }
    CHECK(peer_count_to_end(fd) > 0); /* its hello, and the end */
    kolk_stream_free(stream);
}

TEST(cancelling_a_handshake_aborts_the_connection)
{
    secure_pair = tls_pair_new(NULL, NULL);
    peer_test(PEER_UNIX, NULL, cancelled_shake);
}

static void
aborted_shake(kolk_stream *stream, int fd)
{
    (void)fd;
    shaking = stream;
    kolk_task *task = tasks_spawn(shake_note, NULL);
    tasks_pass(3);
    kolk_stream_abort(stream);
    CHECK_OK(task != NULL ? kolk_join(task) : 0);
    CHECK_STR(tasks_notes(), "c");
}

TEST(aborting_a_stream_ends_its_handshake)
{
    secure_pair = tls_pair_new(NULL, NULL);
    peer_test_both(aborted_shake);
}

static void
requested_shake(kolk_stream *stream, int fd)
{
    (void)fd;
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_ERR(start_client(stream, "example.org"), -ECANCELED);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    kolk_stream_free(stream);
}

TEST(a_handshake_does_not_begin_while_a_request_is_pending)
{
    secure_pair = tls_pair_new(NULL, NULL);
    peer_test_both(requested_shake);
}

/* ---- the end ---- */

static int
truncating_server(kolk_stream *stream)
{
    CHECK_OK(start_server(stream));
    CHECK_OK(kolk_stream_print(stream, "all that comes"));
    tasks_pass(5);
    kolk_stream_abort(stream);
    return 0;
}

static int
truncated_client(kolk_stream *stream)
{
    char byte;

    CHECK_OK(start_client(stream, "example.org"));
    tasks_pass(10);
    peer_read(stream, "all that comes");
    CHECK_ERR(kolk_stream_read(stream, &byte, 1), -KOLK_ETRUNCATED);
    CHECK_ERR(kolk_stream_read(stream, &byte, 1), -KOLK_ETRUNCATED);
    kolk_stream_free(stream);
    return 0;
}

TEST(an_end_without_close_notify_is_an_error_after_all_data)
{
    secure_run(truncated_client, truncating_server);
}

static char secure_noise[500000];

static int
large_server(kolk_stream *stream)
{
    CHECK_OK(start_server(stream));
    CHECK_OK(kolk_stream_write(stream, secure_noise, sizeof secure_noise));
    CHECK_OK(kolk_stream_drain(stream));
    return kolk_stream_close(stream);
}

static int
large_client(kolk_stream *stream)
{
    static char heard[sizeof secure_noise];
    size_t got = 0;
    char byte;

    CHECK_OK(start_client(stream, "example.org"));
    CHECK_OK(kolk_stream_write_eof(stream)); /* reading goes on */
    CHECK_OK(kolk_stream_read_exactly(stream, heard, sizeof heard, &got));
    CHECK_INT(got, sizeof heard);
    CHECK_INT(kolk_stream_read(stream, &byte, 1), 0);
    CHECK_OK(kolk_stream_close(stream));
    return 0;
}

TEST(an_answer_is_read_to_its_end_after_a_half_close)
{
    secure_run(large_client, large_server);
    CHECK_OK(secure_served);
}
