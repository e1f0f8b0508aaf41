/* bench_tls.h - the certificate that the TLS echo servers share.
 *
 * SPDX-License-Identifier: MIT
 *
 * It is made at the start, by a key of the P-256 curve, and the load does not
 * look at it: what is measured comes after the handshakes.
 */
#pragma once

#include "bench.h"

#include <stdbool.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/mman.h>
#include <unistd.h>

static inline void
bench_tls_check(const char *what, bool holds)
{
    if (!holds) {
        fprintf(stderr, "%s: OpenSSL has failed\n", what);
        exit(1);
    }
}

static inline void
bench_tls_make(X509 **certificate, EVP_PKEY **key)
{
    X509 *made = X509_new();

    *key = EVP_EC_gen("P-256");
    bench_tls_check("key", made != NULL && *key != NULL);
    X509_NAME *name = X509_get_subject_name(made);
    bench_tls_check(
        "certificate",
        X509_set_version(made, X509_VERSION_3) == 1
            && ASN1_INTEGER_set(X509_get_serialNumber(made), 1) == 1
            && X509_gmtime_adj(X509_getm_notBefore(made), -3600) != NULL
            && X509_gmtime_adj(X509_getm_notAfter(made), 86400) != NULL
            && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                          (const unsigned char *)"bench", -1,
                                          -1, 0)
                   == 1
            && X509_set_issuer_name(made, name) == 1
            && X509_set_pubkey(made, *key) == 1
            && X509_sign(made, *key, EVP_sha256()) > 0);
    *certificate = made;
}

/* Writes both to a file in memory, whose path goes to `path`. */
static inline void
bench_tls_file(char path[64])
{
    int fd = memfd_create("certificate", 0);
    X509 *certificate;
    EVP_PKEY *key;

    bench_check("memfd_create", fd);
    bench_tls_make(&certificate, &key);
    FILE *file = fdopen(fd, "w");
    bench_tls_check(
        "file",
        file != NULL && PEM_write_X509(file, certificate) == 1
            && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1
            && fflush(file) == 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
    (void)snprintf(path, 64, "/proc/self/fd/%d", fd);
}
