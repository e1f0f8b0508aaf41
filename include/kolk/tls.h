/* kolk/tls.h - TLS on a transport.
 *
 * SPDX-License-Identifier: MIT
 *
 * Two things: the engine, a table of functions that turns plain text into
 * records and back and does no input or output, which anybody can supply; and
 * an implementation of it by OpenSSL (since 3.0), of which programs see
 * contexts. Where the library was built without OpenSSL, calls that need it
 * return -KOLK_ENOTLS.
 *
 * Verification is on unless it is switched off: a client checks the server's
 * certificate against the system's and the name that it asked for. An end of
 * stream without close_notify is an error, -KOLK_ETRUNCATED, that comes after
 * all data.
 */
#pragma once

#include <kolk/inbox.h>
#include <kolk/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the engine ---- */

typedef struct kolk_tls_engine kolk_tls_engine;

/* Memory that is lent to an engine for some calls, so that records need not be
 * copied to it and from it. The engine moves `in` and `out` on, and lessens the
 * sizes, by what it takes and fills. */
typedef struct kolk_tls_loan kolk_tls_loan;
struct kolk_tls_loan {
    const void *in; /* records that have come */
    size_t in_size;
    void *out; /* room for records to be sent */
    size_t out_size;
    /* NULL; or sends records from memory of the engine's, which may call it
     * before it would fill `out`, with what `out` has room for: how many bytes
     * have left. The rest goes to `out`. */
    size_t (*send)(kolk_tls_loan *loan, const void *data, size_t size);
};

/* A handshake's place among others that wait until they may begin. */
typedef struct kolk_tls_turn {
    kolk_call call;  /* runs when it may begin; prepared by who waits */
    kolk_loop *loop; /* that the call runs on */

    /* private to the engine */
    kolk_link link;
    kolk_inbox *inbox;
    void *owner;
    void *reserved[2];
} kolk_tls_turn;

/* One side of one connection. Results: >= 0, or -EAGAIN (records of the peer
 * have to come first), or another negative error, after which only `output`,
 * `output_size`, `error`, `leave` and `free` are called. */
typedef struct kolk_tls_engine_ops {
    /* Takes records that have come. Returns how many bytes it took: all of
     * them, or fewer when it wants to be read from first. */
    int (*feed)(kolk_tls_engine *engine, const void *data, size_t size);
    /* The peer's stream has ended, for good. */
    void (*feed_eof)(kolk_tls_engine *engine);
    /* Moves up to `size` bytes of records to be sent to `buffer`; how many. */
    size_t (*output)(kolk_tls_engine *engine, void *buffer, size_t size);
    /* How many bytes `output` would give. */
    size_t (*output_size)(const kolk_tls_engine *engine);
    /* 0 once the handshake is done. */
    int (*handshake)(kolk_tls_engine *engine);
    /* Plain text that has come: how many bytes; 0 after close_notify. */
    int (*read)(kolk_tls_engine *engine, void *buffer, size_t size);
    /* Plain text to be sent: how many bytes it took. */
    int (*write)(kolk_tls_engine *engine, const void *data, size_t size);
    /* Makes a close_notify, once: 0. */
    int (*shutdown)(kolk_tls_engine *engine);
    /* What an error came from, for kolk_transport_tls_error(): a value of the
     * engine's own, which nobody looks into on the way; NULL: nothing. */
    void *(*error)(kolk_tls_engine *engine);
    /* The end. */
    void (*free)(kolk_tls_engine *engine);

    /* The rest may be NULL. */

    /* Lends `loan` until the next call of this one; NULL: what was lent is
     * taken back. The engine reads from it what comes behind the bytes it was
     * fed, and writes to it as long as `output` would give nothing. */
    void (*lend)(kolk_tls_engine *engine, kolk_tls_loan *loan);
    /* May the handshake begin? 0; or -EAGAIN, and the call of `turn`, which is
     * borrowed, runs once it may. */
    int (*enter)(kolk_tls_engine *engine, kolk_tls_turn *turn);
    /* The handshake has ended, or will never be, in whichever way: another one
     * may begin. Gives back a turn that waits, whose call may be queued already
     * (kolk_call_cancel()). A no-op where nothing was entered. */
    void (*leave)(kolk_tls_engine *engine);
} kolk_tls_engine_ops;

