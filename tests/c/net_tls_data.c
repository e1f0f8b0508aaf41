/* net_tls_data.c - TLS on a transport: reading and writing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "secure.h"

#include "base/sys.h"
#include "net/transport_tls.h"

#include <sys/mman.h>

enum { DATA_PATTERN = 251 };

/* `size` bytes that show where they belong, given back with the test. */
static char *
pattern_new(size_t size)
{
    char *data = malloc(size);

    if (data == NULL) {
        abort();
    }
    test_later(free, data);
    for (size_t i = 0; i < size; i++) {
        data[i] = (char)(i % DATA_PATTERN);
    }
    return data;
}

/* Is that what pattern_new() has at `from`? */
static bool
pattern_holds(const char *data, size_t size, size_t from)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != (char)((from + i) % DATA_PATTERN)) {
            return false;
        }
    }
    return true;
}

/* The peer takes what has come; how much, after `before`. */
static size_t
peer_take_pattern(struct secure *self, size_t before)
{
    static char bytes[64 << 10];
    size_t size = before;

    for (;;) {
        int got = toy_peer_hear(self->peer, bytes, sizeof bytes);

        if (got <= 0) {
            return size;
        }
        CHECK(pattern_holds(bytes, (size_t)got, size));
        size += (size_t)got;
    }
}

/* Lets the peer take until it has `size` bytes; how many it has. */
static size_t
peer_take_all(struct secure *self, size_t size)
{
    size_t taken = 0;

    while (taken < size && secure_goes_on(self)) {
        CHECK_OK(kolk_run_once(self->loop));
        taken = peer_take_pattern(self, taken);
    }
    return taken;
}

/* ---- reading ---- */

/* A protocol with memory of its own. */
struct taker {
    kolk_protocol protocol;
    kolk_transport *transport;
    char buffer[70000];
    size_t offered; /* of it */
    size_t size;    /* that have come */
    bool is_lost;
};

static size_t
taker_buffer(kolk_protocol *protocol, kolk_transport *transport, size_t hint,
             void **buffer)
{
    struct taker *self = KOLK_CONTAINER_OF(protocol, struct taker, protocol);

    (void)transport;
    CHECK(hint > 0);
    *buffer = self->buffer;
    return self->offered;
}

static void
taker_data(kolk_protocol *protocol, kolk_transport *transport, const void *data,
           size_t size)
{
    struct taker *self = KOLK_CONTAINER_OF(protocol, struct taker, protocol);

    (void)transport;
    CHECK_PTR(data, self->buffer);
    CHECK(size <= self->offered);
    CHECK(pattern_holds(data, size, self->size));
    self->size += size;
}

static void
taker_lost(kolk_protocol *protocol, kolk_transport *transport, int error)
{
    (void)transport, (void)error;
    KOLK_CONTAINER_OF(protocol, struct taker, protocol)->is_lost = true;
}

static const kolk_protocol_ops taker_ops = {
    .get_buffer = taker_buffer,
    .data_received = taker_data,
    .connection_lost = taker_lost,
};

TEST(a_buffer_of_the_protocols_is_filled_with_plain_text_directly)
{
    static const size_t offers[] = {1, 7, 1000, 1001, 17000, 70000};
    const size_t size = 20000;
    const char *data = pattern_new(size);

    for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
        secure_done.calls = 0;
        struct secure *self = secure_new(test_loop_open(), true);
        static struct taker taker;

        memset(&taker, 0, sizeof taker);
        taker.protocol.ops = &taker_ops;
        taker.offered = offers[i];
        kolk_transport_set_protocol(self->talker->transport, &taker.protocol);
        for (size_t at = 0; at < size; at += 500) {
            toy_put(self->peer->toy, 'D', data + at, 500);
            (void)toy_peer_send(self->peer);
            if (at % 4000 == 0) {
                test_settle(self->loop);
            }
        }
        while (toy_peer_send(self->peer) > 0 && secure_goes_on(self)) {
            test_settle(self->loop);
        }
        test_settle(self->loop);
        CHECK_INT(taker.size, size);
        kolk_transport_abort(self->talker->transport);
        test_settle(self->loop);
        CHECK(taker.is_lost);
        self->talker->losses = 1; /* the taker's */
    }
}

