/* tls_engine.c - two engines that talk through memory: handshakes, data, ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_pair.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <stdlib.h>
#include <string.h>

static const int versions[] = {KOLK_TLS_1_2, KOLK_TLS_1_3};
static const char *const version_names[] = {"TLSv1.2", "TLSv1.3"};

/* A pair of which both speak `version` only. */
static tls_pair *
pair_new_version(int version)
{
    const kolk_tls_options options = {.min_version = version,
                                      .max_version = version};

    return tls_pair_new(&options, &options);
}

/* ---- handshakes ---- */

TEST_ONCE(each_version_shakes_hands)
{
    for (int i = 0; i < 2; i++) {

        tls_pair *pair = pair_new_version(versions[i]);
        tls_pair_open(pair, "example.org");
        for (int end = 0; end < 2; end++) {
            CHECK_STR(kolk_tls_version(pair->ends[end]), version_names[i]);
            CHECK(strlen(kolk_tls_cipher(pair->ends[end])) > 0);
            CHECK_STR(kolk_tls_server_name(pair->ends[end]), "example.org");
            CHECK_STR(kolk_tls_error_text(pair->ends[end]), "");
            CHECK(!kolk_tls_is_resumed(pair->ends[end]));
        }
        tls_pair_say(pair, TLS_CLIENT, "hello");
        tls_pair_say(pair, TLS_SERVER, "hello yourself");
        CHECK(tls_queue_is_clean());
    }
}

TEST_ONCE(the_newest_version_is_chosen)
{

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair_open(pair, "example.org");
    CHECK_STR(kolk_tls_version(pair->ends[TLS_CLIENT]), "TLSv1.3");
}

TEST_ONCE(versions_that_do_not_meet_fail)
{
    const kolk_tls_options old = {.max_version = KOLK_TLS_1_2};
    const kolk_tls_options new = {.min_version = KOLK_TLS_1_3};
    int results[2];

    tls_pair *pair = tls_pair_new(&old, &new);
    tls_pair_connect(pair, "example.org");
    tls_pair_shake(pair, results);
    CHECK_ERR(results[TLS_CLIENT], -KOLK_ETLS);
    CHECK_ERR(results[TLS_SERVER], -KOLK_ETLS);
    CHECK_STR(kolk_tls_error_text(pair->ends[TLS_SERVER]),
              "unsupported protocol");
    CHECK(tls_queue_is_clean());
}

TEST_ONCE(a_chosen_cipher_of_each_version_is_used)
{
    const char *ciphers =
        "TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-CHACHA20-POLY1305";

    for (int i = 0; i < 2; i++) {
        const kolk_tls_options options = {.max_version = versions[i],
                                          .ciphers = ciphers};

        tls_pair *pair = tls_pair_new(NULL, &options);
        tls_pair_open(pair, "example.org");
        CHECK_STR(kolk_tls_cipher(pair->ends[TLS_CLIENT]),
                  i == 0 ? "ECDHE-ECDSA-CHACHA20-POLY1305"
                         : "TLS_CHACHA20_POLY1305_SHA256");
    }
}

TEST_ONCE(records_may_come_byte_by_byte)
{
    for (int i = 0; i < 2; i++) {

        tls_pair *pair = pair_new_version(versions[i]);
        pair->piece = 1;
        tls_pair_open(pair, "example.org");
        tls_pair_say(pair, TLS_CLIENT, "one at a time");
        tls_pair_say(pair, TLS_SERVER, "as well");
    }
}

TEST_ONCE(nothing_is_read_or_written_before_the_handshake)
{
    char byte;

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair_connect(pair, "example.org");
    for (int i = 0; i < 2; i++) {
        kolk_tls_engine *end = pair->ends[i];

        CHECK_ERR(end->ops->read(end, &byte, 1), -EAGAIN);
        CHECK_ERR(end->ops->write(end, "x", 1), -EAGAIN);
        CHECK_INT(end->ops->output_size(end), 0);
    }
}

/* ---- whom a client trusts ---- */

