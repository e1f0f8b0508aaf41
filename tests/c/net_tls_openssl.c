/* net_tls_openssl.c - transports with TLS by OpenSSL, to each other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"
#include "tls_pair.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/sys.h"

/* Two transports with TLS between them. */
struct link {
    kolk_loop *loop;
    struct talker *ends[2]; /* TLS_CLIENT, TLS_SERVER */
    int results[2];         /* of the handshake; 1: none yet */
    tls_pair *pair;         /* has the contexts */
    kolk_tls_start start;
    struct link *next;
};

static struct link *links;

static void
link_note(kolk_protocol *protocol, kolk_transport *transport, int result)
{
    struct talker *talker = talker_of(protocol);

    (void)transport;
    for (struct link *self = links; self != NULL; self = self->next) {
        for (int end = 0; end < 2; end++) {
            if (self->ends[end] == talker) {
                CHECK_INT(self->results[end], 1);
                self->results[end] = result;
            }
        }
    }
    talker_note(talker, 'h');
}

static void
link_fini(void *object)
{
    struct link *self = object;

    for (int end = 0; end < 2; end++) {
        struct talker *talker = self->ends[end];

        if (talker->transport != NULL && talker->losses == 0) {
            talker->on = NULL;
            kolk_transport_abort(talker->transport);
        }
    }
    for (int i = 0; i < 10; i++) {
        (void)!kolk_run_once(self->loop);
    }
    links = self->next; /* the last made is the first to go */
    free(self);
}

/* Two TCP sockets that are connected. */
static void
link_connect(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK_OK(listener);
    test_own(listener);
    CHECK_OK(bind(listener, (struct sockaddr *)&address, size));
    CHECK_OK(listen(listener, 1));
    CHECK_OK(getsockname(listener, (struct sockaddr *)&address, &size));
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_OK(fds[0]);
    test_own(fds[0]);
    CHECK_OK(connect(fds[0], (struct sockaddr *)&address, size));
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK_OK(fds[1]);
    test_own(fds[1]);
    test_close(listener);
}

/* Opens both transports, in plain text. */
static struct link *
link_open(kolk_loop *loop, tls_pair *pair, bool is_tcp)
{
    struct link *self = calloc(1, sizeof *self);
    int fds[2];

    if (self == NULL) {
        abort();
    }
    self->next = links;
    links = self;
    self->loop = loop;
    self->pair = pair;
    for (int end = 0; end < 2; end++) {
        self->ends[end] = talker_new(loop);
        self->results[end] = 1;
    }
    test_later(link_fini, self);
    if (is_tcp) {
        link_connect(fds);
    } else {
        test_socketpair(fds);
    }
    for (int end = 0; end < 2; end++) {
        CHECK_OK(talker_open(self->ends[end], fds[end], NULL));
    }
    return self;
}

/* Starts TLS at one end, or both. */
static void
link_start(struct link *self, int end, const char *name)
{
    kolk_tls_engine *engine;

    CHECK_OK(kolk_tls_engine_new(self->pair->contexts[end], name, &engine));
    self->start.is_server = end == TLS_SERVER;
    self->start.done = link_note;
    int err = kolk_transport_start_tls(self->ends[end]->transport, engine,
                                       &self->start);
    if (err < 0) {
        engine->ops->free(engine);
    }
    CHECK_OK(err);
}

/* Runs turns until `done(link)`, or for some seconds. */
static bool
link_wait(struct link *self, bool (*done)(struct link *self))
{
    for (int i = 0; i < 20000 && !done(self); i++) {
        CHECK_OK(kolk_run_once(self->loop));
    }
    return done(self);
}

static bool
link_has_shaken(struct link *self)
{
    return self->results[0] != 1 && self->results[1] != 1;
}

static bool
link_is_lost(struct link *self)
{
    return self->ends[0]->losses > 0 && self->ends[1]->losses > 0;
}

/* One that has shaken hands. */
static struct link *
link_new(kolk_loop *loop, tls_pair *pair, bool is_tcp)
{
    struct link *self = link_open(loop, pair, is_tcp);

    link_start(self, TLS_SERVER, NULL);
    link_start(self, TLS_CLIENT, "example.org");
    CHECK(link_wait(self, link_has_shaken));
    CHECK_INT(self->results[TLS_CLIENT], 0);
    CHECK_INT(self->results[TLS_SERVER], 0);
    return self;
}