/* A protocol that reads when it likes. */
struct puller {
    kolk_protocol protocol;
    int told;
    bool is_lost;
};

static void
puller_readable(kolk_protocol *protocol, kolk_transport *transport)
{
    (void)transport;
    KOLK_CONTAINER_OF(protocol, struct puller, protocol)->told++;
}

static void
puller_lost(kolk_protocol *protocol, kolk_transport *transport, int error)
{
    (void)transport, (void)error;
    KOLK_CONTAINER_OF(protocol, struct puller, protocol)->is_lost = true;
}

static const kolk_protocol_ops puller_ops = {
    .readable = puller_readable,
    .connection_lost = puller_lost,
};

TEST(plain_text_can_be_pulled)
{
    struct secure *self = secure_new(test_loop_open(), true);
    struct puller puller = {.protocol.ops = &puller_ops};
    kolk_transport *transport = self->talker->transport;
    char bytes[16] = "";

    kolk_transport_set_protocol(transport, &puller.protocol);
    test_settle(self->loop);
    CHECK_ERR(kolk_transport_try_read(transport, bytes, 4), -EAGAIN);
    puller.told = 0;
    toy_peer_say(self->peer, "abcdef");
    toy_put(self->peer->toy, 'C', "", 0);
    (void)toy_peer_send(self->peer);
    test_settle(self->loop);
    CHECK_INT(puller.told, 1);
    CHECK_INT(kolk_transport_try_read(transport, bytes, 4), 4);
    test_settle(self->loop);
    CHECK_INT(puller.told, 1); /* it has not been told that nothing is there */
    CHECK_INT(kolk_transport_try_read(transport, bytes + 4, 4), 2);
    CHECK_STR(bytes, "abcdef");
    CHECK_INT(kolk_transport_try_read(transport, bytes, 4), 0);
    CHECK_INT(kolk_transport_try_read(transport, bytes, 4), 0);
    kolk_transport_abort(transport);
    test_settle(self->loop);
    CHECK(puller.is_lost);
    self->talker->losses = 1;
}

static void
pause_at_data(struct talker *talker, char event)
{
    if (event == 'd') {
        kolk_transport_pause_reading(talker->transport);
    }
}

TEST(a_pause_loses_nothing)
{
    struct secure *self = secure_new(test_loop_open(), true);
    const size_t size = 100000;
    const char *data = pattern_new(size);
    size_t sent = 0;

    self->talker->on = pause_at_data;
    while (self->talker->size < size && secure_goes_on(self)) {
        while (sent < size && self->peer->toy->out_size == 0) {
            toy_put(self->peer->toy, 'D', data + sent, 400);
            sent += 400;
            (void)toy_peer_send(self->peer);
        }
        (void)toy_peer_send(self->peer);
        test_settle(self->loop);
        size_t before = self->talker->size;
        test_settle(self->loop);
        CHECK_INT(self->talker->size, before);
        kolk_transport_resume_reading(self->talker->transport);
    }
    CHECK_INT(self->talker->size, size);
    CHECK(pattern_holds(self->talker->got, size, 0));
}

TEST(records_may_be_received_byte_by_byte)
{
    struct secure *self = secure_new(test_loop_open(), true);

    toy_put(self->peer->toy, 'D', "slow", 4);
    toy_put(self->peer->toy, 'D', "", 0);
    toy_put(self->peer->toy, 'D', "ly", 2);
    self->peer->step = 1;
    while (self->peer->toy->out_size > 0 && secure_goes_on(self)) {
        (void)toy_peer_send(self->peer);
        test_settle(self->loop);
    }
    CHECK_STR(self->talker->got, "slowly");
}

/* ---- what a peer must not do ---- */

