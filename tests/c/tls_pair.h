/* tls_pair.h - a client and a server that talk through memory.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "certs.h"

typedef struct tls_pair {
    kolk_tls_context *contexts[2];
    kolk_tls_engine *ends[2]; /* TLS_CLIENT, TLS_SERVER */
    size_t piece;             /* bytes that are fed at a time; 0: all */
} tls_pair;

enum { TLS_CLIENT, TLS_SERVER };

/* What most tests want: a root, and a server's certificate of it for
 * "example.org" and 127.0.0.1, made once. */
const test_cert *tls_root(void);
const test_cert *tls_leaf(void);

/* Contexts with these options, what is missing in them filled in: the client
 * trusts tls_root(), the server is tls_leaf(). Given back at the end of the
 * test, as the engines are. */
tls_pair *tls_pair_new(const kolk_tls_options *client,
                       const kolk_tls_options *server);

/* New engines; the client asks for `name`. */
void tls_pair_connect(tls_pair *pair, const char *name);

/* Frees the engines. */
void tls_pair_disconnect(tls_pair *pair);

/* Carries what one end has to send to the other; how many bytes. */
size_t tls_pair_carry(tls_pair *pair, int from);

/* Shakes hands until nothing moves any more: the results of both ends. */
void tls_pair_shake(tls_pair *pair, int results[2]);

/* The same, connected before, and checked to succeed. */
void tls_pair_open(tls_pair *pair, const char *name);

/* Writes a text at one end, and checks that it arrives at the other. */
void tls_pair_say(tls_pair *pair, int from, const char *text);

/* Is OpenSSL's queue of errors empty? */
bool tls_queue_is_clean(void);
