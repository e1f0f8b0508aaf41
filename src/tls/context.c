/* context.c - what connections have in common: certificates, trust, versions.
 *
 * SPDX-License-Identifier: MIT
 *
 * A context is an SSL_CTX and what its callbacks look at. Connections of any
 * thread share it, so that sessions can be taken up again; nothing of it
 * changes once the first one is made.
 *
 * A server picks the certificate for the name that a client asks for when it
 * reads the ClientHello, and puts it into the connection. The SSL_CTX stays the
 * same one: with it trust, options and the keys of session tickets do, too.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/sys.h"
#include "tls/tls.h"

enum { CONTEXT_ALPN_NAME_MAX = 255, CONTEXT_ALPN_MAX = 65535 };

/* A server takes sessions up for the same use only. */
static const unsigned char context_use[] = "kolk";

/* ---- the certificate for a name ---- */

/* Does `pattern`, maybe "*.example.org", stand for `name`? */
static bool
name_matches(const char *pattern, const char *name)
{
    if (pattern[0] == '*' && pattern[1] == '.') {
        const char *dot = strchr(name, '.');

        return dot != NULL && dot != name && strcasecmp(pattern + 1, dot) == 0;
    }
    return strcasecmp(pattern, name) == 0;
}

/* The name itself comes before a pattern that stands for it. */
static const kolk__tls_name *
name_find(const kolk_tls_context *context, const char *name)
{
    const kolk__tls_name *found = NULL;

    for (const kolk__tls_name *at = context->names; at; at = at->next) {
        if (name_matches(at->text, name)) {
            if (at->text[0] != '*') {
                return at;
            }
            found = found != NULL ? found : at;
        }
    }
    return found;
}