/* A wire that brings more and more records with nothing in them. */
static struct {
    int fd;
    size_t bytes;
} flood;

static ssize_t (*flood_recv)(int fd, void *buffer, size_t size, int flags);

static ssize_t
flood_receive(int fd, void *buffer, size_t size, int flags)
{
    if (fd != flood.fd) {
        return flood_recv(fd, buffer, size, flags);
    }
    for (size_t i = 0; i < size; i++) {
        ((char *)buffer)[i] = "u\0\0"[flood.bytes++ % TOY_HEAD];
    }
    return (ssize_t)size;
}

TEST(a_flood_of_records_without_data_is_an_error)
{
    struct secure *self = secure_new(test_loop_open(), true);

    flood_recv = kolk__sys.recv;
    kolk__sys.recv = flood_receive;
    flood.fd = kolk_transport_fileno(self->talker->transport);
    CHECK_INT(send(self->peer->fd, "u", 1, 0), 1); /* for an event */
    CHECK_ERR(talker_wait(self->talker), -KOLK_ELIMIT);
    CHECK(flood.bytes < 2 << 20);
    CHECK_STR(self->talker->trace, "hl");
}

/* Each of its records asks for an answer, and it takes none. */
TEST(a_peer_that_takes_no_answers_is_read_no_more)
{
    struct secure *self = secure_new(test_loop_open(), true);
    kolk_transport *transport = self->talker->transport;

    for (int i = 0; i < 200; i++) {
        for (int j = 0; j < 1000 && self->peer->toy->out_size < 4000; j++) {
            toy_put(self->peer->toy, 'U', "x", 1);
        }
        (void)toy_peer_send(self->peer);
        test_settle(self->loop);
    }
    CHECK(self->peer->toy->out_size > 0); /* nobody reads it */
    CHECK(kolk_transport_buffer_size(transport) < 256 << 10);
    toy_put(self->peer->toy, 'D', "at last", 7);
    for (int i = 0; i < 1000 && self->talker->size < 7; i++) {
        (void)toy_peer_receive(self->peer, 0);
        toy_peer_forget(self->peer);
        (void)toy_peer_send(self->peer);
        test_settle(self->loop);
    }
    CHECK_STR(self->talker->got, "at last");
}

/* ---- writing ---- */

TEST(what_is_written_outside_of_a_turn_leaves_at_once)
{
    struct secure *self = secure_new(test_loop_open(), true);

    CHECK_OK(secure_write(self, "outside"));
    CHECK_INT(self->toy->records, 1);
    CHECK_STR(secure_heard(self), "outside");
}

/* Writes three pieces for each that comes. */
static void
write_three(struct talker *talker, char event)
{
    static const char *const pieces[] = {"head ", "body ", "tail"};

    for (int i = 0; event == 'd' && i < 3; i++) {
        CHECK_OK(kolk_transport_write(talker->transport, pieces[i],
                                      strlen(pieces[i])));
    }
}

TEST(what_is_written_in_a_callback_is_one_record)
{
    struct secure *self = secure_new(test_loop_open(), true);

    self->talker->on = write_three;
    toy_peer_say(self->peer, "?");
    test_settle(self->loop);
    CHECK_INT(self->toy->records, 1);
    CHECK_STR(secure_heard(self), "head body tail");
}

/* System calls on the transport's descriptor. */
static struct {
    int fd;
    int receives, sends;
    ssize_t (*recv)(int fd, void *buffer, size_t size, int flags);
    ssize_t (*send)(int fd, const void *buffer, size_t size, int flags);
    ssize_t (*sendmsg)(int fd, const struct msghdr *message, int flags);
} calls;

static ssize_t
calls_recv(int fd, void *buffer, size_t size, int flags)
{
    calls.receives += fd == calls.fd;
    return calls.recv(fd, buffer, size, flags);
}

static ssize_t
calls_send(int fd, const void *buffer, size_t size, int flags)
{
    calls.sends += fd == calls.fd;
    return calls.send(fd, buffer, size, flags);
}