/* A handshake that the client ends, and why; the server hears of it. */
static void
check_refused(tls_pair *pair, const char *name, const char *why)
{
    int results[2];

    tls_pair_connect(pair, name);
    tls_pair_shake(pair, results);
    CHECK_ERR(results[TLS_CLIENT], -KOLK_ETLS);
    CHECK_STR(kolk_tls_error_text(pair->ends[TLS_CLIENT]), why);
    CHECK_ERR(results[TLS_SERVER], -KOLK_ETLS);
    CHECK(strstr(kolk_tls_error_text(pair->ends[TLS_SERVER]), "alert") != NULL);
    CHECK(tls_queue_is_clean());
}

TEST_ONCE(a_certificate_that_nobody_vouches_for_is_refused)
{
    for (int i = 0; i < 2; i++) {
        const kolk_tls_options client = {
            .ca_file = test_ca_new("another root")->chain_path,
            .max_version = versions[i]};

        tls_pair *pair = tls_pair_new(&client, NULL);
        check_refused(pair, "example.org",
                      "certificate refused: self-signed certificate in "
                      "certificate chain");
    }
}

TEST_ONCE(the_systems_certificates_do_not_vouch_for_a_stranger)
{
    kolk_tls_context *context;
    int results[2];

    tls_pair *pair = tls_pair_new(NULL, NULL);
    CHECK_OK(kolk_tls_context_new(NULL, &context));
    kolk_tls_context_unref(pair->contexts[TLS_CLIENT]);
    pair->contexts[TLS_CLIENT] = context;
    tls_pair_connect(pair, "example.org");
    tls_pair_shake(pair, results);
    CHECK_ERR(results[TLS_CLIENT], -KOLK_ETLS);
}

TEST_ONCE(a_certificate_for_another_name_is_refused)
{

    tls_pair *pair = tls_pair_new(NULL, NULL);
    check_refused(pair, "example.com",
                  "certificate refused: hostname mismatch");
    check_refused(pair, "www.example.org",
                  "certificate refused: hostname mismatch");
}

TEST_ONCE(the_name_of_the_subject_counts_for_nothing)
{
    const test_cert *cert = test_cert_new(
        &(test_cert_spec){.name = "example.org", .issuer = tls_root()});
    const kolk_tls_options server = {.certificate = cert->chain_path,
                                     .key = cert->key_path};

    tls_pair *pair = tls_pair_new(NULL, &server);
    check_refused(pair, "example.org",
                  "certificate refused: hostname mismatch");
}

TEST_ONCE(an_address_is_checked_as_an_address)
{
    const test_cert *cert = test_cert_new(
        &(test_cert_spec){.name = "a server",
                          .names = "DNS:127.0.0.2,IP:127.0.0.1,IP:fe80::1",
                          .issuer = tls_root()});
    const kolk_tls_options server = {.certificate = cert->chain_path,
                                     .key = cert->key_path};

    tls_pair *pair = tls_pair_new(NULL, &server);
    tls_pair_open(pair, "127.0.0.1");
    CHECK_STR(kolk_tls_server_name(pair->ends[TLS_SERVER]), ""); /* no name */
    tls_pair_open(pair, "fe80::1");
    tls_pair_open(pair, "fe80::1%eth0");
    check_refused(pair, "127.0.0.2",
                  "certificate refused: IP address mismatch");
}

TEST_ONCE(a_dot_behind_a_name_makes_no_difference)
{

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair_open(pair, "example.org.");
    CHECK_STR(kolk_tls_server_name(pair->ends[TLS_SERVER]), "example.org");
    tls_pair_open(pair, "EXAMPLE.org");
}

TEST_ONCE(an_expired_certificate_is_refused)
{
    const test_cert *cert =
        test_cert_new(&(test_cert_spec){.name = "a server",
                                        .names = "DNS:example.org",
                                        .issuer = tls_root(),
                                        .days = -1});
    const kolk_tls_options server = {.certificate = cert->chain_path,
                                     .key = cert->key_path};

    tls_pair *pair = tls_pair_new(NULL, &server);
    check_refused(pair, "example.org",
                  "certificate refused: certificate has expired");
}

