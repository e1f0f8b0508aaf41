/* none.c - what the calls for TLS say where there is no OpenSSL.
 *
 * SPDX-License-Identifier: MIT
 *
 * The driver and the table of an engine are there all the same, for engines of
 * others; about those there is nothing to say here.
 */
#include <errno.h>

#include <kolk/tls.h>

int
kolk_tls_context_new(const kolk_tls_options *options, kolk_tls_context **out)
{
    (void)options, (void)out;
    return -KOLK_ENOTLS;
}

kolk_tls_context *
kolk_tls_context_ref(kolk_tls_context *context)
{
    return context;
}

void
kolk_tls_context_unref(kolk_tls_context *context)
{
    (void)context;
}

int
kolk_tls_context_add_certificate(kolk_tls_context *context, const char *name,
                                 const char *certificate, const char *key)
{
    (void)context, (void)name, (void)certificate, (void)key;
    return -KOLK_ENOTLS;
}

int
kolk_tls_engine_new(kolk_tls_context *context, const char *name,
                    kolk_tls_engine **out)
{
    (void)context, (void)name, (void)out;
    return -KOLK_ENOTLS;
}

const char *
kolk_tls_last_error(void)
{
    return "";
}

const char *
kolk_tls_version(const kolk_tls_engine *engine)
{
    (void)engine;
    return "";
}

const char *
kolk_tls_cipher(const kolk_tls_engine *engine)
{
    (void)engine;
    return "";
}

const char *
kolk_tls_alpn(const kolk_tls_engine *engine)
{
    (void)engine;
    return "";
}

const char *
kolk_tls_server_name(const kolk_tls_engine *engine)
{
    (void)engine;
    return "";
}

bool
kolk_tls_is_resumed(const kolk_tls_engine *engine)
{
    (void)engine;
    return false;
}

const char *
kolk_tls_error_text(const kolk_tls_engine *engine)
{
    (void)engine;
    return "";
}

int
kolk_tls_peer_certificate(const kolk_tls_engine *engine, void *buffer,
                          size_t size)
{
    (void)engine, (void)buffer, (void)size;
    return -ENOENT;
}

int
kolk_tls_session_get(const kolk_tls_engine *engine, kolk_tls_session **out)
{
    (void)engine, (void)out;
    return -ENOENT;
}

void
kolk_tls_session_free(kolk_tls_session *session)
{
    (void)session;
}

int
kolk_tls_session_set(kolk_tls_engine *engine, const kolk_tls_session *session)
{
    (void)engine, (void)session;
    return -KOLK_ENOTLS;
}