static const kolk_tls_engine *
link_engine(const struct link *self, int end)
{
    return kolk_transport_tls(self->ends[end]->transport);
}

/* ---- data ---- */

enum { LINK_SIZE = 200000 };

static bool
link_has_all(struct link *self)
{
    return self->ends[0]->size >= LINK_SIZE && self->ends[1]->size >= LINK_SIZE;
}

static void
check_versions(bool is_tcp)
{
    static char data[LINK_SIZE];

    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (char)(i % 251);
    }
    for (int version = KOLK_TLS_1_2; version <= KOLK_TLS_1_3; version++) {
        const kolk_tls_options options = {.min_version = version,
                                          .max_version = version};
        struct link *self = link_new(test_real_loop_open(),
                                     tls_pair_new(&options, &options), is_tcp);

        for (size_t at = 0; at < LINK_SIZE; at += 50000) {
            for (int end = 0; end < 2; end++) {
                CHECK_OK(kolk_transport_write(self->ends[end]->transport,
                                              data + at, 49000));
                CHECK_OK(kolk_transport_write(self->ends[end]->transport,
                                              data + at + 49000, 1000));
            }
        }
        CHECK(link_wait(self, link_has_all));
        for (int end = 0; end < 2; end++) {
            CHECK_INT(self->ends[end]->size, LINK_SIZE);
            CHECK(memcmp(self->ends[end]->got, data, LINK_SIZE) == 0);
        }
        kolk_transport_close(self->ends[version % 2]->transport);
        CHECK(link_wait(self, link_is_lost));
        CHECK_INT(self->ends[0]->error, 0);
        CHECK_INT(self->ends[1]->error, 0);
    }
}

TEST(both_versions_carry_much_both_ways_over_unix_sockets)
{
    check_versions(false);
}

TEST(both_versions_carry_much_both_ways_over_tcp)
{
    check_versions(true);
}

/* How the next sends go. */
static struct {
    ssize_t (*real)(int fd, const void *data, size_t size, int flags);
    int shorts;   /* so many send a few bytes only */
    int failures; /* and then so many fail */
} sends;

static ssize_t
sends_run(int fd, const void *data, size_t size, int flags)
{
    if (sends.shorts > 0) {
        sends.shorts--;
        return sends.real(fd, data, size < 9 ? size : 9, flags);
    }
    if (sends.failures > 0) {
        sends.failures--;
        errno = ECONNRESET;
        return -1;
    }
    return sends.real(fd, data, size, flags);
}

static void
sends_begin(int shorts, int failures)
{
    sends.real = kolk__sys.send;
    sends.shorts = shorts;
    sends.failures = failures;
    kolk__sys.send = sends_run;
}

TEST(a_record_that_leaves_in_part_arrives_whole)
{
    struct link *self =
        link_new(test_real_loop_open(), tls_pair_new(NULL, NULL), true);
    struct talker *server = self->ends[TLS_SERVER];

    for (int shorts = 1; shorts < 4; shorts++) {
        sends_begin(shorts, 0);
        CHECK_OK(kolk_transport_write(self->ends[TLS_CLIENT]->transport,
                                      "a record's text", 15));
        kolk__sys.send = sends.real;
        CHECK(talker_wait_size(server, (size_t)shorts * 15));
    }
    CHECK_STR(server->got, "a record's texta record's texta record's text");
}

TEST(a_record_that_cannot_be_sent_says_why)
{
    for (int shorts = 0; shorts < 2; shorts++) {
        struct link *self =
            link_new(test_real_loop_open(), tls_pair_new(NULL, NULL), true);
        struct talker *client = self->ends[TLS_CLIENT];

        sends_begin(shorts, 1);
        CHECK_OK(kolk_transport_write(client->transport, "lost", 4));
        kolk__sys.send = sends.real;
        CHECK_INT(client->losses, 0); /* told by the loop */
        CHECK(link_wait(self, link_is_lost));
        CHECK_ERR(client->error, -ECONNRESET);
    }
}