/* A client has said what it wants, or not. */
static int
context_choose_certificate(SSL *ssl, int *alert, void *arg)
{
    const kolk_tls_context *context = arg;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const kolk__tls_name *name =
        asked != NULL ? name_find(context, asked) : NULL;

    if (name == NULL) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    SSL_certs_clear(ssl);
    if (SSL_use_cert_and_key(ssl, name->certificate.leaf, name->certificate.key,
                             name->certificate.chain, 1)
        != 1) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

int
kolk_tls_context_add_certificate(kolk_tls_context *context, const char *name,
                                 const char *certificate, const char *key)
{
    if (!context->is_server || name[0] == '\0') {
        return kolk__tls_complain_of(name, -EINVAL);
    }
    size_t size = strlen(name) + 1;
    kolk__tls_name *added = kolk__sys.calloc(1, sizeof *added + size);
    if (added == NULL) {
        return kolk__tls_complain_of(name, -ENOMEM);
    }
    memcpy(added->text, name, size);
    int err =
        kolk__tls_certificate_load(certificate, key, NULL, &added->certificate);
    if (err < 0) {
        kolk__sys.free(added);
        return err;
    }
    kolk__tls_name **last = &context->names;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = added;
    return 0;
}

/* ---- the protocol above ---- */

/* Chooses the first of ours that the client has; without one both go on as if
 * nobody had asked. */
static int
context_choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *size,
                    const unsigned char *offered, unsigned offered_size,
                    void *arg)
{
    const kolk_tls_context *context = arg;
    unsigned char *chosen; /* points into one of the two lists */

    (void)ssl;
    if (SSL_select_next_proto(&chosen, size, context->alpn, context->alpn_size,
                              offered, offered_size)
        != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* How long the list is on the wire; 0 if it cannot stand there. */
static size_t
alpn_measure(const char *const *names)
{
    size_t size = 0;

    for (; *names != NULL; names++) {
        size_t length = strlen(*names);

        if (length == 0 || length > CONTEXT_ALPN_NAME_MAX) {
            return 0;
        }
        size += 1 + length;
    }
    return size <= CONTEXT_ALPN_MAX ? size : 0;
}

static int
context_set_alpn(kolk_tls_context *context, const char *const *names)
{
    if (names == NULL || names[0] == NULL) {
        return 0;
    }
    size_t size = alpn_measure(names);
    if (size == 0) {
        return kolk__tls_complain_of("alpn", -EINVAL);
    }
    /* On the wire a length stands before each name, in the text a NUL behind:
     * they are of the same size. */
    context->alpn = kolk__sys.malloc(2 * size);
    if (context->alpn == NULL) {
        return kolk__tls_complain_of("alpn", -ENOMEM);
    }
    context->alpn_size = (unsigned)size;
    context->alpn_text = (char *)context->alpn + size;
    unsigned char *wire = context->alpn;
    char *text = context->alpn_text;
    for (; *names != NULL; names++) {
        size_t length = strlen(*names);

        *wire++ = (unsigned char)length;
        memcpy(wire, *names, length);
        memcpy(text, *names, length + 1);
        wire += length;
        text += length + 1;
    }
    if (context->is_server) {
        SSL_CTX_set_alpn_select_cb(context->ssl, context_choose_alpn, context);
    } else if (SSL_CTX_set_alpn_protos(context->ssl, context->alpn,
                                       context->alpn_size)
               != 0) { /* this one returns 0 for success */
        return kolk__tls_complain("alpn");
    }
    return 0;
}

/* ---- versions and ciphers ---- */

static int
context_set_versions(kolk_tls_context *context, const kolk_tls_options *options)
{
    int min = options->min_version, max = options->max_version;

    min = min != 0 ? min : KOLK_TLS_1_2;
    if ((min != KOLK_TLS_1_2 && min != KOLK_TLS_1_3)
        || (max != 0 && max != KOLK_TLS_1_2 && max != KOLK_TLS_1_3)
        || (max != 0 && max < min)) {
        return kolk__tls_complain_of("versions", -EINVAL);
    }
    if (SSL_CTX_set_min_proto_version(context->ssl, min) != 1
        || SSL_CTX_set_max_proto_version(context->ssl, max) != 1) {
        return kolk__tls_complain("versions");
    }
    return 0;
}

/* OpenSSL has one list for TLS 1.3 and one for what was before, and here is
 * one. `list` is as long as `ciphers` at least. Collects those of one kind; how
 * many there are. */
static size_t
ciphers_collect(const char *ciphers, bool is_new, char *list)
{
    size_t count = 0;

    while (*ciphers != '\0') {
        size_t length = strcspn(ciphers, ":");

        if ((strncmp(ciphers, "TLS_", 4) == 0) == is_new && length > 0) {
            if (count++ > 0) {
                *list++ = ':';
            }
            memcpy(list, ciphers, length);
            list += length;
        }
        ciphers += length;
        ciphers += *ciphers == ':';
    }
    *list = '\0';
    return count;
}

static int
context_set_ciphers(kolk_tls_context *context, const char *ciphers)
{
    if (ciphers == NULL) {
        return 0;
    }
    char *list = kolk__sys.malloc(strlen(ciphers) + 1);
    if (list == NULL) {
        return kolk__tls_complain_of(ciphers, -ENOMEM);
    }
    bool is_set = (ciphers_collect(ciphers, true, list) == 0
                   || SSL_CTX_set_ciphersuites(context->ssl, list) == 1)
                  && (ciphers_collect(ciphers, false, list) == 0
                      || SSL_CTX_set_cipher_list(context->ssl, list) == 1);
    kolk__sys.free(list);
    return is_set ? 0 : kolk__tls_complain(ciphers);
}

/* ---- whom to trust ---- */

static int
context_set_trust(kolk_tls_context *context, const kolk_tls_options *options)
{
    context->verifies =
        context->is_server ? options->verify_client : !options->no_verify;
    if (!context->verifies) {
        SSL_CTX_set_verify(context->ssl, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    SSL_CTX_set_verify(context->ssl,
                       SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (options->ca_file == NULL && options->ca_folder == NULL) {
        return SSL_CTX_set_default_verify_paths(context->ssl) == 1
                   ? 0
                   : kolk__tls_complain("the system's certificates");
    }
    int err = 0;
    if (options->ca_file != NULL) {
        err = kolk__tls_trust(context->ssl, options->ca_file);
    }
    if (err == 0 && options->ca_folder != NULL) {
        err = kolk__tls_trust_folder(context->ssl, options->ca_folder);
    }
    return err;
}

static int
context_set_certificate(kolk_tls_context *context,
                        const kolk_tls_options *options)
{
    kolk__tls_certificate loaded;

    if (options->certificate == NULL) {
        return context->is_server || options->key != NULL
                   ? kolk__tls_complain_of("certificate", -EINVAL)
                   : 0;
    }
    int err = kolk__tls_certificate_load(options->certificate, options->key,
                                         options->password, &loaded);
    if (err < 0) {
        return err;
    }
    if (SSL_CTX_use_cert_and_key(context->ssl, loaded.leaf, loaded.key,
                                 loaded.chain, 1)
        != 1) {
        err = kolk__tls_complain(options->certificate);
    }
    kolk__tls_certificate_free(&loaded);
    return err;
}

/* ---- life ---- */

/* What holds for every connection. Buffers are given back while they are
 * empty; a write takes what fits into one record, from wherever the rest may
 * lie when it is repeated. */
static int
context_set_manners(kolk_tls_context *context)
{
    SSL_CTX *ssl = context->ssl;

    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS
                              | SSL_MODE_ENABLE_PARTIAL_WRITE
                              | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_info_callback(ssl, kolk__tls_noted);
    if (!context->is_server) {
        SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
        return 0;
    }
    SSL_CTX_set_dh_auto(ssl, 1);
    SSL_CTX_set_tlsext_servername_callback(ssl, context_choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(ssl, context);
    return SSL_CTX_set_session_id_context(ssl, context_use,
                                          sizeof context_use - 1)
                   == 1
               ? 0
               : kolk__tls_complain("context");
}

static int
context_set(kolk_tls_context *context, const kolk_tls_options *options)
{
    int err = context_set_manners(context);

    err = err < 0 ? err : context_set_versions(context, options);
    err = err < 0 ? err : context_set_ciphers(context, options->ciphers);
    err = err < 0 ? err : context_set_alpn(context, options->alpn);
    err = err < 0 ? err : context_set_certificate(context, options);
    return err < 0 ? err : context_set_trust(context, options);
}

static void
context_free(kolk_tls_context *context)
{
    kolk__tls_name *next;

    for (kolk__tls_name *name = context->names; name; name = next) {
        next = name->next;
        kolk__tls_certificate_free(&name->certificate);
        kolk__sys.free(name);
    }
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->bio);
    kolk__tls_end();
    kolk__tls_turns_fini(context);
    kolk__sys.free(context->alpn);
    kolk__sys.free(context);
}

int
kolk_tls_context_new(const kolk_tls_options *options, kolk_tls_context **out)
{
    static const kolk_tls_options defaults;

    options = options != NULL ? options : &defaults;
    kolk_tls_context *context = kolk__sys.calloc(1, sizeof *context);
    if (context == NULL) {
        return kolk__tls_complain_of("context", -ENOMEM);
    }
    atomic_init(&context->refs, 1);
    context->is_server = options->is_server;
    context->limit = options->is_server ? options->handshakes : 0;
    kolk__tls_turns_init(context);
    kolk__tls_begin();
    context->bio = kolk__tls_bio_new();
    context->ssl = SSL_CTX_new(context->is_server ? TLS_server_method()
                                                  : TLS_client_method());
    int err = context->bio != NULL && context->ssl != NULL
                  ? context_set(context, options)
                  : kolk__tls_complain("context");
    if (err < 0) {
        context_free(context);
        return err;
    }
    kolk__tls_end();
    *out = context;
    return 0;
}

kolk_tls_context *
kolk_tls_context_ref(kolk_tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void
kolk_tls_context_unref(kolk_tls_context *context)
{
    if (context != NULL
        && atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel)
               == 1) {
        context_free(context);
    }
}