TEST_ONCE(verification_can_be_switched_off)
{
    const kolk_tls_options client = {.no_verify = true};

    tls_pair *pair = tls_pair_new(&client, NULL);
    tls_pair_open(pair, "anything.example");
    CHECK_STR(kolk_tls_server_name(pair->ends[TLS_SERVER]), "anything.example");
    tls_pair_open(pair, NULL);
    CHECK_STR(kolk_tls_server_name(pair->ends[TLS_SERVER]), "");
}

TEST_ONCE(without_a_name_nothing_is_verified)
{
    kolk_tls_engine *engine;
    char longest[300];

    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    tls_pair *pair = tls_pair_new(NULL, NULL);
    kolk_tls_context *context = pair->contexts[TLS_CLIENT];
    CHECK_ERR(kolk_tls_engine_new(context, NULL, &engine), -EINVAL);
    CHECK_ERR(kolk_tls_engine_new(context, "", &engine), -EINVAL);
    CHECK_ERR(kolk_tls_engine_new(context, ".example.org", &engine), -EINVAL);
    CHECK_ERR(kolk_tls_engine_new(context, longest, &engine), -EINVAL);
}

TEST_ONCE(the_peers_certificate_can_be_had)
{
    unsigned char der[4096], *wanted = NULL;

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair_open(pair, "example.org");
    kolk_tls_engine *client = pair->ends[TLS_CLIENT];
    int size = i2d_X509(tls_leaf()->x509, &wanted);
    CHECK_INT(kolk_tls_peer_certificate(client, NULL, 0), size);
    CHECK_INT(kolk_tls_peer_certificate(client, der, sizeof der), size);
    bool is_same = memcmp(der, wanted, (size_t)size) == 0;
    OPENSSL_free(wanted);
    CHECK(is_same);
    CHECK_ERR(
        kolk_tls_peer_certificate(pair->ends[TLS_SERVER], der, sizeof der),
        -ENOENT);
}

/* ---- what a server shows ---- */

static const char *
name_shown(const tls_pair *pair)
{
    static char text[64];
    unsigned char der[4096];
    const unsigned char *at = der;
    int size =
        kolk_tls_peer_certificate(pair->ends[TLS_CLIENT], der, sizeof der);

    X509 *cert = size > 0 ? d2i_X509(NULL, &at, size) : NULL;
    if (cert == NULL
        || X509_NAME_get_text_by_NID(X509_get_subject_name(cert),
                                     NID_commonName, text, sizeof text)
               < 0) {
        text[0] = '\0';
    }
    X509_free(cert);
    return text;
}

TEST_ONCE(a_server_shows_the_certificate_for_the_name_asked_for)
{
    static const char *const names[] = {"*.example.net", "a.example.net",
                                        "example.net"};
    const kolk_tls_options client = {.no_verify = true};

    tls_pair *pair = tls_pair_new(&client, NULL);
    for (int i = 0; i < 3; i++) {
        const test_cert *cert = test_cert_new(
            &(test_cert_spec){.name = names[i], .issuer = tls_root()});

        CHECK_OK(kolk_tls_context_add_certificate(pair->contexts[TLS_SERVER],
                                                  names[i], cert->chain_path,
                                                  cert->key_path));
    }
    tls_pair_open(pair, "example.net");
    CHECK_STR(name_shown(pair), "example.net");
    tls_pair_open(pair, "A.Example.NET");
    CHECK_STR(name_shown(pair), "a.example.net");
    tls_pair_open(pair, "b.example.net");
    CHECK_STR(name_shown(pair), "*.example.net");
    tls_pair_open(pair, "c.b.example.net"); /* two labels */
    CHECK_STR(name_shown(pair), "a server");
    tls_pair_open(pair, "xexample.net");
    CHECK_STR(name_shown(pair), "a server");
    tls_pair_open(pair, "example.com");
    CHECK_STR(name_shown(pair), "a server");
    tls_pair_open(pair, NULL);
    CHECK_STR(name_shown(pair), "a server");
}

