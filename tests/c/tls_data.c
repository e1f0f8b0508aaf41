/* tls_data.c - what goes through two engines, and how it ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_pair.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <stdlib.h>
#include <string.h>

enum { DATA_PATTERN = 251 };

/* A pair that has shaken hands. */
static tls_pair *
pair_open(void)
{
    tls_pair *pair = tls_pair_new(NULL, NULL);

    tls_pair_open(pair, "example.org");
    return pair;
}

static kolk_tls_engine *
end_of(const tls_pair *pair, int end)
{
    return pair->ends[end];
}

/* ---- sizes ---- */

/* Reads all that there is; how many bytes, each of which is looked at. */
static size_t
drain(kolk_tls_engine *end, size_t read)
{
    static char bytes[64 << 10];
    int got;

    while ((got = end->ops->read(end, bytes, sizeof bytes)) > 0) {
        for (int i = 0; i < got; i++, read++) {
            if (!CHECK_INT(bytes[i], (char)(read % DATA_PATTERN))) {
                return 0;
            }
        }
    }
    CHECK_ERR(got, -EAGAIN);
    return read;
}

TEST_ONCE(a_huge_write_arrives_whole)
{
    size_t size = test_count(64) << 16, sent = 0, read = 0;
    char *data = malloc(size);

    CHECK(data != NULL);
    test_later(free, data);
    for (size_t i = 0; i < size; i++) {
        data[i] = (char)(i % DATA_PATTERN);
    }
    tls_pair *pair = pair_open();
    kolk_tls_engine *end = end_of(pair, TLS_CLIENT);
    while (sent < size) {
        int taken = end->ops->write(end, data + sent, size - sent);

        CHECK(taken > 0);
        sent += (size_t)taken;
        (void)tls_pair_carry(pair, TLS_CLIENT);
        read = drain(end_of(pair, TLS_SERVER), read);
    }
    CHECK_INT(read, size);
}

TEST_ONCE(an_empty_write_makes_nothing)
{

    tls_pair *pair = pair_open();
    kolk_tls_engine *end = end_of(pair, TLS_CLIENT);
    CHECK_INT(end->ops->write(end, "", 0), 0);
    CHECK_INT(end->ops->output_size(end), 0);
}

TEST_ONCE(a_record_can_be_read_in_parts)
{
    char bytes[8] = "";

    tls_pair *pair = pair_open();
    kolk_tls_engine *end = end_of(pair, TLS_SERVER);
    kolk_tls_engine *peer = end_of(pair, TLS_CLIENT);
    CHECK_INT(peer->ops->write(peer, "abcdef", 6), 6);
    (void)tls_pair_carry(pair, TLS_CLIENT);
    for (int i = 0; i < 6; i++) {
        CHECK_INT(end->ops->read(end, bytes + i, 1), 1);
    }
    CHECK_STR(bytes, "abcdef");
    CHECK_ERR(end->ops->read(end, bytes, 1), -EAGAIN);
}

/* ---- memory that is lent ---- */

TEST_ONCE(lent_memory_is_read_and_written_in_place)
{
    char wire[48], plain[16];

    tls_pair *pair = pair_open();
    (void)tls_pair_carry(pair, TLS_SERVER);
    kolk_tls_engine *from = end_of(pair, TLS_CLIENT);
    kolk_tls_engine *to = end_of(pair, TLS_SERVER);
    kolk_tls_loan loan = {.out = wire, .out_size = sizeof wire};
    from->ops->lend(from, &loan);
    CHECK_INT(from->ops->write(from, "lent", 4), 4);
    size_t made = sizeof wire - loan.out_size;
    CHECK(made > 4 && (char *)loan.out == wire + made);
    CHECK_INT(from->ops->output_size(from), 0);
    /* What has no room comes by the other way, behind it. */
    CHECK_INT(from->ops->write(from, "more of it", 10), 10);
    CHECK_INT(from->ops->write(from, "x", 1), 1);
    CHECK_INT(sizeof wire - loan.out_size, made);
    CHECK(from->ops->output_size(from) > 0);
    from->ops->lend(from, NULL);

    loan = (kolk_tls_loan){.in = wire, .in_size = made};
    to->ops->lend(to, &loan);
    CHECK_INT(to->ops->read(to, plain, sizeof plain), 4);
    CHECK_INT(loan.in_size, 0);
    CHECK_ERR(to->ops->read(to, plain, sizeof plain), -EAGAIN);
    to->ops->lend(to, NULL);
    CHECK(memcmp(plain, "lent", 4) == 0);
    (void)tls_pair_carry(pair, TLS_CLIENT);
    CHECK_INT(to->ops->read(to, plain, sizeof plain), 10);
    CHECK_INT(to->ops->read(to, plain, sizeof plain), 1);
}

