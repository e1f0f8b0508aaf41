/* engine.c - the engine by OpenSSL. See kolk/tls.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each call of the table is a call of OpenSSL's and a look at what came of it.
 * The first error ends the engine, with a text that says why; from then on
 * nothing but that is told. What OpenSSL wants to be sent before it ends, an
 * alert usually, is in the output.
 *
 * An end of the peer's stream is not told to OpenSSL: where it wants more
 * records and there will be none, the engine knows by itself what that means.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "base/fork.h"
#include "base/sys.h"
#include "tls/tls.h"

enum { ENGINE_NAME_MAX = 255, ENGINE_SIZE_MAX = 1 << 30 };

static const kolk_tls_engine_ops engine_ops;

kolk__tls_engine *
kolk__tls_engine_of(const kolk_tls_engine *engine)
{
    return engine->ops == &engine_ops
               ? KOLK_CONTAINER_OF(engine, kolk__tls_engine, base)
               : NULL;
}

static kolk__tls_engine *
engine_self(const kolk_tls_engine *engine)
{
    return KOLK_CONTAINER_OF(engine, kolk__tls_engine, base);
}

/* ---- what came of a call ---- */

/* Ends the engine with `err`, because of `text`. */
static int
engine_end(kolk__tls_engine *self, int err, const char *text)
{
    size_t size = strlen(text) + 1;

    self->err = err;
    self->text = kolk__sys.malloc(size); /* else only the number is told */
    if (self->text != NULL) {
        memcpy(self->text, text, size);
    }
    return err;
}

/* OpenSSL has failed: why? What it found wrong with a certificate says more
 * than that verifying failed. */
static int
engine_fail(kolk__tls_engine *self)
{
    char text[KOLK__TLS_TEXT_MAX];
    /* With data, what stands before the last one may be anybody's. */
    int err = kolk__tls_failed(text, self->is_done);
    long verified = SSL_get_verify_result(self->ssl);

    if (self->no_memory || err == -ENOMEM) {
        return engine_end(self, -ENOMEM, "out of memory");
    }
    if (!self->is_done && self->context->verifies && verified != X509_V_OK) {
        (void)snprintf(text, sizeof text, "certificate refused: %s",
                       X509_verify_cert_error_string(verified));
    }
    return engine_end(self, err, text);
}

/* The peer's stream is over, and OpenSSL wants more of it. */
static int
engine_cut(kolk__tls_engine *self)
{
    return self->is_done ? engine_end(self, -KOLK_ETRUNCATED,
                                      "the stream ended without close_notify")
                         : engine_end(self, -ECONNRESET,
                                      "the stream ended in the handshake");
}

/* What a call of OpenSSL's means that has not done what it was to do. Its own
 * answer depends on the queue of errors. */
static int
engine_result(kolk__tls_engine *self)
{
    if (self->is_starved && SSL_want_read(self->ssl)) {
        return self->has_ended ? engine_cut(self) : -EAGAIN;
    }
    if (self->was_closed) {
        self->is_closed = true;
        return 0;
    }
    return engine_fail(self);
}

void
kolk__tls_noted(const SSL *ssl, int where, int what)
{
    bool is_mild = what >> 8 == SSL3_AL_WARNING
                   || SSL_version(ssl) == TLS1_3_VERSION; /* has no levels */

    if (where == SSL_CB_READ_ALERT && is_mild
        && (what & 0xff) == SSL_AD_CLOSE_NOTIFY) {
        kolk__tls_engine *self = BIO_get_data(SSL_get_rbio(ssl));

        self->was_closed = true;
    }
}

/* ---- the table ---- */

static int
engine_feed(kolk_tls_engine *engine, const void *data, size_t size)
{
    kolk__tls_engine *self = engine_self(engine);

    size = size < ENGINE_SIZE_MAX ? size : ENGINE_SIZE_MAX;
    int err =
        self->err < 0 ? self->err : kolk__bytes_push(&self->in, data, size);
    return err < 0 ? err : (int)size;
}

static void
engine_feed_eof(kolk_tls_engine *engine)
{
    engine_self(engine)->has_ended = true;
}

static size_t
engine_output(kolk_tls_engine *engine, void *buffer, size_t size)
{
    return kolk__bytes_take(&engine_self(engine)->out, buffer, size);
}

static size_t
engine_output_size(const kolk_tls_engine *engine)
{
    return kolk__bytes_size(&engine_self(engine)->out);
}

static int
engine_handshake(kolk_tls_engine *engine)
{
    kolk__tls_engine *self = engine_self(engine);

    if (self->err < 0 || self->is_done) {
        return self->err;
    }
    self->is_starved = false;
    kolk__tls_begin();
    if (SSL_do_handshake(self->ssl) == 1) {
        self->is_done = true;
        kolk__tls_end();
        return 0;
    }
    int result = engine_result(self);
    kolk__tls_end();
    /* A close_notify in place of a handshake. */
    return result == 0 ? engine_cut(self) : result;
}

/* Is there nothing that OpenSSL could make plain text of? It reads no more
 * than it needs for a record; so asking it would only cost time. */
static bool
engine_is_dry(const kolk__tls_engine *self)
{
    return !kolk__tls_has_input(self) && SSL_pending(self->ssl) == 0
           && !self->has_ended;
}

static int
engine_read(kolk_tls_engine *engine, void *buffer, size_t size)
{
    kolk__tls_engine *self = engine_self(engine);
    size_t got;

    if (self->err < 0 || self->is_closed) {
        return self->err;
    }
    if (!self->is_done || engine_is_dry(self)) {
        return -EAGAIN;
    }
    size = size < ENGINE_SIZE_MAX ? size : ENGINE_SIZE_MAX;
    self->is_starved = false;
    return SSL_read_ex(self->ssl, buffer, size, &got) == 1
               ? (int)got
               : engine_result(self);
}

