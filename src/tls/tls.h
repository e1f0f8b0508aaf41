/* tls.h - what the files of this folder share: contexts and engines.
 *
 * SPDX-License-Identifier: MIT
 *
 * A context is read by any thread once it is made; what changes has a lock of
 * its own. An engine belongs to one thread at a time.
 *
 * OpenSSL keeps a queue of errors per thread, which its next caller finds, and
 * leaves some in it now and then although it has succeeded. So each use of it
 * here stands between kolk__tls_begin() and kolk__tls_end(), or
 * kolk__tls_failed(), and neither side sees errors of the other's. Reading and
 * writing data look at the queue only after a failure, which they know by other
 * signs, because that look is not cheap.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <kolk/tls.h>

#include "base/bytes.h"
#include "base/ring.h"

/* ---- error.c ---- */

enum { KOLK__TLS_TEXT_MAX = 200 };

/* Before calls of OpenSSL's: what others have left says nothing about them. */
static inline void
kolk__tls_begin(void)
{
    if (__builtin_expect(ERR_peek_error() != 0, 0)) {
        ERR_clear_error();
    }
}

/* After calls that have succeeded, or whose failure is no news. */
static inline void
kolk__tls_end(void)
{
    kolk__tls_begin();
}

/* After a failure: takes every error out of the thread's queue and writes a
 * text of them to `text`, or of the last one only. Returns -ENOMEM or
 * -KOLK_ETLS. */
int kolk__tls_failed(char text[KOLK__TLS_TEXT_MAX], bool last_only);

/* The same for who has no engine to tell: kolk_tls_last_error() does. `what`
 * is the file or the name that it is about. */
int kolk__tls_complain(const char *what);

/* Makes `err`, which is no error of OpenSSL's, the last one. Returns it. */
int kolk__tls_complain_of(const char *what, int err);

/* ---- certificate.c ---- */

/* A certificate with what proves it. */
typedef struct kolk__tls_certificate {
    X509 *leaf;
    STACK_OF(X509) * chain; /* from the leaf's issuer on */
    EVP_PKEY *key;
} kolk__tls_certificate;

/* Reads a chain, and a key from the file `key`; NULL: from the same. Returns 0,
 * or as kolk_tls_context_new(). */
int kolk__tls_certificate_load(const char *chain, const char *key,
                               const char *password,
                               kolk__tls_certificate *out);
void kolk__tls_certificate_free(kolk__tls_certificate *certificate);

/* Trusts what the file `path` holds, and tells clients so. */
int kolk__tls_trust(SSL_CTX *ssl, const char *path);

/* Trusts what the folder `path` holds, hashed; it is read when somebody's
 * certificate is checked. */
int kolk__tls_trust_folder(SSL_CTX *ssl, const char *path);

/* ---- context.c ---- */

/* A certificate for those that ask for a name. */
typedef struct kolk__tls_name kolk__tls_name;
struct kolk__tls_name {
    kolk__tls_name *next;
    kolk__tls_certificate certificate;
    char text[];
};

struct kolk_tls_context {
    atomic_uint refs;
    SSL_CTX *ssl;
    BIO_METHOD *bio; /* of engines */
    bool is_server;
    bool verifies;
    kolk__tls_name *names;

    /* what ALPN offers or takes: lengths and names as on the wire, and the same
     * with a NUL behind each */
    unsigned char *alpn;
    unsigned alpn_size;
    char *alpn_text;

    /* handshakes in flight: turn.c */
    size_t limit;
    pthread_mutex_t lock;
    size_t in_flight;    /* guarded by lock, as all below */
    kolk_link waiting;   /* of kolk_tls_turn, in order */
    unsigned generation; /* the process that these are about */
};

/* ---- engine.c ---- */

typedef struct kolk__tls_engine {
    kolk_tls_engine base;
    SSL *ssl;
    kolk_tls_context *context; /* a reference */
    char *name;                /* that a client asks for, or NULL */

    /* records: bio.c */
    kolk_tls_loan *loan; /* memory of the driver's, or NULL */
    kolk__bytes in;      /* fed and not read; comes before the loan's */
    kolk__bytes out;     /* comes behind what is in the loan */
    bool no_memory;      /* for `out` */
    bool is_starved;     /* OpenSSL wanted more than there was */

    bool is_done;        /* the handshake */
    bool is_closed;      /* the peer's close_notify has come */
    bool was_closed;     /* it was read by OpenSSL, that is */
    bool is_shut;        /* ours was made */
    bool has_ended;      /* the peer's stream, for good */
    int err;             /* nothing but this is told any more */
    char *text;          /* of it; NULL: none, or no memory for it */
    kolk_tls_turn *turn; /* guarded by the context's lock, as is the next */
    bool is_in_flight;
    unsigned generation; /* of what these two say */
} kolk__tls_engine;

/* OpenSSL tells of what happens to a connection. */
void kolk__tls_noted(const SSL *ssl, int where, int what);

/* The engine behind `engine`, or NULL if it is of another kind. */
kolk__tls_engine *kolk__tls_engine_of(const kolk_tls_engine *engine);

/* ---- bio.c ---- */

/* The kind of BIO that reads what an engine was fed, and writes what it has to
 * send; or NULL. */
BIO_METHOD *kolk__tls_bio_new(void);

/* Has the engine got records that OpenSSL has not read? */
static inline bool
kolk__tls_has_input(const kolk__tls_engine *self)
{
    return kolk__bytes_size(&self->in) > 0
           || (self->loan != NULL && self->loan->in_size > 0);
}

/* ---- turn.c ---- */

void kolk__tls_turns_init(kolk_tls_context *context);
void kolk__tls_turns_fini(kolk_tls_context *context);

/* As the table's `enter` and `leave`. */
int kolk__tls_enter(kolk__tls_engine *self, kolk_tls_turn *turn);
void kolk__tls_leave(kolk__tls_engine *self);