/* Where records go that leave from the engine's memory. */
static struct {
    char wire[64];
    size_t size;
    size_t most; /* bytes of each call that leave */
} data_sent;

static size_t
data_send(kolk_tls_loan *loan, const void *data, size_t size)
{
    size_t part = size < data_sent.most ? size : data_sent.most;

    CHECK(size <= loan->out_size);
    memcpy(data_sent.wire + data_sent.size, data, part);
    data_sent.size += part;
    return part;
}

TEST_ONCE(a_record_is_sent_from_the_engines_memory)
{
    char wire[64], plain[16];

    tls_pair *pair = pair_open();
    (void)tls_pair_carry(pair, TLS_SERVER);
    kolk_tls_engine *from = end_of(pair, TLS_CLIENT);
    kolk_tls_engine *to = end_of(pair, TLS_SERVER);
    kolk_tls_loan loan = {
        .out = wire, .out_size = sizeof wire, .send = data_send};
    from->ops->lend(from, &loan);
    data_sent.most = sizeof data_sent.wire;
    CHECK_INT(from->ops->write(from, "all", 3), 3);
    CHECK_INT(loan.out_size, sizeof wire);
    CHECK_INT(to->ops->feed(to, data_sent.wire, data_sent.size),
              data_sent.size);
    CHECK_INT(to->ops->read(to, plain, sizeof plain), 3);
    CHECK(memcmp(plain, "all", 3) == 0);
    /* The rest of one is in the memory that was lent. */
    data_sent.size = 0;
    data_sent.most = 7;
    CHECK_INT(from->ops->write(from, "part", 4), 4);
    CHECK_INT(data_sent.size, 7);
    CHECK_INT(to->ops->feed(to, data_sent.wire, 7), 7);
    CHECK_ERR(to->ops->read(to, plain, sizeof plain), -EAGAIN);
    CHECK_INT(to->ops->feed(to, wire, sizeof wire - loan.out_size),
              sizeof wire - loan.out_size);
    CHECK_INT(to->ops->read(to, plain, sizeof plain), 4);
    CHECK(memcmp(plain, "part", 4) == 0);
    CHECK_INT(from->ops->output_size(from), 0);
    from->ops->lend(from, NULL);
}

TEST_ONCE(what_was_fed_comes_before_what_is_lent)
{
    char wire[256], plain[16];

    tls_pair *pair = pair_open();
    kolk_tls_engine *from = end_of(pair, TLS_CLIENT);
    kolk_tls_engine *to = end_of(pair, TLS_SERVER);
    CHECK_INT(from->ops->write(from, "ab", 2), 2);
    size_t size = from->ops->output(from, wire, sizeof wire);
    CHECK_INT(to->ops->feed(to, wire, 3), 3); /* ends inside of a header */
    kolk_tls_loan loan = {.in = wire + 3, .in_size = size - 3};
    to->ops->lend(to, &loan);
    CHECK_INT(to->ops->read(to, plain, sizeof plain), 2);
    to->ops->lend(to, NULL);
}

/* ---- ends ---- */

TEST_ONCE(close_notify_ends_one_direction_only)
{
    char byte;

    tls_pair *pair = pair_open();
    kolk_tls_engine *first = end_of(pair, TLS_CLIENT);
    kolk_tls_engine *second = end_of(pair, TLS_SERVER);
    CHECK_INT(first->ops->write(first, "a", 1), 1);
    CHECK_OK(first->ops->shutdown(first));
    CHECK_OK(first->ops->shutdown(first)); /* makes only one */
    (void)tls_pair_carry(pair, TLS_CLIENT);
    CHECK_INT(second->ops->read(second, &byte, 1), 1);
    CHECK_INT(second->ops->read(second, &byte, 1), 0);
    CHECK_INT(second->ops->read(second, &byte, 1), 0);
    tls_pair_say(pair, TLS_SERVER, "this goes on");
    tls_pair_say(pair, TLS_SERVER, "and on");
    CHECK_OK(second->ops->shutdown(second));
    (void)tls_pair_carry(pair, TLS_SERVER);
    CHECK_INT(first->ops->read(first, &byte, 1), 0);
    second->ops->feed_eof(second);
    CHECK_INT(second->ops->read(second, &byte, 1), 0);
    CHECK(tls_queue_is_clean());
}