static ssize_t
calls_sendmsg(int fd, const struct msghdr *message, int flags)
{
    calls.sends += fd == calls.fd;
    return calls.sendmsg(fd, message, flags);
}

static void
calls_count(int fd)
{
    calls.fd = fd;
    calls.receives = calls.sends = 0;
    calls.recv = kolk__sys.recv;
    calls.send = kolk__sys.send;
    calls.sendmsg = kolk__sys.sendmsg;
    kolk__sys.recv = calls_recv;
    kolk__sys.send = calls_send;
    kolk__sys.sendmsg = calls_sendmsg;
}

static void
write_back(struct talker *talker, char event)
{
    if (event == 'd') {
        CHECK_OK(
            kolk_transport_write(talker->transport, talker->got, talker->size));
        talker->size = 0;
    }
}

TEST(an_echo_is_one_receive_and_one_send)
{
    static const size_t sizes[] = {64, 900, 40000};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        secure_done.calls = 0;
        struct secure *self = secure_new(test_loop_open(), true);
        const char *data = pattern_new(sizes[i]);
        const int big = 1 << 20;
        int fd = self->talker->transport->in.fd;

        CHECK_OK(setsockopt(self->peer->fd, SOL_SOCKET, SO_SNDBUF, &big,
                            sizeof big));
        self->talker->on = write_back;
        calls_count(fd);
        for (int round = 0; round < 3; round++) {
            for (size_t at = 0; at < sizes[i]; at += 500) {
                size_t left = sizes[i] - at;

                toy_put(self->peer->toy, 'D', data + at,
                        left < 500 ? left : 500);
            }
            CHECK_INT(toy_peer_send(self->peer), 0);
            test_settle(self->loop);
            CHECK_INT(peer_take_pattern(self, 0), sizes[i]);
        }
        if (!test_is_hard()) {
            CHECK_INT(calls.receives, 3);
            CHECK_INT(calls.sends, 3);
        }
        kolk__sys.recv = calls.recv;
        kolk__sys.send = calls.send;
        kolk__sys.sendmsg = calls.sendmsg;
    }
}

TEST(writes_of_all_sizes_arrive_in_order)
{
    struct secure *self = secure_new(test_loop_open(), true);
    const size_t size = test_count(40) * 25000;
    const char *data = pattern_new(size);
    size_t written = 0, piece = 1;

    while (written < size) {
        size_t part = piece < size - written ? piece : size - written;

        CHECK_OK(kolk_transport_write(self->talker->transport, data + written,
                                      part));
        written += part;
        piece = piece * 7 % 30011;
        if (piece % 5 == 0) {
            test_settle(self->loop);
        }
    }
    CHECK_INT(peer_take_all(self, size), size);
}

TEST(many_pieces_are_written_as_one)
{
    struct secure *self = secure_new(test_loop_open(), true);
    const size_t size = 60000;
    char *data = pattern_new(size);
    struct iovec pieces[40];

    for (int i = 0; i < 40; i++) {
        pieces[i] = (struct iovec){.iov_base = data + (ptrdiff_t)i * 1500,
                                   .iov_len = i == 7 ? 0 : 1500};
    }
    pieces[6].iov_len = 3000;
    CHECK_OK(kolk_transport_writev(self->talker->transport, pieces, 40));
    CHECK_OK(kolk_transport_writev(self->talker->transport, pieces, 0));
    pieces[0].iov_len = pieces[1].iov_len = SIZE_MAX;
    CHECK_ERR(kolk_transport_writev(self->talker->transport, pieces, 2),
              -EINVAL);
    CHECK_INT(peer_take_all(self, size), size);
}

/* Plain text that waits and records that wait are counted together, each byte
 * once. */
