/* notls.c - a library that was built without OpenSSL.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

TEST_ONCE(without_openssl_calls_say_so)
{
    static const kolk_tls_engine_ops ops;
    kolk_tls_engine engine = {.ops = &ops}, *made;
    kolk_tls_context *context;
    kolk_tls_session *session;

    CHECK_ERR(kolk_tls_context_new(NULL, &context), -KOLK_ENOTLS);
    CHECK_PTR(kolk_tls_context_ref(NULL), NULL);
    kolk_tls_context_unref(NULL);
    CHECK_ERR(kolk_tls_context_add_certificate(NULL, "", "", ""), -KOLK_ENOTLS);
    CHECK_ERR(kolk_tls_engine_new(NULL, NULL, &made), -KOLK_ENOTLS);
    CHECK_STR(kolk_tls_last_error(), "");
    CHECK_STR(kolk_tls_version(&engine), "");
    CHECK_STR(kolk_tls_cipher(&engine), "");
    CHECK_STR(kolk_tls_alpn(&engine), "");
    CHECK_STR(kolk_tls_server_name(&engine), "");
    CHECK_STR(kolk_tls_error_text(&engine), "");
    CHECK(!kolk_tls_is_resumed(&engine));
    CHECK_ERR(kolk_tls_peer_certificate(&engine, NULL, 0), -ENOENT);
    CHECK_ERR(kolk_tls_session_get(&engine, &session), -ENOENT);
    CHECK_ERR(kolk_tls_session_set(&engine, NULL), -KOLK_ENOTLS);
    kolk_tls_session_free(NULL);
}
