/* certificate.c - reading certificates and keys.
 *
 * SPDX-License-Identifier: MIT
 *
 * Files are read here and given to OpenSSL as memory: so a file that cannot be
 * read is an errno of its own, and nobody is ever asked for a password on the
 * terminal.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/sys.h"
#include "tls/tls.h"

enum {
    CERTIFICATE_FILE_MAX = 64 << 20,
    CERTIFICATE_PIECE = 16 << 10,
};

/* ---- files ---- */

/* Appends what `fd` has to `bytes`. Returns 0 or an error. */
static int
file_read_all(int fd, kolk__bytes *bytes)
{
    unsigned char piece[CERTIFICATE_PIECE];

    for (;;) {
        ssize_t got = kolk__sys.read(fd, piece, sizeof piece);
        int err = got < 0 ? -errno : 0;

        if (err == -EINTR) {
            continue;
        }
        if (got > 0) {
            err = kolk__bytes_size(bytes) < CERTIFICATE_FILE_MAX
                      ? kolk__bytes_push(bytes, piece, (size_t)got)
                      : -EFBIG;
        }
        if (got <= 0 || err < 0) {
            OPENSSL_cleanse(piece, sizeof piece);
            return err;
        }
    }
}

static int
file_open(const char *path, int flags)
{
    int fd;

    do {
        fd = kolk__sys.open(path, flags | O_RDONLY | O_CLOEXEC, 0);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* A key leaves no trace in memory that was given back. */
static void
file_forget(kolk__bytes *bytes)
{
    if (bytes->memory != NULL) {
        OPENSSL_cleanse(bytes->memory, bytes->room);
        kolk__bytes_clear(bytes);
    }
}

/* Reads the file `path`. Returns 0 or an error, which is complained of. */
static int
file_read(const char *path, kolk__bytes *bytes)
{
    *bytes = (kolk__bytes){0};
    int fd = file_open(path, 0);
    int err = fd < 0 ? fd : file_read_all(fd, bytes);

    if (fd >= 0) {
        (void)kolk__sys.close(fd); /* only read from */
    }
    if (err < 0) {
        file_forget(bytes);
        return kolk__tls_complain_of(path, err);
    }
    return 0;
}

/* ---- what is in them ---- */

/* OpenSSL asks for the password of a key: `arg` points to it, or to NULL. */
static int
certificate_password(char *buffer, int size, int is_written, void *arg)
{
    const char *const *password = arg;
    size_t room = size > 0 ? (size_t)size : 0;
    size_t length =
        arg != NULL && *password != NULL ? strnlen(*password, room + 1) : 0;

    (void)is_written;
    if (length == 0 || length > room) {
        return -1;
    }
    memcpy(buffer, *password, length);
    return (int)length;
}

/* OpenSSL's view of `bytes`, or NULL. */
static BIO *
certificate_view(const kolk__bytes *bytes)
{
    return BIO_new_mem_buf(kolk__bytes_size(bytes) > 0 ? kolk__bytes_data(bytes)
                                                       : "",
                           (int)kolk__bytes_size(bytes));
}

/* The next certificate. At the end of the file NULL without an error in
 * OpenSSL's queue, else NULL with one. */
static X509 *
certificate_next(BIO *view)
{
    X509 *found = PEM_read_bio_X509_AUX(view, NULL, certificate_password, NULL);
    unsigned long code = found == NULL ? ERR_peek_last_error() : 0;

    if (ERR_GET_LIB(code) == ERR_LIB_PEM
        && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) {
        ERR_clear_error();
    }
    return found;
}

/* Reads the chain: the leaf first, then its issuers. */
static int
certificate_read_chain(BIO *view, kolk__tls_certificate *out)
{
    X509 *issuer;

    out->chain = sk_X509_new_null();
    if (view == NULL || out->chain == NULL) {
        return -ENOMEM;
    }
    out->leaf = certificate_next(view);
    if (out->leaf == NULL) {
        if (ERR_peek_error() == 0) {
            ERR_raise(ERR_LIB_PEM, PEM_R_NO_START_LINE);
        }
        return -KOLK_ETLS;
    }
    while ((issuer = certificate_next(view)) != NULL) {
        if (sk_X509_push(out->chain, issuer) == 0) {
            X509_free(issuer);
            return -ENOMEM;
        }
    }
    return ERR_peek_error() != 0 ? -KOLK_ETLS : 0;
}

/* Reads the key, which has to fit the leaf. */
static int
certificate_read_key(BIO *view, const char *password,
                     kolk__tls_certificate *out)
{
    if (view == NULL) {
        return -ENOMEM;
    }
    out->key =
        PEM_read_bio_PrivateKey(view, NULL, certificate_password, &password);
    if (out->key == NULL || X509_check_private_key(out->leaf, out->key) != 1) {
        return -KOLK_ETLS;
    }
    return 0;
}

/* An error of reading `path`, whether OpenSSL has said why or not. */
static int
certificate_complain(const char *path, int err)
{
    int of_queue = kolk__tls_complain(path);

    return err == -ENOMEM ? kolk__tls_complain_of(path, err) : of_queue;
}

int
kolk__tls_certificate_load(const char *chain, const char *key,
                           const char *password, kolk__tls_certificate *out)
{
    kolk__tls_certificate made = {0};
    kolk__bytes bytes;

    kolk__tls_begin();
    int err = file_read(chain, &bytes);
    if (err < 0) {
        return err;
    }
    BIO *view = certificate_view(&bytes);
    err = certificate_read_chain(view, &made);
    BIO_free(view);
    file_forget(&bytes);
    if (err < 0) {
        err = certificate_complain(chain, err);
        goto free_made;
    }
    key = key != NULL ? key : chain;
    err = file_read(key, &bytes);
    if (err < 0) {
        goto free_made;
    }
    view = certificate_view(&bytes);
    err = certificate_read_key(view, password, &made);
    BIO_free(view);
    file_forget(&bytes);
    if (err < 0) {
        err = certificate_complain(key, err);
        goto free_made;
    }
    kolk__tls_end();
    *out = made;
    return 0;

free_made:
    kolk__tls_certificate_free(&made);
    return err;
}

void
kolk__tls_certificate_free(kolk__tls_certificate *certificate)
{
    X509_free(certificate->leaf);
    sk_X509_pop_free(certificate->chain, X509_free);
    EVP_PKEY_free(certificate->key);
    *certificate = (kolk__tls_certificate){0};
}

/* ---- whom to trust ---- */

/* Trusts each certificate of `view`; returns how many there are. */
static int
trust_all(SSL_CTX *ssl, BIO *view)
{
    X509 *found;
    int count = 0;

    while ((found = certificate_next(view)) != NULL) {
        bool is_added =
            X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), found) == 1
            && SSL_CTX_add_client_CA(ssl, found) == 1;

        X509_free(found);
        if (!is_added) {
            return -KOLK_ETLS;
        }
        count++;
    }
    return ERR_peek_error() != 0 ? -KOLK_ETLS : count;
}

int
kolk__tls_trust(SSL_CTX *ssl, const char *path)
{
    kolk__bytes bytes;
    int err = file_read(path, &bytes);

    if (err < 0) {
        return err;
    }
    BIO *view = certificate_view(&bytes);
    int count = view != NULL ? trust_all(ssl, view) : -ENOMEM;
    BIO_free(view);
    file_forget(&bytes);
    if (count == 0) {
        ERR_raise(ERR_LIB_PEM, PEM_R_NO_START_LINE);
    }
    return count <= 0 ? certificate_complain(path, count) : 0;
}

int
kolk__tls_trust_folder(SSL_CTX *ssl, const char *path)
{
    int fd = file_open(path, O_DIRECTORY);

    if (fd < 0) {
        return kolk__tls_complain_of(path, fd);
    }
    (void)kolk__sys.close(fd); /* only looked for */
    return X509_STORE_load_path(SSL_CTX_get_cert_store(ssl), path) == 1
               ? 0
               : kolk__tls_complain(path);
}