static int
engine_write(kolk_tls_engine *engine, const void *data, size_t size)
{
    kolk__tls_engine *self = engine_self(engine);
    size_t taken;

    if (self->err < 0 || size == 0) {
        return self->err;
    }
    if (!self->is_done) {
        return -EAGAIN;
    }
    self->is_starved = false;
    return SSL_write_ex(self->ssl, data, size, &taken) == 1
               ? (int)taken
               : engine_result(self);
}

static int
engine_shutdown(kolk_tls_engine *engine)
{
    kolk__tls_engine *self = engine_self(engine);

    if (self->err < 0 || self->is_shut) {
        return self->err;
    }
    self->is_shut = true;
    if (!self->is_done) {
        return 0; /* there is nothing yet that could be closed */
    }
    kolk__tls_begin();
    if (SSL_shutdown(self->ssl) < 0) {
        return engine_fail(self);
    }
    kolk__tls_end();
    return 0;
}

static void *
engine_error(kolk_tls_engine *engine)
{
    return engine_self(engine)->text;
}

static void
engine_free(kolk_tls_engine *engine)
{
    kolk__tls_engine *self = engine_self(engine);

    kolk__tls_leave(self);
    SSL_free(self->ssl);
    kolk__tls_end();
    kolk__bytes_clear(&self->in);
    kolk__bytes_clear(&self->out);
    kolk_tls_context_unref(self->context);
    kolk__sys.free(self->text);
    kolk__sys.free(self->name);
    kolk__sys.free(self);
}

static void
engine_lend(kolk_tls_engine *engine, kolk_tls_loan *loan)
{
    engine_self(engine)->loan = loan;
}

static int
engine_enter(kolk_tls_engine *engine, kolk_tls_turn *turn)
{
    return kolk__tls_enter(engine_self(engine), turn);
}

static void
engine_leave(kolk_tls_engine *engine)
{
    kolk__tls_leave(engine_self(engine));
}

static const kolk_tls_engine_ops engine_ops = {
    .feed = engine_feed,
    .feed_eof = engine_feed_eof,
    .output = engine_output,
    .output_size = engine_output_size,
    .handshake = engine_handshake,
    .read = engine_read,
    .write = engine_write,
    .shutdown = engine_shutdown,
    .error = engine_error,
    .free = engine_free,
    .lend = engine_lend,
    .enter = engine_enter,
    .leave = engine_leave,
};

/* ---- making one ---- */

/* Copies what a client asks for: without the dot of the root behind a name,
 * and without the zone of an address. */
static int
engine_set_name(kolk__tls_engine *self, const char *name)
{
    size_t size = strlen(name);

    if (size > 1 && name[size - 1] == '.') {
        size--;
    }
    if (memchr(name, ':', size) != NULL) {
        size = strcspn(name, "%");
    }
    if (size == 0 || size > ENGINE_NAME_MAX || name[0] == '.') {
        return -EINVAL;
    }
    self->name = kolk__sys.calloc(1, size + 1);
    if (self->name == NULL) {
        return -ENOMEM;
    }
    memcpy(self->name, name, size);
    return 0;
}

/* Has the server's certificate checked for the name, and asks for that if it is
 * no address: SNI has names only. */
static int
engine_expect(kolk__tls_engine *self)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(self->ssl);
    unsigned char bytes[sizeof(struct in6_addr)];
    const char *name = self->name;
    size_t size = inet_pton(AF_INET, name, bytes) == 1    ? 4
                  : inet_pton(AF_INET6, name, bytes) == 1 ? 16
                                                          : 0;
    bool is_set;

    if (size > 0) {
        is_set = X509_VERIFY_PARAM_set1_ip(param, bytes, size) == 1;
    } else {
        X509_VERIFY_PARAM_set_hostflags(
            param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
                       | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        is_set = X509_VERIFY_PARAM_set1_host(param, name, 0) == 1
                 && SSL_set_tlsext_host_name(self->ssl, name) == 1;
    }
    return is_set ? 0 : kolk__tls_complain(name);
}

/* Connects OpenSSL's part with ours. */
static int
engine_connect(kolk__tls_engine *self)
{
    BIO *bio = BIO_new(self->context->bio);

    if (bio == NULL) {
        return kolk__tls_complain("engine");
    }
    BIO_set_data(bio, self);
    SSL_set_bio(self->ssl, bio, bio);
    if (self->context->is_server) {
        SSL_set_accept_state(self->ssl);
        return 0;
    }
    SSL_set_connect_state(self->ssl);
    return self->name != NULL ? engine_expect(self) : 0;
}

int
kolk_tls_engine_new(kolk_tls_context *context, const char *name,
                    kolk_tls_engine **out)
{
    bool is_client = !context->is_server;

    if (is_client && context->verifies && name == NULL) {
        return kolk__tls_complain_of("the name to verify", -EINVAL);
    }
    kolk__tls_engine *self = kolk__sys.calloc(1, sizeof *self);
    if (self == NULL) {
        return kolk__tls_complain_of("engine", -ENOMEM);
    }
    self->base.ops = &engine_ops;
    self->context = kolk_tls_context_ref(context);
    int err = is_client && name != NULL ? engine_set_name(self, name) : 0;
    if (err < 0) {
        err = kolk__tls_complain_of(name, err);
        goto free_engine;
    }
    kolk__tls_begin();
    self->ssl = SSL_new(context->ssl);
    err =
        self->ssl != NULL ? engine_connect(self) : kolk__tls_complain("engine");
    if (err < 0) {
        goto free_engine;
    }
    kolk__tls_end();
    *out = &self->base;
    return 0;

free_engine:
    engine_free(&self->base);
    return err;
}