TEST_ONCE(a_client_that_checks_finds_the_certificate_of_its_name)
{
    const test_cert *cert = test_cert_new(&(test_cert_spec){
        .name = "x", .names = "DNS:*.example.net", .issuer = tls_root()});

    tls_pair *pair = tls_pair_new(NULL, NULL);
    CHECK_OK(kolk_tls_context_add_certificate(pair->contexts[TLS_SERVER],
                                              "*.example.net", cert->chain_path,
                                              cert->key_path));
    tls_pair_open(pair, "www.example.net");
    tls_pair_open(pair, "example.org");
    check_refused(pair, "example.net",
                  "certificate refused: hostname mismatch");
}

/* ---- ALPN ---- */

static void
check_alpn(const char *const *client, const char *const *server,
           const char *chosen)
{
    const kolk_tls_options ours = {.alpn = client}, theirs = {.alpn = server};

    tls_pair *pair = tls_pair_new(&ours, &theirs);
    tls_pair_open(pair, "example.org");
    CHECK_STR(kolk_tls_alpn(pair->ends[TLS_CLIENT]), chosen);
    CHECK_STR(kolk_tls_alpn(pair->ends[TLS_SERVER]), chosen);
}

TEST_ONCE(the_first_of_the_servers_protocols_that_the_client_has_is_chosen)
{
    static const char *const both[] = {"h2", "http/1.1", NULL};
    static const char *const turned[] = {"http/1.1", "h2", NULL};
    static const char *const old[] = {"http/1.0", "http/1.1", NULL};
    static const char *const other[] = {"ftp", NULL};
    static const char *const none[] = {NULL};

    check_alpn(both, turned, "http/1.1");
    check_alpn(turned, both, "h2");
    check_alpn(both, old, "http/1.1");
    check_alpn(both, other, ""); /* they go on without */
    check_alpn(both, NULL, "");
    check_alpn(NULL, both, "");
    check_alpn(none, both, "");
}

/* ---- sessions ---- */

TEST_ONCE(a_session_is_taken_up_again)
{
    for (int i = 0; i < 2; i++) {
        kolk_tls_session *session;

        tls_pair *pair = pair_new_version(versions[i]);
        tls_pair_open(pair, "example.org");
        tls_pair_say(pair, TLS_SERVER, "tickets came before this");
        CHECK_OK(kolk_tls_session_get(pair->ends[TLS_CLIENT], &session));
        /* The first connection is cut off: that spoils nothing. */
        tls_pair_connect(pair, "example.org");
        int err = kolk_tls_session_set(pair->ends[TLS_CLIENT], session);
        kolk_tls_session_free(session);
        CHECK_OK(err);
        int results[2];
        tls_pair_shake(pair, results);
        CHECK_OK(results[TLS_CLIENT]);
        CHECK_OK(results[TLS_SERVER]);
        CHECK(kolk_tls_is_resumed(pair->ends[TLS_CLIENT]));
        CHECK(kolk_tls_is_resumed(pair->ends[TLS_SERVER]));
        tls_pair_say(pair, TLS_CLIENT, "again");
    }
}

TEST_ONCE(there_is_no_session_before_the_server_has_given_one)
{
    kolk_tls_session *session;

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair_connect(pair, "example.org");
    CHECK_ERR(kolk_tls_session_get(pair->ends[TLS_CLIENT], &session), -ENOENT);
    tls_pair_open(pair, "example.org");
    CHECK_ERR(kolk_tls_session_get(pair->ends[TLS_CLIENT], &session), -ENOENT);
    CHECK_ERR(kolk_tls_session_get(pair->ends[TLS_SERVER], &session), -ENOENT);
    kolk_tls_session_free(NULL);
}

/* Else a server would pass as one that was never checked. */
TEST_ONCE(a_session_is_refused_for_another_name_or_context)
{
    const kolk_tls_options careless = {.no_verify = true};
    kolk_tls_session *session;

    tls_pair *pair = tls_pair_new(NULL, NULL);
    tls_pair *other = tls_pair_new(&careless, NULL);
    tls_pair_open(other, "example.org");
    tls_pair_say(other, TLS_SERVER, "x");
    CHECK_OK(kolk_tls_session_get(other->ends[TLS_CLIENT], &session));
    tls_pair_connect(pair, "example.org");
    tls_pair_connect(other, "example.com");
    int of_context = kolk_tls_session_set(pair->ends[TLS_CLIENT], session);
    int of_name = kolk_tls_session_set(other->ends[TLS_CLIENT], session);
    kolk_tls_session_free(session);
    CHECK_ERR(of_context, -EINVAL);
    CHECK_ERR(of_name, -EINVAL);
}