struct kolk_tls_engine {
    const kolk_tls_engine_ops *ops;
};

typedef struct kolk_tls_start {
    kolk_time handshake_timeout; /* without progress; one that makes progress
                                  * ends after ten of these; 0: 60 s */
    kolk_time shutdown_timeout;  /* without progress; 0: 30 s */
    size_t shutdown_limit;       /* bytes of a peer that floods, taken and
                                  * thrown away while closing; 0: 256 KiB */
    bool is_server;
    /* Bytes that have been read from the transport already and belong to the
     * handshake. What a protocol was told before this call is never taken for
     * protected, and what comes after it always is. */
    const void *received;
    size_t received_size;
    /* The handshake has ended, with 0 or an error; after an error the
     * connection is lost too. -ECANCELED if the connection was closed or
     * aborted before. Runs once, from the loop, before any data or end is told
     * to the protocol; pause_writing() may come earlier, since what is written
     * has to wait. */
    void (*done)(kolk_protocol *protocol, kolk_transport *transport,
                 int result);
} kolk_tls_start;

/* Puts `engine`, which the transport owns from now on if the call succeeds,
 * between the wire and the protocol. What was written before is sent in plain
 * text; what is written from now on waits for the handshake. `start` may be
 * NULL.
 *
 * Closing then waits for the peer's close_notify, and connection_lost() is told
 * -ETIMEDOUT if that does not come, -KOLK_ELIMIT if a flood comes instead; an
 * end of the wire will do.
 *
 * Returns 0; -EALREADY (TLS already), -ESHUTDOWN, -EPIPE, -EBUSY (a sendfile
 * runs), -EOPNOTSUPP (one direction only), -ENOMEM. */
KOLK_API KOLK_MUST_CHECK int
kolk_transport_start_tls(kolk_transport *transport, kolk_tls_engine *engine,
                         const kolk_tls_start *start);

/* The engine, borrowed; NULL without TLS. Stays until the transport is
 * freed. */
KOLK_API kolk_tls_engine *kolk_transport_tls(const kolk_transport *transport);

/* What the engine says of the error that ended the connection, or NULL. */
KOLK_API void *kolk_transport_tls_error(const kolk_transport *transport);

/* ---- contexts, by OpenSSL ---- */

typedef struct kolk_tls_context kolk_tls_context;

enum { KOLK_TLS_1_2 = 0x0303, KOLK_TLS_1_3 = 0x0304 };

typedef struct kolk_tls_options {
    bool is_server;
    const char *certificate; /* file: chain in PEM; a server needs one */
    const char *key;         /* file: private key in PEM; NULL: in the same */
    const char *password;    /* of the key, or NULL */
    const char *ca_file;     /* PEM; with both NULL: the system's */
    const char *ca_folder;   /* hashed, as OpenSSL has it */
    /* a client checks the server, unless no_verify; a server asks clients for
     * certificates if verify_client, and refuses those without */
    bool no_verify;
    bool verify_client;
    int min_version;         /* KOLK_TLS_...; 0: 1.2 */
    int max_version;         /* 0: the newest */
    const char *const *alpn; /* names, most wanted first, ended by NULL */
    const char *ciphers;     /* as OpenSSL writes them, names of TLS 1.3
                              * (TLS_...) among them; NULL: its default */
    size_t handshakes;       /* of a server's connections, in flight at a
                              * time; others wait; 0: no limit */
} kolk_tls_options;