TEST(the_end_of_one_stream_leaves_the_other_open)
{
    struct link *self =
        link_new(test_real_loop_open(), tls_pair_new(NULL, NULL), true);
    struct talker *server = self->ends[TLS_SERVER];
    static char answer[LINK_SIZE];

    server->keeps = true;
    CHECK_OK(kolk_transport_write(self->ends[TLS_CLIENT]->transport, "q", 1));
    CHECK_OK(kolk_transport_write_eof(self->ends[TLS_CLIENT]->transport));
    for (int i = 0; i < 1000 && strchr(server->trace, 'e') == NULL; i++) {
        CHECK_OK(kolk_run_once(self->loop));
    }
    CHECK_OK(kolk_transport_write(server->transport, answer, LINK_SIZE));
    kolk_transport_close(server->transport);
    CHECK(link_wait(self, link_is_lost));
    CHECK_INT(self->ends[TLS_CLIENT]->size, LINK_SIZE);
    CHECK_INT(self->ends[TLS_CLIENT]->error, 0);
    CHECK_INT(server->error, 0);
}

TEST(a_transport_that_is_aborted_cuts_the_other_off)
{
    struct link *self =
        link_new(test_real_loop_open(), tls_pair_new(NULL, NULL), true);

    kolk_transport_abort(self->ends[TLS_CLIENT]->transport);
    CHECK(link_wait(self, link_is_lost));
    int err = self->ends[TLS_SERVER]->error;
    CHECK(err == -KOLK_ETRUNCATED || err == -ECONNRESET);
}

/* ---- failures ---- */

TEST(why_a_certificate_was_refused_can_be_told_on_both_sides)
{
    const kolk_tls_options client = {
        .ca_file = test_ca_new("another root")->chain_path};
    struct link *self =
        link_open(test_real_loop_open(), tls_pair_new(&client, NULL), true);

    link_start(self, TLS_SERVER, NULL);
    link_start(self, TLS_CLIENT, "example.org");
    CHECK(link_wait(self, link_is_lost));
    for (int end = 0; end < 2; end++) {
        struct talker *talker = self->ends[end];
        const char *text = kolk_tls_error_text(link_engine(self, end));

        CHECK_INT(self->results[end], -KOLK_ETLS);
        CHECK_INT(talker->error, -KOLK_ETLS);
        CHECK_STR(talker->trace, "hl");
        CHECK(strstr(text, end == TLS_CLIENT ? "self-signed" : "alert unknown")
              != NULL);
        CHECK_STR(kolk_transport_tls_error(talker->transport), text);
    }
}

TEST(a_name_that_does_not_fit_is_refused)
{
    struct link *self =
        link_open(test_real_loop_open(), tls_pair_new(NULL, NULL), true);

    link_start(self, TLS_SERVER, NULL);
    link_start(self, TLS_CLIENT, "example.com");
    CHECK(link_wait(self, link_is_lost));
    CHECK_STR(kolk_tls_error_text(link_engine(self, TLS_CLIENT)),
              "certificate refused: hostname mismatch");
}

TEST(plain_text_to_a_server_is_refused)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
    struct link *self =
        link_open(test_real_loop_open(), tls_pair_new(NULL, NULL), true);

    link_start(self, TLS_SERVER, NULL);
    CHECK_OK(kolk_transport_write(self->ends[TLS_CLIENT]->transport, request,
                                  sizeof request - 1));
    CHECK(link_wait(self, link_is_lost));
    CHECK_INT(self->ends[TLS_SERVER]->error, -KOLK_ETLS);
    CHECK_STR(kolk_tls_error_text(link_engine(self, TLS_SERVER)),
              "http request");
}

TEST(a_client_that_is_refused_hears_it_after_its_own_handshake)
{
    const kolk_tls_options server = {.verify_client = true,
                                     .ca_file = tls_root()->chain_path};
    struct link *self =
        link_open(test_real_loop_open(), tls_pair_new(NULL, &server), true);

    link_start(self, TLS_SERVER, NULL);
    link_start(self, TLS_CLIENT, "example.org");
    CHECK(link_wait(self, link_is_lost));
    CHECK_INT(self->results[TLS_SERVER], -KOLK_ETLS);
    CHECK_INT(self->results[TLS_CLIENT], 0);
    CHECK_INT(self->ends[TLS_CLIENT]->error, -KOLK_ETLS);
}

/* ---- sessions ---- */