/* ---- certificates of clients ---- */

TEST_ONCE(a_server_can_ask_for_certificates_of_clients)
{
    const test_cert *cert = test_cert_new(
        &(test_cert_spec){.name = "a client", .issuer = tls_root()});

    for (int i = 0; i < 2; i++) {
        const kolk_tls_options client = {.certificate = cert->chain_path,
                                         .key = cert->key_path,
                                         .max_version = versions[i]};
        const kolk_tls_options server = {.verify_client = true,
                                         .ca_file = tls_root()->chain_path};
        unsigned char der[4096];

        tls_pair *pair = tls_pair_new(&client, &server);
        tls_pair_open(pair, "example.org");
        CHECK_OK(
            kolk_tls_peer_certificate(pair->ends[TLS_SERVER], der, sizeof der));
        tls_pair_say(pair, TLS_CLIENT, "it is me");
    }
}

/* In TLS 1.3 a client hears of it only after its own handshake. */
TEST_ONCE(a_client_without_a_certificate_is_refused)
{
    const kolk_tls_options server = {.verify_client = true,
                                     .ca_file = tls_root()->chain_path};

    for (int i = 0; i < 2; i++) {
        const kolk_tls_options client = {.max_version = versions[i]};
        int results[2];
        char byte;

        tls_pair *pair = tls_pair_new(&client, &server);
        tls_pair_connect(pair, "example.org");
        tls_pair_shake(pair, results);
        CHECK_ERR(results[TLS_SERVER], -KOLK_ETLS);
        CHECK_STR(kolk_tls_error_text(pair->ends[TLS_SERVER]),
                  "peer did not return a certificate");
        kolk_tls_engine *end = pair->ends[TLS_CLIENT];
        CHECK_ERR(results[TLS_CLIENT], i == 0 ? -KOLK_ETLS : 0);
        CHECK_ERR(end->ops->read(end, &byte, 1), -KOLK_ETLS);
        CHECK(strstr(kolk_tls_error_text(end), "alert") != NULL);
        CHECK(tls_queue_is_clean());
    }
}

TEST_ONCE(a_client_of_a_stranger_is_refused)
{
    const test_cert *cert = test_ca_new("a stranger");
    const kolk_tls_options client = {.certificate = cert->chain_path,
                                     .key = cert->key_path};
    const kolk_tls_options server = {.verify_client = true,
                                     .ca_file = tls_root()->chain_path};
    int results[2];

    tls_pair *pair = tls_pair_new(&client, &server);
    tls_pair_connect(pair, "example.org");
    tls_pair_shake(pair, results);
    CHECK_ERR(results[TLS_SERVER], -KOLK_ETLS);
    CHECK_STR(kolk_tls_error_text(pair->ends[TLS_SERVER]),
              "certificate refused: self-signed certificate");
}

/* ---- kinds of engines ---- */

TEST_ONCE(of_an_engine_of_another_kind_nothing_is_known)
{
    static const kolk_tls_engine_ops ops;
    kolk_tls_engine engine = {.ops = &ops};
    kolk_tls_session *session;

    CHECK_STR(kolk_tls_version(&engine), "");
    CHECK_STR(kolk_tls_cipher(&engine), "");
    CHECK_STR(kolk_tls_alpn(&engine), "");
    CHECK_STR(kolk_tls_server_name(&engine), "");
    CHECK_STR(kolk_tls_error_text(&engine), "");
    CHECK(!kolk_tls_is_resumed(&engine));
    CHECK_ERR(kolk_tls_peer_certificate(&engine, NULL, 0), -ENOENT);
    CHECK_ERR(kolk_tls_session_get(&engine, &session), -ENOENT);
}