TEST(marks_look_at_both_layers)
{
    struct secure *self = secure_new(test_loop_open(), true);
    kolk_transport *transport = self->talker->transport;
    const size_t size = 1 << 20;
    const char *data = pattern_new(size);
    size_t written = 0, taken = 0;

    while (!self->talker->is_paused) {
        CHECK_OK(kolk_transport_write(transport, data + written, 20000));
        written += 20000;
        CHECK(written < size);
    }
    size_t waiting = kolk_transport_buffer_size(transport);
    CHECK(waiting > 64 << 10);
    CHECK(waiting <= 84 << 10); /* no byte of a write counts twice */
    CHECK_STR(self->talker->trace, "hp");
    while (self->talker->is_paused && secure_goes_on(self)) {
        CHECK(kolk_transport_buffer_size(transport) > 16 << 10);
        taken = peer_take_pattern(self, taken);
        test_settle(self->loop);
    }
    CHECK(kolk_transport_buffer_size(transport) <= 16 << 10);
    CHECK_STR(self->talker->trace, "hpr");
    for (int i = 0; i < 1000 && taken < written; i++) {
        taken = peer_take_pattern(self, taken);
        test_settle(self->loop);
    }
    CHECK_INT(taken, written);
    CHECK_INT(kolk_transport_buffer_size(transport), 0);
}

TEST(an_engine_may_want_to_read_before_it_writes)
{
    struct secure *self = secure_new(test_loop_open(), true);

    self->toy->refuses_writes = 100;
    CHECK_OK(secure_write(self, "patience"));
    test_settle(self->loop);
    CHECK_STR(secure_heard(self), "");
    CHECK_INT(kolk_transport_buffer_size(self->talker->transport), 8);
    CHECK(self->toy->refuses_writes < 100);
    self->toy->refuses_writes = 0;
    toy_put(self->peer->toy, 'u', "", 0);
    (void)toy_peer_send(self->peer);
    test_settle(self->loop);
    CHECK_STR(secure_heard(self), "patience");
}

static int chunk_releases;

static void
chunk_released(kolk_chunk *chunk)
{
    (void)chunk;
    chunk_releases++;
}

TEST(a_chunk_is_released_once)
{
    struct secure *self = secure_new(test_loop_open(), true);
    char text[] = "borrowed";
    kolk_chunk chunk = {
        .data = text, .size = sizeof text - 1, .released = chunk_released};
    kolk_chunk empty = {.data = text, .size = 0, .released = chunk_released};

    CHECK_OK(kolk_transport_write_chunk(self->talker->transport, &chunk));
    CHECK_OK(kolk_transport_write_chunk(self->talker->transport, &empty));
    test_settle(self->loop);
    CHECK_INT(chunk_releases, 2);
    CHECK_STR(secure_heard(self), "borrowed");
}

/* What is released by sending may write: behind what stands there already. */
static kolk_transport *released_transport;

static void
released_writes(kolk_chunk *chunk)
{
    (void)chunk;
    CHECK_OK(kolk_transport_write(released_transport, "second", 6));
}

TEST(a_release_from_inside_may_write)
{
    struct secure *self = secure_open(test_loop_open(), true);
    kolk_transport *transport = self->talker->transport;
    char *data = pattern_new(400000), bytes[4096];
    kolk_chunk chunk = {
        .data = data, .size = 400000, .released = released_writes};
    size_t plain = 0;

    released_transport = transport;
    CHECK_OK(kolk_transport_write_chunk(transport, &chunk));
    CHECK_OK(secure_start(self));
    CHECK_OK(kolk_transport_write(transport, "first ", 6));
    (void)!self->peer->toy->engine.ops->handshake(&self->peer->toy->engine);
    (void)toy_peer_send(self->peer);
    while (plain < 400000 && secure_goes_on(self)) {
        test_settle(self->loop);
        size_t left = 400000 - plain;
        ssize_t got = recv(self->peer->fd, bytes,
                           left < sizeof bytes ? left : sizeof bytes, 0);
        CHECK(got > 0);
        CHECK(pattern_holds(bytes, (size_t)got, plain));
        plain += (size_t)got;
    }
    toy_peer_shake(self->peer, self->loop);
    test_settle(self->loop);
    CHECK_STR(secure_heard(self), "first second");
}