static bool
link_has_heard(struct link *self)
{
    return self->ends[TLS_CLIENT]->size > 0;
}

TEST(a_session_is_taken_up_on_another_transport)
{
    kolk_loop *loop = test_real_loop_open();
    tls_pair *pair = tls_pair_new(NULL, NULL);
    struct link *self = link_new(loop, pair, true);
    kolk_tls_session *session;
    kolk_tls_engine *engine;

    CHECK_OK(kolk_transport_write(self->ends[TLS_SERVER]->transport, "x", 1));
    CHECK(link_wait(self, link_has_heard));
    CHECK_OK(kolk_tls_session_get(link_engine(self, TLS_CLIENT), &session));
    self = link_open(loop, pair, true);
    link_start(self, TLS_SERVER, NULL);
    int err =
        kolk_tls_engine_new(pair->contexts[TLS_CLIENT], "example.org", &engine);
    if (err == 0) {
        err = kolk_tls_session_set(engine, session);
    }
    kolk_tls_session_free(session);
    CHECK_OK(err);
    self->start = (kolk_tls_start){.done = link_note};
    CHECK_OK(kolk_transport_start_tls(self->ends[TLS_CLIENT]->transport, engine,
                                      &self->start));
    CHECK(link_wait(self, link_has_shaken));
    CHECK(kolk_tls_is_resumed(link_engine(self, TLS_CLIENT)));
    CHECK(kolk_tls_is_resumed(link_engine(self, TLS_SERVER)));
}

/* ---- so many handshakes at a time ---- */

/* Until nothing moves between the ends either. */
static void
settle_all(kolk_loop *loop)
{
    for (int i = 0; i < 50; i++) {
        test_settle(loop);
    }
}

TEST(handshakes_wait_for_each_other_in_order)
{
    kolk_loop *loop = test_loop_open();
    tls_pair *pair = tls_pair_new(NULL, &(kolk_tls_options){.handshakes = 2});
    struct link *all[5];

    for (int i = 0; i < 5; i++) {
        all[i] = link_open(loop, pair, false);
        link_start(all[i], TLS_SERVER, NULL);
    }
    /* Two that have begun and say no more keep the others out. */
    for (int i = 0; i < 2; i++) {
        CHECK_OK(kolk_transport_write(all[i]->ends[TLS_CLIENT]->transport,
                                      "\x16\x03\x01", 3));
    }
    settle_all(loop);
    for (int i = 2; i < 5; i++) {
        link_start(all[i], TLS_CLIENT, "example.org");
        settle_all(loop);
    }
    for (int i = 2; i < 5; i++) {
        CHECK_INT(all[i]->results[TLS_CLIENT], 1);
    }
    /* One gives up, and the rest go through its place one by one. */
    kolk_transport_abort(all[0]->ends[TLS_CLIENT]->transport);
    settle_all(loop);
    for (int i = 2; i < 5; i++) {
        CHECK_INT(all[i]->results[TLS_CLIENT], 0);
        CHECK_INT(all[i]->results[TLS_SERVER], 0);
    }
    CHECK_INT(all[1]->results[TLS_SERVER], 1);
}

/* While it waits, its own time does not run. */
TEST(time_stands_still_for_a_handshake_that_waits)
{
    kolk_loop *loop = test_loop_open();
    tls_pair *pair = tls_pair_new(NULL, &(kolk_tls_options){.handshakes = 1});
    struct link *first = link_open(loop, pair, false);
    struct link *second = link_open(loop, pair, false);

    first->start.handshake_timeout = KOLK_S(50);
    second->start.handshake_timeout = KOLK_S(40);
    link_start(first, TLS_SERVER, NULL);
    link_start(second, TLS_SERVER, NULL);
    CHECK_OK(kolk_transport_write(first->ends[TLS_CLIENT]->transport,
                                  "\x16\x03\x01", 3));
    settle_all(loop);
    second->start.handshake_timeout = KOLK_NEVER;
    link_start(second, TLS_CLIENT, "example.org");
    settle_all(loop);
    test_advance(loop, KOLK_S(45));
    CHECK_INT(second->results[TLS_SERVER], 1);
    test_advance(loop, KOLK_S(101));
    CHECK_INT(first->results[TLS_SERVER], -ETIMEDOUT);
    settle_all(loop);
    CHECK_INT(second->results[TLS_SERVER], 0);
    CHECK_INT(second->results[TLS_CLIENT], 0);
}

