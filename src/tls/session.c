/* session.c - sessions that a client takes up again. See kolk/tls.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Where a session is taken up, the server shows no certificate: that it was
 * checked is a part of the session. So a session goes with the context and the
 * name that it was checked for, and is refused anywhere else.
 *
 * OpenSSL makes a session useless when its connection ends without a
 * close_notify; what is given out here is a copy.
 */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "tls/tls.h"

struct kolk_tls_session {
    SSL_SESSION *session;
    kolk_tls_context *context; /* a reference */
    char name[];
};

int
kolk_tls_session_get(const kolk_tls_engine *engine, kolk_tls_session **out)
{
    const kolk__tls_engine *self = kolk__tls_engine_of(engine);
    SSL_SESSION *found = self != NULL && !self->context->is_server
                             ? SSL_get0_session(self->ssl)
                             : NULL;

    if (found == NULL || SSL_SESSION_is_resumable(found) != 1) {
        return -ENOENT;
    }
    size_t size = self->name != NULL ? strlen(self->name) + 1 : 1;
    kolk_tls_session *made = kolk__sys.calloc(1, sizeof *made + size);
    if (made == NULL) {
        return -ENOMEM;
    }
    kolk__tls_begin();
    made->session = SSL_SESSION_dup(found);
    kolk__tls_end();
    if (made->session == NULL) {
        kolk__sys.free(made);
        return -ENOMEM;
    }
    made->context = kolk_tls_context_ref(self->context);
    if (self->name != NULL) {
        memcpy(made->name, self->name, size);
    }
    *out = made;
    return 0;
}

void
kolk_tls_session_free(kolk_tls_session *session)
{
    if (session != NULL) {
        SSL_SESSION_free(session->session);
        kolk_tls_context_unref(session->context);
        kolk__sys.free(session);
    }
}

int
kolk_tls_session_set(kolk_tls_engine *engine, const kolk_tls_session *session)
{
    kolk__tls_engine *self = kolk__tls_engine_of(engine);
    const char *name = self != NULL && self->name != NULL ? self->name : "";

    if (self == NULL || self->context != session->context
        || strcmp(name, session->name) != 0) {
        return -EINVAL;
    }
    kolk__tls_begin();
    if (SSL_set_session(self->ssl, session->session) != 1) {
        return kolk__tls_complain("session");
    }
    kolk__tls_end();
    return 0;
}
