/* tls_memory.c - OpenSSL runs out of memory, at each place once.
 *
 * SPDX-License-Identifier: MIT
 *
 * OpenSSL's requests for memory are counted and made to fail here, which the
 * library itself never does: only this program hands its own functions over,
 * before anything else has used OpenSSL. A connection may fail then, but says
 * so, and nothing crashes or is lost.
 */
#include "tls_pair.h"

#include <openssl/crypto.h>

#include <stdlib.h>

static struct {
    bool counts;
    long calls;
    long target; /* fails, and so do all after it if `for_ever` */
    bool for_ever;
    long blocks; /* that are held */
} memory;

static bool
memory_fails(void)
{
    if (!memory.counts) {
        return false;
    }
    memory.calls++;
    return memory.target > 0
           && (memory.for_ever ? memory.calls >= memory.target
                               : memory.calls == memory.target);
}

static void *
memory_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    void *found = memory_fails() ? NULL : malloc(size);
    memory.blocks += found != NULL;
    return found;
}

static void *
memory_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    void *found = memory_fails() ? NULL : realloc(old, size);
    memory.blocks += old == NULL && found != NULL;
    return found;
}

static void
memory_free(void *old, const char *file, int line)
{
    (void)file, (void)line;
    memory.blocks -= old != NULL;
    free(old);
}

__attribute__((constructor)) static void
memory_init(void)
{
    (void)CRYPTO_set_mem_functions(memory_malloc, memory_realloc, memory_free);
}

/* ---- what is tried ---- */

/* A connection with all there is: results are what they are, but a handshake
 * that both call good carries data. */
static void
memory_connect(tls_pair *pair)
{
    int results[2] = {0};
    kolk_tls_session *session;
    char bytes[64];

    for (int end = 0; end < 2; end++) {
        int err = kolk_tls_engine_new(pair->contexts[end], "example.org",
                                      &pair->ends[end]);
        if (err < 0) {
            CHECK(err == -ENOMEM || err == -KOLK_ETLS);
            goto disconnect;
        }
    }
    tls_pair_shake(pair, results);
    for (int from = 0; from < 2 && results[0] == 0 && results[1] == 0; from++) {
        kolk_tls_engine *source = pair->ends[from], *target = pair->ends[!from];

        if (source->ops->write(source, "some data", 9) == 9) {
            (void)tls_pair_carry(pair, from);
            int got = target->ops->read(target, bytes, sizeof bytes);
            CHECK(got == 9 || got < 0);
        }
    }
    if (kolk_tls_session_get(pair->ends[TLS_CLIENT], &session) == 0) {
        kolk_tls_session_free(session);
    }
    (void)!kolk_tls_peer_certificate(pair->ends[TLS_CLIENT], bytes, 0);
    for (int end = 0; end < 2; end++) {
        (void)!pair->ends[end]->ops->shutdown(pair->ends[end]);
    }
disconnect:
    tls_pair_disconnect(pair);
}

/* Contexts, from files. */
static void
memory_context(tls_pair *pair)
{
    static const char *const alpn[] = {"h2", NULL};
    const kolk_tls_options options = {
        .is_server = true,
        .certificate = tls_leaf()->chain_path,
        .key = tls_leaf()->key_path,
        .ca_file = tls_root()->chain_path,
        .verify_client = true,
        .alpn = alpn,
        .ciphers = "TLS_AES_128_GCM_SHA256:HIGH",
    };
    kolk_tls_context *context;

    (void)pair;
    int err = kolk_tls_context_new(&options, &context);
    if (err < 0) {
        CHECK(err == -ENOMEM || err == -KOLK_ETLS);
        return;
    }
    err = kolk_tls_context_add_certificate(context, "*.example.org",
                                           options.certificate, options.key);
    CHECK(err == 0 || err == -ENOMEM || err == -KOLK_ETLS);
    kolk_tls_context_unref(context);
}

/* Does `fn` again and again, each time with another request for memory that
 * fails: all of them, or as many as there is time for, evenly spread. */
static void
memory_try(void (*fn)(tls_pair *pair), tls_pair *pair, bool for_ever)
{
    size_t tries = test_count(1000);

    fn(pair); /* what is made once for all is made here */
    memory.counts = true;
    fn(pair);
    memory.counts = false;
    long blocks = memory.blocks;
    long total = memory.calls, step = total / (long)tries + 1;
    memory.for_ever = for_ever;
    for (memory.target = 1; memory.target <= total; memory.target += step) {
        memory.calls = 0;
        memory.counts = true;
        fn(pair);
        memory.counts = false;
        CHECK(tls_queue_is_clean());
    }
    /* It keeps some, for texts of errors. */
    CHECK(memory.blocks <= blocks + 64);
}

TEST_ONCE(a_connection_survives_each_failure_of_memory)
{
    memory_try(memory_connect, tls_pair_new(NULL, NULL), false);
}

TEST_ONCE(a_connection_survives_when_memory_stays_away)
{
    memory_try(memory_connect, tls_pair_new(NULL, NULL), true);
}

TEST_ONCE(a_context_survives_each_failure_of_memory)
{
    memory_try(memory_context, NULL, false);
}

TEST_ONCE(a_context_survives_when_memory_stays_away)
{
    memory_try(memory_context, NULL, true);
}