TEST(one_that_waits_for_its_handshake_can_be_aborted)
{
    kolk_loop *loop = test_loop_open();
    tls_pair *pair = tls_pair_new(NULL, &(kolk_tls_options){.handshakes = 1});
    struct link *all[3];

    for (int i = 0; i < 3; i++) {
        all[i] = link_open(loop, pair, false);
        link_start(all[i], TLS_SERVER, NULL);
        CHECK_OK(kolk_transport_write(all[i]->ends[TLS_CLIENT]->transport,
                                      "\x16\x03\x01", 3));
        settle_all(loop);
    }
    kolk_transport_abort(all[1]->ends[TLS_SERVER]->transport);
    settle_all(loop);
    CHECK_INT(all[1]->results[TLS_SERVER], -ECANCELED);
    kolk_transport_abort(all[0]->ends[TLS_SERVER]->transport);
    kolk_transport_abort(all[2]->ends[TLS_SERVER]->transport);
    settle_all(loop);
    CHECK_INT(all[0]->results[TLS_SERVER], -ECANCELED);
    CHECK_INT(all[2]->results[TLS_SERVER], -ECANCELED);
}

/* ---- whatever happens when ---- */

/* Random steps; at the end each side has a beginning of what the other has
 * written, and all of it if nobody was cut off. */
static char chaos_data[1 << 16];

static unsigned
chaos_random(unsigned limit)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % limit);
}

static void
chaos_step(struct talker *talker, size_t *written)
{
    kolk_transport *transport = talker->transport;
    unsigned size =
        chaos_random(2) == 0 ? chaos_random(30000) : chaos_random(100);

    switch (chaos_random(40)) {
    case 0:
        kolk_transport_close(transport);
        break;
    case 1:
        if (chaos_random(3) == 0) {
            kolk_transport_abort(transport);
        }
        break;
    case 2:
        (void)!kolk_transport_write_eof(transport);
        break;
    case 3:
    case 4:
        kolk_transport_pause_reading(transport);
        break;
    case 5:
    case 6:
    case 7:
        kolk_transport_resume_reading(transport);
        break;
    default:
        size = *written + size > sizeof chaos_data
                   ? (unsigned)(sizeof chaos_data - *written)
                   : size;
        if (kolk_transport_write(transport, chaos_data + *written, size) == 0) {
            *written += size;
        }
        break;
    }
}

static void
chaos_round(kolk_loop *loop, tls_pair *pair)
{
    struct link *self = link_open(loop, pair, chaos_random(2) == 0);
    size_t written[2] = {0, 0};

    link_start(self, TLS_SERVER, NULL);
    link_start(self, TLS_CLIENT, "example.org");
    for (int i = 0; i < 60 && !link_is_lost(self); i++) {
        int end = (int)chaos_random(2);

        self->ends[end]->keeps = chaos_random(2) == 0;
        chaos_step(self->ends[end], &written[end]);
        for (unsigned turns = chaos_random(4); turns > 0; turns--) {
            CHECK_OK(kolk_run_once(loop));
        }
    }
    for (int end = 0; end < 2; end++) {
        self->ends[end]->keeps = false;
        kolk_transport_resume_reading(self->ends[end]->transport);
    }
    kolk_transport_close(self->ends[0]->transport);
    (void)link_wait(self, link_is_lost);
    kolk_transport_close(self->ends[1]->transport);
    CHECK(link_wait(self, link_is_lost));
    for (int end = 0; end < 2; end++) {
        const struct talker *talker = self->ends[end];

        CHECK(talker->size <= written[!end]);
        CHECK(memcmp(talker->got, chaos_data, talker->size) == 0);
    }
}

TEST_TIME(whatever_happens_when_nothing_is_mixed_up)
{
    kolk_loop *loop = test_real_loop_open();
    tls_pair *pair = tls_pair_new(NULL, NULL);

    for (size_t i = 0; i < sizeof chaos_data; i++) {
        chaos_data[i] = (char)(i * 7 % 251);
    }
    size_t rounds = test_count(80);
    for (size_t i = 0; i < rounds; i++) {
        chaos_round(loop, pair);
    }
}
