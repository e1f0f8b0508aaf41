/* await_serve_openssl.c - serving TLS to peers that misbehave.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whatever one of them does costs the others nothing: the next client is
 * served, the server can be joined, and nothing is reported, since it was no
 * failure of this side's.
 */
#include "reports.h"
#include "serving.h"
#include "tls_pair.h"

#include "base/sys.h"

static tls_pair *pair;

enum { SHORT = 50 }; /* a handshake may take so many milliseconds */

/* ---- a client that has an engine, and its socket in its own hands ---- */

/* A new one; NULL if it cannot be had. */
static kolk_tls_engine *
wire_engine(void)
{
    tls_pair_connect(pair, "example.org");
    return pair->ends[TLS_CLIENT];
}

/* Sends what the engine has to send, in pieces of so many bytes, each in a
 * turn of its own. Returns whether it could. */
static bool
wire_flush(int fd, size_t piece)
{
    kolk_tls_engine *engine = pair->ends[TLS_CLIENT];
    char bytes[16384];
    size_t size;

    piece = piece > 0 ? piece : sizeof bytes;
    while ((size = engine->ops->output(engine, bytes, piece)) > 0) {
        if (send(fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) {
            return false;
        }
        tasks_pass(1);
    }
    return true;
}

/* Gives the engine what has come, and waits for that. */
static bool
wire_fill(int fd)
{
    KOLK_TIMEOUT(timeout, PEER_PATIENCE);
    kolk_tls_engine *engine = pair->ends[TLS_CLIENT];
    char bytes[16384];
    int size = kolk_recv(fd, bytes, sizeof bytes, 0);

    size = kolk_timeout_end(&timeout, size);
    return size > 0 && engine->ops->feed(engine, bytes, (size_t)size) == size;
}

static bool
wire_shake(int fd, size_t piece)
{
    kolk_tls_engine *engine = wire_engine();

    while (engine != NULL) {
        int result = engine->ops->handshake(engine);

        if (!wire_flush(fd, piece) || (result < 0 && result != -EAGAIN)) {
            return CHECK(false);
        }
        if (result == 0) {
            return true;
        }
        if (!CHECK(wire_fill(fd))) {
            return false;
        }
    }
    return false;
}

/* Says `text` in records of one byte, each sent byte by byte; hears it. */
static void
wire_spell(int fd, const char *text)
{
    kolk_tls_engine *engine = pair->ends[TLS_CLIENT];
    size_t got = 0, size = strlen(text);
    char heard[64];

    for (size_t i = 0; i < size; i++) {
        CHECK_INT(engine->ops->write(engine, text + i, 1), 1);
        CHECK(wire_flush(fd, 1));
    }
    while (got < size && kit_failures() == 0) {
        int some = engine->ops->read(engine, heard + got, sizeof heard - got);

        if (some > 0) {
            got += (size_t)some;
        } else if (!CHECK_INT(some, -EAGAIN) || !CHECK(wire_fill(fd))) {
            return;
        }
    }
    CHECK(memcmp(heard, text, size) == 0);
}

/* The first bytes that a client sends. */
static void
wire_begin(int fd, size_t size)
{
    kolk_tls_engine *engine = wire_engine();
    char bytes[16];

    if (engine != NULL && CHECK_ERR(engine->ops->handshake(engine), -EAGAIN)
        && CHECK_INT(engine->ops->output(engine, bytes, size), size)) {
        peer_send(fd, bytes, size);
    }
}

/* ---- a server, one that misbehaves, and one that does not ---- */

typedef void rude_fn(int fd);

static int
careful_serve(kolk_stream *stream, void *arg)
{
    char block[4096];
    int n;

    (void)arg;
    hall.begun++;
    while ((n = kolk_stream_read(stream, block, sizeof block)) > 0
           && (n = kolk_stream_write(stream, block, (size_t)n)) == 0
           && (n = kolk_stream_drain(stream)) == 0) {
    }
    hall.ended++;
    hall.last = n;
    return n;
}

static void
polite_visit(void)
{
    KOLK_TIMEOUT(timeout, PEER_PATIENCE);
    kolk_tls_client tls = {.context = pair->contexts[TLS_CLIENT],
                           .name = "example.org"};
    kolk_stream *stream;
    char service[16];

    (void)snprintf(service, sizeof service, "%d",
                   kolk_server_port(hall.server));
    if (CHECK_OK(
            kolk_open_connection("127.0.0.1", service, NULL, &tls, &stream))) {
        CHECK_OK(kolk_stream_write(stream, "hello", 5));
        peer_read(stream, "hello");
        CHECK_OK(kolk_stream_close(stream));
    }
    CHECK_OK(kolk_timeout_end(&timeout, 0));
}

static bool
secure_hall_open(kolk_time handshake_timeout)
{
    kolk_serve_options options = {.tls = pair->contexts[TLS_SERVER],
                                  .handshake_timeout = handshake_timeout};

    reports_watch(kolk_current_loop());
    return hall_open(&options, careful_serve, NULL);
}

/* A rude client, and then one that behaves. */
struct meeting {
    rude_fn *rude;
    kolk_time handshake_timeout;
    int begun; /* handlers of the rude one */
    int last;  /* what its reading came to */
};

static int
meeting_main(void *arg)
{
    const struct meeting *self = arg;

    if (!secure_hall_open(self->handshake_timeout)) {
        return 0;
    }
    self->rude(hall_enter());
    for (int i = 0; i < 5000 && kolk_server_count(hall.server) > 0; i++) {
        if (!CHECK_OK(kolk_sleep(KOLK_MS(1)))) {
            break;
        }
    }
    CHECK_INT(hall.begun, self->begun);
    CHECK_INT(hall.ended, self->begun);
    CHECK_INT(hall.last, self->last);
    polite_visit();
    kolk_server_close(hall.server);
    CHECK_OK(kolk_server_join(hall.server));
    CHECK_INT(hall.ended, self->begun + 1);
    return 0;
}

static void
meet(struct meeting meeting)
{
    pair = tls_pair_new(NULL, NULL);
    tasks_run_real(meeting_main, &meeting);
    CHECK_INT(reports.count, 0);
}

/* A rude client that sees to the server's end itself. */
static int
parting_main(void *arg)
{
    rude_fn *const *rude = arg;

    if (secure_hall_open(0)) {
        (*rude)(hall_enter());
    }
    return 0;
}

static void
part(rude_fn *rude)
{
    pair = tls_pair_new(NULL, NULL);
    tasks_run_real(parting_main, &rude);
    CHECK_INT(reports.count, 0);
}

/* ---- in place of a handshake ---- */

static void
say_nothing(int fd)
{
    CHECK(peer_count_to_end(fd) <= 0);
}

TEST(a_peer_that_says_nothing_is_left)
{
    meet((struct meeting){.rude = say_nothing,
                          .handshake_timeout = KOLK_MS(SHORT)});
}

static void
creep(int fd)
{
    char byte;

    wire_begin(fd, 5);              /* a record that promises more */
    for (int i = 0; i < 100; i++) { /* much longer than it has */
        if (peer_take(fd, &byte, 1) != -EAGAIN
            || send(fd, "\1", 1, MSG_NOSIGNAL) < 0) {
            return;
        }
        if (!CHECK_OK(kolk_sleep(KOLK_MS(SHORT / 2)))) {
            return;
        }
    }
    CHECK(false);
}

TEST(a_handshake_that_never_ends_is_ended)
{
    meet((struct meeting){.rude = creep, .handshake_timeout = KOLK_MS(SHORT)});
}

static void
speak_plainly(int fd)
{
    peer_say(fd, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    (void)peer_count_to_end(fd); /* an alert or a reset */
}

TEST(plain_text_in_place_of_a_handshake_ends_the_connection)
{
    meet((struct meeting){.rude = speak_plainly});
}

static void
flood_early(int fd)
{
    (void)peer_fill(fd);
    (void)peer_count_to_end(fd); /* or a reset */
}

TEST(a_flood_in_place_of_a_handshake_ends_the_connection)
{
    meet((struct meeting){.rude = flood_early});
}

static void
reset_early(int fd)
{
    wire_begin(fd, 8);
    tasks_pass(3);
    peer_reset(fd);
}

TEST(a_reset_within_a_handshake_is_the_peers_affair)
{
    meet((struct meeting){.rude = reset_early});
}

static void
end_early(int fd)
{
    wire_begin(fd, 8);
    peer_half_close(fd);
    (void)peer_count_to_end(fd);
}

TEST(an_end_within_a_handshake_is_the_peers_affair)
{
    meet((struct meeting){.rude = end_early});
}

/* ---- after it ---- */

static void
spell(int fd)
{
    kolk_tls_engine *engine;

    if (!wire_shake(fd, 1)) {
        return;
    }
    wire_spell(fd, "spelled out");
    engine = pair->ends[TLS_CLIENT];
    CHECK_OK(engine->ops->shutdown(engine));
    CHECK(wire_flush(fd, 1));
    CHECK(peer_count_to_end(fd) >= 0);
}

TEST(records_of_one_byte_in_pieces_of_one_byte_are_served)
{
    meet((struct meeting){.rude = spell, .begun = 1});
}

static void
cut(int fd)
{
    if (wire_shake(fd, 0)) {
        wire_spell(fd, "so far");
        peer_half_close(fd); /* without close_notify */
        CHECK(peer_count_to_end(fd) >= 0);
    }
}

TEST(a_stream_that_is_cut_off_is_no_failure_of_the_server)
{
    meet((struct meeting){.rude = cut, .begun = 1, .last = -KOLK_ETRUNCATED});
}

static void
reset_late(int fd)
{
    if (wire_shake(fd, 0)) {
        wire_spell(fd, "so far");
        peer_reset(fd);
    }
}

TEST(a_reset_after_the_handshake_is_no_failure_of_the_server)
{
    meet((struct meeting){.rude = reset_late, .begun = 1, .last = -ECONNRESET});
}

static void
garble(int fd)
{
    static const char record[] =
        "\x17\x03\x03\0\x20 these are not the right bytes!!";

    if (wire_shake(fd, 0)) {
        wire_spell(fd, "so far");
        peer_send(fd, record, sizeof record - 1);
        CHECK(peer_count_to_end(fd) >= 0);
    }
}

TEST(a_record_that_is_garbage_is_no_failure_of_the_server)
{
    meet((struct meeting){.rude = garble, .begun = 1, .last = -KOLK_ETLS});
}

/* Sends records until there is no room, and reads none of the answers. */
static void
flood_late(int fd)
{
    static const char noise[16384];
    kolk_tls_engine *engine;
    int quiet = 0;

    if (!wire_shake(fd, 0)) {
        return;
    }
    engine = pair->ends[TLS_CLIENT];
    while (quiet < 20) { /* turns in which nothing fitted */
        char bytes[20000];

        if (!CHECK_INT(engine->ops->write(engine, noise, sizeof noise),
                       sizeof noise)) {
            return;
        }
        size_t size = engine->ops->output(engine, bytes, sizeof bytes);
        size_t sent = 0;
        for (quiet = 0; sent < size && quiet < 20; quiet++) {
            ssize_t some = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);

            if (some > 0) {
                sent += (size_t)some;
                quiet = 0;
            }
            if (!CHECK_OK(kolk_sleep(KOLK_MS(1)))) {
                return;
            }
        }
    }
    kolk_server_close(hall.server);
    CHECK_INT(hall.ended, 0); /* it waits until somebody reads */
    kolk_server_abort_clients(hall.server);
    CHECK_OK(kolk_server_join(hall.server));
    CHECK_INT(hall.ended, 1);
    CHECK_ERR(hall.last, -ECANCELED);
}

TEST(a_flood_whose_answers_are_not_read_stops_and_can_be_aborted)
{
    part(flood_late);
}

/* A handler that says more than there is room for, and waits until less is. */
static int
gush_serve(kolk_stream *stream, void *arg)
{
    static const char noise[32000000]; /* more than TCP has room for */

    (void)arg;
    hall.begun++;
    int err = kolk_stream_write(stream, noise, sizeof noise);
    if (err == 0) {
        err = kolk_stream_drain(stream);
    }
    hall.ended++;
    hall.last = err;
    return err;
}

static ssize_t
gush_send(int fd, const void *data, size_t size, int flags)
{
    (void)fd, (void)data, (void)size, (void)flags;
    errno = ENOBUFS;
    return -1;
}

static ssize_t
gush_sendmsg(int fd, const struct msghdr *message, int flags)
{
    (void)fd, (void)message, (void)flags;
    errno = ENOBUFS;
    return -1;
}

/* What is there is read, so that there is room; the kernel takes nothing. */
static void
gush_refuse(int fd)
{
    char bytes[65536];

    kolk__sys.send = gush_send;
    kolk__sys.sendmsg = gush_sendmsg;
    while (peer_take(fd, bytes, sizeof bytes) > 0) {
    }
}

static int
gush_main(void *arg)
{
    kolk_serve_options options = {.tls = pair->contexts[TLS_SERVER]};
    rude_fn *const *rude = arg;

    reports_watch(kolk_current_loop());
    if (!hall_open(&options, gush_serve, NULL)) {
        return 0;
    }
    int fd = hall_enter();
    if (wire_shake(fd, 0)) {
        tasks_pass(20);
        CHECK_INT(hall.begun, 1);
        CHECK_INT(hall.ended, 0); /* nobody reads */
    }
    (*rude)(fd);
    for (int i = 0; i < 5000 && hall.ended == 0; i++) {
        if (!CHECK_OK(kolk_sleep(KOLK_MS(1)))) {
            return 0;
        }
    }
    CHECK_INT(hall.ended, 1);
    return 0;
}

static void
gush(rude_fn *rude)
{
    pair = tls_pair_new(NULL, NULL);
    tasks_run_real(gush_main, &rude);
    CHECK_INT(reports.count, 0);
}

TEST(a_reset_ends_the_wait_for_room)
{
    gush(peer_reset);
    CHECK(hall.last == -ECONNRESET || hall.last == -EPIPE);
}

TEST(a_send_that_fails_ends_the_wait_for_room)
{
    gush(gush_refuse);
    CHECK_ERR(hall.last, -ENOBUFS);
}

/* ---- the server ends first ---- */

static int
join_run(void *unused)
{
    (void)unused;
    return kolk_server_join(hall.server);
}

static void
leave_shaking(int fd)
{
    kolk_task *task;

    wire_begin(fd, 8);
    tasks_pass(5);
    CHECK_INT(kolk_server_count(hall.server), 1);
    kolk_server_close(hall.server);
    if (!CHECK_OK(kolk_spawn(join_run, NULL, &task))) {
        return;
    }
    tasks_pass(2);
    CHECK(!kolk_future_is_done(task));
    (void)kolk_task_cancel(task);
    CHECK_ERR(kolk_await(task), -ECANCELED);
    kolk_task_detach(task);
    CHECK_INT(kolk_server_count(hall.server), 0);
    CHECK_INT(hall.begun, 0);
}

TEST(a_join_that_is_cancelled_ends_handshakes)
{
    part(leave_shaking);
}
