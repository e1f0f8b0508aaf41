/* certs.c - certificates for tests. See certs.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "certs.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CERT_DAY = 24 * 60 * 60 };

static void
cert_free(void *object)
{
    test_cert *self = object;

    X509_free(self->x509);
    EVP_PKEY_free(self->key);
    free(self);
}

void
test_file_new(const void *data, size_t size, char path[64])
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    CHECK_OK(fd);
    test_own(fd);
    CHECK_INT(write(fd, data, size), size);
    (void)snprintf(path, 64, "/proc/%d/fd/%d", (int)getpid(), fd);
}

/* A file with what `memory` has, which is freed. */
static void
cert_file(BIO *memory, char path[64])
{
    char *data;
    long size = BIO_get_mem_data(memory, &data);

    test_file_new(data, (size_t)size, path);
    BIO_free(memory);
}

static bool
cert_extend(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *made = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool is_added = made != NULL && X509_add_ext(x509, made, -1) == 1;
    X509_EXTENSION_free(made);
    return is_added;
}

static bool
cert_set_names(X509 *x509, const test_cert_spec *spec)
{
    X509_NAME *name = X509_get_subject_name(x509);
    const X509 *issuer = spec->issuer != NULL ? spec->issuer->x509 : x509;
    bool is_set =
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                   (const unsigned char *)spec->name, -1, -1, 0)
        == 1;

    is_set = is_set
             && X509_set_issuer_name(x509, X509_get_subject_name(issuer)) == 1;
    return is_set
           && (spec->names == NULL
               || cert_extend(x509, NULL, NID_subject_alt_name, spec->names));
}

static bool
cert_set_numbers(X509 *x509, int days)
{
    static long serial;
    long from = days < 0 ? 2L * days : -1;

    days = days != 0 ? days : 1;
    return X509_set_version(x509, X509_VERSION_3) == 1
           && ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial) == 1
           && X509_gmtime_adj(X509_getm_notBefore(x509), from * CERT_DAY)
                  != NULL
           && X509_gmtime_adj(X509_getm_notAfter(x509), (long)days * CERT_DAY)
                  != NULL;
}

static bool
cert_fill(test_cert *self, const test_cert_spec *spec)
{
    X509 *issuer = spec->issuer != NULL ? spec->issuer->x509 : self->x509;
    EVP_PKEY *signer = spec->issuer != NULL ? spec->issuer->key : self->key;

    return cert_set_numbers(self->x509, spec->days)
           && cert_set_names(self->x509, spec)
           && X509_set_pubkey(self->x509, self->key) == 1
           && cert_extend(self->x509, issuer, NID_basic_constraints,
                          spec->is_ca ? "critical,CA:TRUE" : "CA:FALSE")
           && cert_extend(self->x509, issuer, NID_subject_key_identifier,
                          "hash")
           && X509_sign(self->x509, signer, EVP_sha256()) > 0;
}

/* Writes the files that the library will read. */
static void
cert_store(test_cert *self)
{
    BIO *chain = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());

    CHECK(chain != NULL && key != NULL);
    for (const test_cert *at = self; at != NULL; at = at->issuer) {
        CHECK_INT(PEM_write_bio_X509(chain, at->x509), 1);
    }
    CHECK_INT(
        PEM_write_bio_PrivateKey(key, self->key, NULL, NULL, 0, NULL, NULL), 1);
    cert_file(chain, self->chain_path);
    cert_file(key, self->key_path);
}

const test_cert *
test_cert_new(const test_cert_spec *spec)
{
    test_cert *self = calloc(1, sizeof *self);

    CHECK(self != NULL);
    test_later(cert_free, self);
    self->issuer = spec->issuer;
    self->x509 = X509_new();
    self->key = EVP_EC_gen("P-256");
    CHECK(self->x509 != NULL && self->key != NULL);
    CHECK(cert_fill(self, spec));
    cert_store(self);
    return self;
}

const test_cert *
test_ca_new(const char *name)
{
    return test_cert_new(&(test_cert_spec){.name = name, .is_ca = true});
}

void
test_cert_write(const test_cert *cert, const char *path)
{
    BIO *file = BIO_new_file(path, "w");

    CHECK(file != NULL);
    CHECK_INT(PEM_write_bio_X509(file, cert->x509), 1);
    BIO_free(file);
}

void
test_key_encrypt(const test_cert *cert, const char *password, char path[64])
{
    BIO *memory = BIO_new(BIO_s_mem());

    CHECK(memory != NULL);
    CHECK_INT(PEM_write_bio_PKCS8PrivateKey(memory, cert->key,
                                            EVP_aes_128_cbc(), password,
                                            (int)strlen(password), NULL, NULL),
              1);
    cert_file(memory, path);
}