/* A context for any number of connections and loops, yours to give up.
 * `options` may be NULL: a client with every default. Files are read at once.
 *
 * A name is checked against a certificate's alternative names only, never
 * against its subject. Where ALPN finds no name that both sides have, the
 * connection goes on without. Renegotiation is refused.
 *
 * Returns 0; -ENOMEM; -ENOENT, -EACCES and the like for a file; -KOLK_ETLS for
 * contents that OpenSSL does not take (kolk_tls_last_error() says what);
 * -EINVAL; -KOLK_ENOTLS. Thread-safe. */
KOLK_API KOLK_MUST_CHECK int
kolk_tls_context_new(const kolk_tls_options *options, kolk_tls_context **out);
/* Takes and gives up references. Thread-safe. */
KOLK_API kolk_tls_context *kolk_tls_context_ref(kolk_tls_context *context);
KOLK_API void kolk_tls_context_unref(kolk_tls_context *context);

/* A server's certificate for clients that ask for `name` (SNI; "*.example.org"
 * stands for one label); others get the context's own. Before the first
 * connection. Returns as kolk_tls_context_new(). */
KOLK_API KOLK_MUST_CHECK int
kolk_tls_context_add_certificate(kolk_tls_context *context, const char *name,
                                 const char *certificate, const char *key);

/* An engine of `context`: for kolk_transport_start_tls(), or for your own use.
 * `name` is what a client asks for and checks, a host name or an address; may
 * be NULL for a server, or without verification. Returns 0, -ENOMEM, -EINVAL,
 * -KOLK_ENOTLS. */
KOLK_API KOLK_MUST_CHECK int kolk_tls_engine_new(kolk_tls_context *context,
                                                 const char *name,
                                                 kolk_tls_engine **out);

/* What making a context, a certificate or an engine last failed for in this
 * thread, as text; "" if nothing did. Valid until the next failure. */
KOLK_API const char *kolk_tls_last_error(void);

/* ---- about a connection, of engines of kolk_tls_engine_new() ---- */

/* "TLSv1.3"; the cipher's name; the protocol that ALPN chose, or ""; what SNI
 * asked for, or "". Static or as long as the engine lives. */
KOLK_API const char *kolk_tls_version(const kolk_tls_engine *engine);
KOLK_API const char *kolk_tls_cipher(const kolk_tls_engine *engine);
KOLK_API const char *kolk_tls_alpn(const kolk_tls_engine *engine);
KOLK_API const char *kolk_tls_server_name(const kolk_tls_engine *engine);

/* Was the session one that was taken up again? */
KOLK_API bool kolk_tls_is_resumed(const kolk_tls_engine *engine);

/* Why the peer's certificate was refused, or what else went wrong, as text;
 * "" if nothing did. As long as the engine lives. */
KOLK_API const char *kolk_tls_error_text(const kolk_tls_engine *engine);

/* Writes the peer's certificate, in DER, to `buffer`. Returns its size, which
 * may be more than `size` (then nothing is written); -ENOENT if there is
 * none. */
KOLK_API KOLK_MUST_CHECK int
kolk_tls_peer_certificate(const kolk_tls_engine *engine, void *buffer,
                          size_t size);

/* A client's session, to be taken up by a later connection to the same server:
 * yours to free. -ENOENT if there is none (TLS 1.3: not before data has come).
 */
typedef struct kolk_tls_session kolk_tls_session;
KOLK_API KOLK_MUST_CHECK int kolk_tls_session_get(const kolk_tls_engine *engine,
                                                  kolk_tls_session **out);
KOLK_API void kolk_tls_session_free(kolk_tls_session *session);

/* Offers `session`, borrowed for the call. Before the handshake. Returns 0;
 * -EINVAL for one of another context, or of a connection that asked for another
 * name, since a server that takes it up is not checked again; -KOLK_ETLS. */
KOLK_API KOLK_MUST_CHECK int
kolk_tls_session_set(kolk_tls_engine *engine, const kolk_tls_session *session);

#ifdef __cplusplus
}
#endif
