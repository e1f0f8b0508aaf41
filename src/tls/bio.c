/* bio.c - where OpenSSL reads records from and writes them to.
 *
 * SPDX-License-Identifier: MIT
 *
 * A BIO that looks straight into the memory of whoever drives the engine. A
 * record is copied once on its way in, from there to OpenSSL's buffer of one
 * record, and on its way out unless it can be sent from there; both of those
 * buffers are given back while they are empty. Reading finds nothing rather
 * than an end: whether the peer's stream has ended is the engine's business,
 * and no alert answers it.
 */
#include <string.h>

#include "tls/tls.h"

/* Takes what the loan has. */
static size_t
loan_take(kolk_tls_loan *loan, char *buffer, size_t size)
{
    if (loan == NULL || loan->in_size == 0) {
        return 0;
    }
    size = size < loan->in_size ? size : loan->in_size;
    memcpy(buffer, loan->in, size);
    loan->in = (const char *)loan->in + size;
    loan->in_size -= size;
    return size;
}

static int
bio_read(BIO *bio, char *buffer, int size)
{
    kolk__tls_engine *self = BIO_get_data(bio);
    size_t wanted = size > 0 ? (size_t)size : 0;
    size_t got = kolk__bytes_take(&self->in, buffer, wanted);

    got += loan_take(self->loan, buffer + got, wanted - got);
    BIO_clear_retry_flags(bio);
    self->is_starved = got == 0;
    if (got == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    return (int)got;
}

/* Sends from the loan or fills it, if it has room for all of it and nothing is
 * before it. */
static bool
loan_fill(kolk__tls_engine *self, const char *data, size_t size)
{
    kolk_tls_loan *loan = self->loan;

    if (loan == NULL || loan->out_size < size
        || kolk__bytes_size(&self->out) > 0) {
        return false;
    }
    size_t sent = loan->send != NULL ? loan->send(loan, data, size) : 0;

    memcpy(loan->out, data + sent, size - sent);
    loan->out = (char *)loan->out + (size - sent);
    loan->out_size -= size - sent;
    return true;
}

static int
bio_write(BIO *bio, const char *data, int size)
{
    kolk__tls_engine *self = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (size <= 0 || loan_fill(self, data, (size_t)size)) {
        return size;
    }
    if (kolk__bytes_push(&self->out, data, (size_t)size) < 0) {
        self->no_memory = true;
        return -1;
    }
    return size;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int
bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *
kolk__tls_bio_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "kolk");

    if (method != NULL
        && (BIO_meth_set_read(method, bio_read) != 1
            || BIO_meth_set_write(method, bio_write) != 1
            || BIO_meth_set_ctrl(method, bio_ctrl) != 1
            || BIO_meth_set_create(method, bio_create) != 1)) {
        BIO_meth_free(method);
        method = NULL;
    }
    return method;
}
