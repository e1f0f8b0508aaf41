/* certs.h - certificates for tests, made while they run.
 *
 * SPDX-License-Identifier: MIT
 *
 * Nothing of them is stored, so nothing expires: keys are of the P-256 curve,
 * which takes microseconds, and the files that the library reads are memory
 * with a path.
 */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "kit.h"

typedef struct test_cert {
    X509 *x509;
    EVP_PKEY *key;
    char chain_path[64]; /* its own certificate, then its issuers' */
    char key_path[64];
    const struct test_cert *issuer; /* NULL: itself */
} test_cert;

typedef struct test_cert_spec {
    const char *name;        /* of its subject */
    const char *names;       /* "DNS:example.org,IP:127.0.0.1"; NULL: none */
    const test_cert *issuer; /* NULL: it signs itself */
    bool is_ca;
    int days; /* until it expires; 0: 1 day; negative: it has */
} test_cert_spec;

/* A certificate, given back at the end of the test. */
const test_cert *test_cert_new(const test_cert_spec *spec);

/* A root that signs others. */
const test_cert *test_ca_new(const char *name);

/* A file with `size` bytes of `data`: its path goes to `path`. */
void test_file_new(const void *data, size_t size, char path[64]);

/* Writes `cert` to `path`, as a file that OpenSSL finds in a folder. */
void test_cert_write(const test_cert *cert, const char *path);

/* A file with the key of `cert`, encrypted: its path goes to `path`. */
void test_key_encrypt(const test_cert *cert, const char *password,
                      char path[64]);
