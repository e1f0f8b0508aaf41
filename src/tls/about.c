/* about.c - what is known of a connection. See kolk/tls.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * An engine of another kind is known to nobody here, so of it there is nothing
 * to say.
 */
#include <errno.h>
#include <string.h>

#include "tls/tls.h"

const char *
kolk_tls_version(const kolk_tls_engine *engine)
{
    const kolk__tls_engine *self = kolk__tls_engine_of(engine);

    return self != NULL && self->is_done ? SSL_get_version(self->ssl) : "";
}

const char *
kolk_tls_cipher(const kolk_tls_engine *engine)
{
    const kolk__tls_engine *self = kolk__tls_engine_of(engine);

    return self != NULL && self->is_done
               ? SSL_CIPHER_get_name(SSL_get_current_cipher(self->ssl))
               : "";
}

const char *
kolk_tls_alpn(const kolk_tls_engine *engine)
{
    const kolk__tls_engine *self = kolk__tls_engine_of(engine);
    const unsigned char *chosen;
    unsigned size;

    if (self == NULL || self->context->alpn == NULL) {
        return "";
    }
    SSL_get0_alpn_selected(self->ssl, &chosen, &size);
    /* Ours has an end, as a string has. */
    const char *name = self->context->alpn_text;
    for (unsigned at = 0; at < self->context->alpn_size;) {
        size_t length = strlen(name + at);

        if (length == size && memcmp(name + at, chosen, size) == 0) {
            return name + at;
        }
        at += (unsigned)length + 1;
    }
    return "";
}

const char *
kolk_tls_server_name(const kolk_tls_engine *engine)
{
    const kolk__tls_engine *self = kolk__tls_engine_of(engine);
    const char *name =
        self != NULL ? SSL_get_servername(self->ssl, TLSEXT_NAMETYPE_host_name)
                     : NULL;

    return name != NULL ? name : "";
}

bool
kolk_tls_is_resumed(const kolk_tls_engine *engine)
{
    const kolk__tls_engine *self = kolk__tls_engine_of(engine);

    return self != NULL && SSL_session_reused(self->ssl) == 1;
}

const char *
kolk_tls_error_text(const kolk_tls_engine *engine)
{
    const kolk__tls_engine *self = kolk__tls_engine_of(engine);

    if (self == NULL || self->err == 0) {
        return "";
    }
    return self->text != NULL ? self->text : kolk_strerror(self->err);
}

int
kolk_tls_peer_certificate(const kolk_tls_engine *engine, void *buffer,
                          size_t size)
{
    const kolk__tls_engine *self = kolk__tls_engine_of(engine);
    X509 *found = self != NULL ? SSL_get0_peer_certificate(self->ssl) : NULL;
    unsigned char *at = buffer;

    if (found == NULL) {
        return -ENOENT;
    }
    kolk__tls_begin();
    int wanted = i2d_X509(found, NULL);
    if (wanted > 0 && (size_t)wanted <= size) {
        wanted = i2d_X509(found, &at);
    }
    kolk__tls_end();
    return wanted > 0 ? wanted : -ENOMEM;
}