TEST_ONCE(an_end_without_close_notify_is_an_error_after_all_data)
{
    char bytes[8];

    tls_pair *pair = pair_open();
    kolk_tls_engine *from = end_of(pair, TLS_CLIENT);
    kolk_tls_engine *to = end_of(pair, TLS_SERVER);
    CHECK_INT(from->ops->write(from, "all", 3), 3);
    CHECK_INT(from->ops->write(from, "of it", 5), 5);
    (void)tls_pair_carry(pair, TLS_CLIENT);
    to->ops->feed_eof(to);
    CHECK_INT(to->ops->read(to, bytes, sizeof bytes), 3);
    CHECK_INT(to->ops->read(to, bytes, sizeof bytes), 5);
    CHECK_ERR(to->ops->read(to, bytes, sizeof bytes), -KOLK_ETRUNCATED);
    CHECK_ERR(to->ops->read(to, bytes, sizeof bytes), -KOLK_ETRUNCATED);
    CHECK_STR(kolk_tls_error_text(to), "the stream ended without close_notify");
    CHECK_STR(to->ops->error(to), "the stream ended without close_notify");
    CHECK_INT(to->ops->output_size(to), 0); /* nobody is there for an alert */
}

TEST_ONCE(an_end_inside_of_a_record_is_an_error)
{
    char wire[256], byte;

    tls_pair *pair = pair_open();
    kolk_tls_engine *from = end_of(pair, TLS_CLIENT);
    kolk_tls_engine *to = end_of(pair, TLS_SERVER);
    CHECK_INT(from->ops->write(from, "half", 4), 4);
    size_t size = from->ops->output(from, wire, sizeof wire);
    CHECK_INT(to->ops->feed(to, wire, size - 1), size - 1);
    CHECK_ERR(to->ops->read(to, &byte, 1), -EAGAIN);
    to->ops->feed_eof(to);
    CHECK_ERR(to->ops->read(to, &byte, 1), -KOLK_ETRUNCATED);
}

TEST_ONCE(an_end_in_the_handshake_is_a_reset)
{

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair_connect(pair, "example.org");
    for (int i = 0; i < 2; i++) {
        kolk_tls_engine *end = end_of(pair, i);

        CHECK_ERR(end->ops->handshake(end), -EAGAIN);
        end->ops->feed_eof(end);
        CHECK_ERR(end->ops->handshake(end), -ECONNRESET);
        CHECK_ERR(end->ops->handshake(end), -ECONNRESET);
    }
}

TEST_ONCE(a_close_in_the_handshake_makes_nothing)
{

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair_connect(pair, "example.org");
    for (int i = 0; i < 2; i++) {
        kolk_tls_engine *end = end_of(pair, i);

        CHECK_OK(end->ops->shutdown(end));
        CHECK_INT(end->ops->output_size(end), 0);
    }
}

/* ---- peers that misbehave ---- */

/* Nothing but `err` is told any more, but what it has to send stays. */
static void
check_failed(kolk_tls_engine *end, int err)
{
    char byte;

    CHECK_ERR(end->ops->read(end, &byte, 1), err);
    CHECK_ERR(end->ops->write(end, "x", 1), err);
    CHECK_ERR(end->ops->feed(end, "x", 1), err);
    CHECK_ERR(end->ops->shutdown(end), err);
    CHECK(strlen(kolk_tls_error_text(end)) > 0);
    CHECK(tls_queue_is_clean());
}

