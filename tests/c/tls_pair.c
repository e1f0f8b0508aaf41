/* tls_pair.c - a client and a server that talk through memory. See tls_pair.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_pair.h"

#include <openssl/err.h>

#include <stdlib.h>
#include <string.h>

const test_cert *
tls_root(void)
{
    static const test_cert *root;

    if (root == NULL) {
        root = test_ca_new("a root");
    }
    return root;
}

const test_cert *
tls_leaf(void)
{
    static const test_cert *leaf;

    if (leaf == NULL) {
        leaf = test_cert_new(&(test_cert_spec){
            .name = "a server",
            .names = "DNS:example.org,IP:127.0.0.1",
            .issuer = tls_root(),
        });
    }
    return leaf;
}

static void
pair_free(void *object)
{
    tls_pair *pair = object;

    tls_pair_disconnect(pair);
    kolk_tls_context_unref(pair->contexts[TLS_CLIENT]);
    kolk_tls_context_unref(pair->contexts[TLS_SERVER]);
    free(pair);
}

tls_pair *
tls_pair_new(const kolk_tls_options *client, const kolk_tls_options *server)
{
    tls_pair *pair = calloc(1, sizeof *pair);
    kolk_tls_options ours = client != NULL ? *client : (kolk_tls_options){0};
    kolk_tls_options theirs = server != NULL ? *server : (kolk_tls_options){0};

    CHECK(pair != NULL);
    test_later(pair_free, pair);
    if (!ours.no_verify && ours.ca_file == NULL && ours.ca_folder == NULL) {
        ours.ca_file = tls_root()->chain_path;
    }
    if (theirs.certificate == NULL) {
        theirs.certificate = tls_leaf()->chain_path;
        theirs.key = tls_leaf()->key_path;
    }
    theirs.is_server = true;
    CHECK_OK(kolk_tls_context_new(&ours, &pair->contexts[TLS_CLIENT]));
    CHECK_OK(kolk_tls_context_new(&theirs, &pair->contexts[TLS_SERVER]));
    return pair;
}

void
tls_pair_disconnect(tls_pair *pair)
{
    for (int i = 0; i < 2; i++) {
        if (pair->ends[i] != NULL) {
            pair->ends[i]->ops->free(pair->ends[i]);
            pair->ends[i] = NULL;
        }
    }
}

void
tls_pair_connect(tls_pair *pair, const char *name)
{
    tls_pair_disconnect(pair);
    CHECK_OK(kolk_tls_engine_new(pair->contexts[TLS_CLIENT], name,
                                 &pair->ends[TLS_CLIENT]));
    CHECK_OK(kolk_tls_engine_new(pair->contexts[TLS_SERVER], NULL,
                                 &pair->ends[TLS_SERVER]));
}

size_t
tls_pair_carry(tls_pair *pair, int from)
{
    kolk_tls_engine *source = pair->ends[from], *target = pair->ends[!from];
    size_t piece = pair->piece, carried = 0, size;
    char bytes[4096];

    piece = piece > 0 && piece < sizeof bytes ? piece : sizeof bytes;
    while ((size = source->ops->output(source, bytes, piece)) > 0) {
        carried += size;
        int fed = target->ops->feed(target, bytes, size);
        if (fed < 0) {
            continue; /* it has failed; what is left goes nowhere */
        }
        CHECK_INT(fed, size);
        if (pair->piece > 0) { /* so that it sees each piece by itself */
            (void)!target->ops->handshake(target);
        }
    }
    return carried;
}

void
tls_pair_shake(tls_pair *pair, int results[2])
{
    size_t moved;

    do {
        moved = 0;
        for (int i = 0; i < 2; i++) {
            results[i] = pair->ends[i]->ops->handshake(pair->ends[i]);
            moved += tls_pair_carry(pair, i);
        }
    } while (moved > 0);
}

void
tls_pair_open(tls_pair *pair, const char *name)
{
    int results[2];

    tls_pair_connect(pair, name);
    tls_pair_shake(pair, results);
    CHECK_OK(results[TLS_CLIENT]);
    CHECK_OK(results[TLS_SERVER]);
}

void
tls_pair_say(tls_pair *pair, int from, const char *text)
{
    kolk_tls_engine *source = pair->ends[from], *target = pair->ends[!from];
    int size = (int)strlen(text);
    char bytes[1024];

    CHECK_INT(source->ops->write(source, text, (size_t)size), size);
    (void)tls_pair_carry(pair, from);
    CHECK_INT(target->ops->read(target, bytes, sizeof bytes), size);
    CHECK(memcmp(bytes, text, (size_t)size) == 0);
}

bool
tls_queue_is_clean(void)
{
    return ERR_peek_error() == 0;
}