TEST(bytes_changed_after_a_write_make_no_difference)
{
    struct secure *self = secure_open(test_loop_open(), true);
    char *data = pattern_new(100000);

    CHECK_OK(secure_start(self));
    CHECK_OK(kolk_transport_write(self->talker->transport, data, 50000));
    memset(data, 'x', 50000);
    toy_peer_shake(self->peer, self->loop);
    CHECK_OK(
        kolk_transport_write(self->talker->transport, data + 50000, 50000));
    memset(data + 50000, 'x', 50000);
    CHECK_INT(peer_take_all(self, 100000), 100000);
}

/* ---- files ---- */

static int file_result = 1;

static void
file_ended(kolk_sendfile *sendfile)
{
    file_result = sendfile->result;
}

static int
file_new(const char *data, size_t size)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    CHECK_OK(fd);
    test_own(fd);
    CHECK_INT(write(fd, data, size), size);
    return fd;
}

TEST_TIME(a_file_is_sent_between_writes)
{
    struct secure *self = secure_new(test_real_loop_open(), true);
    kolk_transport *transport = self->talker->transport;
    const size_t size = 500000;
    const char *data = pattern_new(size);
    int fd = file_new(data, size);
    static kolk_sendfile file;
    size_t taken = 0;

    kolk_sendfile_init(&file, file_ended, NULL, NULL);
    CHECK_OK(kolk_transport_write(transport, data, 100));
    CHECK_OK(kolk_transport_sendfile(transport, &file, fd, 100, 449900));
    CHECK_OK(kolk_transport_write(transport, data + 450000, 40000));
    CHECK_OK(kolk_transport_write(transport, data + 490000, 10000));
    kolk_transport_close(transport);
    for (int i = 0; i < 100000 && taken < size; i++) {
        CHECK_OK(kolk_run_once(self->loop));
        taken = peer_take_pattern(self, taken);
        usleep(taken == 0 ? 1000 : 0);
    }
    CHECK_INT(taken, size);
    for (int i = 0; i < 100 && !self->peer->toy->is_closed; i++) {
        CHECK_OK(kolk_run_once(self->loop));
        (void)secure_heard(self);
    }
    CHECK(self->peer->toy->is_closed);
    toy_put(self->peer->toy, 'C', "", 0);
    (void)toy_peer_send(self->peer);
    CHECK_INT(talker_wait(self->talker), 0);
    CHECK_INT(file_result, 0);
}

/* ---- ends of the wire ---- */

TEST(data_before_a_reset_is_received_although_a_write_has_failed)
{
    struct secure *self = secure_new(test_loop_open(), true);
    const char *data = pattern_new(10000);

    CHECK_OK(kolk_transport_write(self->talker->transport, data, 10000));
    toy_peer_say(self->peer, "last words");
    test_close(self->peer->fd); /* with something unread */
    CHECK_OK(kolk_transport_write(self->talker->transport, data, 10000));
    int err = talker_wait(self->talker);
    CHECK(err == -EPIPE || err == -ECONNRESET);
    CHECK_STR(self->talker->got, "last words");
    CHECK_STR(self->talker->trace, "hdl");
}

TEST(an_idle_connection_has_no_buffers)
{
    struct secure *self = secure_new(test_loop_open(), true);
    kolk__tls *tls =
        KOLK_CONTAINER_OF(self->talker->transport->filter, kolk__tls, filter);

    self->talker->on = write_back;
    for (int i = 0; i < 3; i++) {
        toy_peer_say(self->peer, "something");
        test_settle(self->loop);
        CHECK_STR(secure_heard(self), "something");
        CHECK(tls->rest.memory == NULL);
        CHECK(kolk__chunks_are_empty(&tls->backlog));
        CHECK(kolk__chunks_are_empty(&self->talker->transport->queue));
        CHECK_INT(self->toy->in_size + self->toy->out_size, 0);
    }
}