TEST_ONCE(garbage_in_place_of_a_handshake_is_an_error)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "\x80\x2e\x01\x03\x01................",
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        "\x16\x03\x01\x02\x80................................................",
    };

    tls_pair *pair = tls_pair_new(NULL, NULL);
    for (int i = 0; i < 8; i++) {
        const char *text = texts[i / 2];

        tls_pair_connect(pair, "example.org");
        kolk_tls_engine *end = end_of(pair, i % 2);
        (void)end->ops->handshake(end);
        CHECK_OK(end->ops->feed(end, text, strlen(text)));
        int result = end->ops->handshake(end);
        if (result == -EAGAIN) { /* it could still become a record */
            end->ops->feed_eof(end);
            result = end->ops->handshake(end);
            CHECK_ERR(result, -ECONNRESET);
        } else {
            CHECK_ERR(result, -KOLK_ETLS);
        }
        check_failed(end, result);
    }
}

TEST_ONCE(a_changed_record_is_an_error)
{
    char wire[256];

    for (int at = 0; at < 2; at++) {
        char bytes[16];

        tls_pair *pair = pair_open();
        kolk_tls_engine *from = end_of(pair, TLS_CLIENT);
        kolk_tls_engine *to = end_of(pair, TLS_SERVER);
        CHECK_INT(from->ops->write(from, "secret", 6), 6);
        size_t size = from->ops->output(from, wire, sizeof wire);
        wire[at == 0 ? 0 : size - 1] ^= 1;
        CHECK_OK(to->ops->feed(to, wire, size));
        CHECK_ERR(to->ops->read(to, bytes, sizeof bytes), -KOLK_ETLS);
        CHECK(to->ops->output_size(to) > 0); /* an alert */
        check_failed(to, -KOLK_ETLS);
        (void)tls_pair_carry(pair, TLS_SERVER);
        CHECK_ERR(from->ops->read(from, bytes, sizeof bytes), -KOLK_ETLS);
        CHECK(strstr(kolk_tls_error_text(from), "alert") != NULL);
    }
}

/* A client of OpenSSL's own that may do what ours does not. */
static SSL *
stranger_new(SSL_CTX **context)
{
    *context = SSL_CTX_new(TLS_client_method());
    CHECK(*context != NULL);
    SSL_CTX_set_max_proto_version(*context, TLS1_2_VERSION);
    SSL *ssl = SSL_new(*context);
    CHECK(ssl != NULL);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl);
    return ssl;
}

/* Carries bytes both ways until nothing moves. */
static void
stranger_talk(SSL *stranger, kolk_tls_engine *server)
{
    char bytes[8192];
    int size;

    do {
        char byte;

        (void)SSL_read(stranger, &byte, 1);
        size = BIO_read(SSL_get_wbio(stranger), bytes, sizeof bytes);
        if (size > 0) {
            (void)!server->ops->feed(server, bytes, (size_t)size);
        }
        (void)!server->ops->handshake(server);
        (void)!server->ops->read(server, &byte, 1);
        size_t made = server->ops->output(server, bytes, sizeof bytes);
        if (made > 0) {
            (void)BIO_write(SSL_get_rbio(stranger), bytes, (int)made);
        }
        size = size > 0 || made > 0;
    } while (size > 0);
    ERR_clear_error();
}

TEST_ONCE(renegotiation_is_refused)
{
    SSL_CTX *context;

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair_connect(pair, "example.org");
    kolk_tls_engine *server = end_of(pair, TLS_SERVER);
    SSL *stranger = stranger_new(&context);
    stranger_talk(stranger, server);
    bool was_open = SSL_is_init_finished(stranger) == 1;
    int asked = SSL_renegotiate(stranger);
    (void)SSL_do_handshake(stranger);
    stranger_talk(stranger, server);
    bool is_new = SSL_is_init_finished(stranger) == 1;
    SSL_free(stranger);
    SSL_CTX_free(context);
    CHECK(was_open);
    CHECK_INT(asked, 1);
    CHECK(!is_new);
    CHECK(tls_queue_is_clean());
}

/* ---- the queue of errors ---- */

TEST_ONCE(errors_that_others_have_left_are_not_taken_for_ones_own)
{
    char byte;

    tls_pair *pair = tls_pair_new(NULL, NULL);
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    tls_pair_open(pair, "example.org");
    kolk_tls_engine *end = end_of(pair, TLS_CLIENT);
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    CHECK_ERR(end->ops->read(end, &byte, 1), -EAGAIN);
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    CHECK_OK(end->ops->feed(end, "\x17\x03", 2));
    CHECK_ERR(end->ops->read(end, &byte, 1), -EAGAIN);
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    CHECK_INT(end->ops->write(end, "x", 1), 1);
    ERR_clear_error();
}
