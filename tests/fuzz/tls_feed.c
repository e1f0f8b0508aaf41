/* tls_feed.c - records in any pieces, and what is none, into TLS.
 *
 * SPDX-License-Identifier: MIT
 *
 * The input is a program. A server is a transport on one end of a socket pair,
 * its client an engine at the other end, which is moved by hand: each step
 * writes at one of the two sides, carries some bytes, changes some or makes
 * some up, ends a stream, pauses, closes. Whatever happens, each side has got a
 * beginning of what the other has written, nothing comes after the end, and
 * the connection is lost once.
 */
#include <kolk.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FUZZ_PATTERN = 251, FUZZ_PIECE = 20000, FUZZ_ALL = 1 << 20 };

/* One direction. */
struct fuzz_stream {
    size_t written, read;
};

static struct {
    const uint8_t *at, *end;
    kolk_protocol protocol;
    kolk_transport *transport;
    kolk_tls_engine *client;
    int fd; /* the client's */
    struct fuzz_stream up, down;
    int losses, handshakes;
} fuzz;

static kolk_loop *fuzz_loop;
static kolk_tls_context *fuzz_contexts[2]; /* of clients, of servers */
static unsigned char fuzz_pattern[FUZZ_ALL + FUZZ_PIECE];

static void
fuzz_check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* ---- input ---- */

static uint8_t
fuzz_byte(void)
{
    return (uint8_t)(fuzz.at < fuzz.end ? *fuzz.at++ : 0);
}

/* Mostly few bytes. */
static size_t
fuzz_size(void)
{
    size_t size = fuzz_byte();

    return size < 200 ? size : (size - 199) * fuzz_byte();
}

/* ---- the server ---- */

static void
fuzz_received(kolk_protocol *protocol, kolk_transport *transport,
              const void *data, size_t size)
{
    (void)protocol, (void)transport;
    fuzz_check(fuzz.losses == 0 && fuzz.handshakes == 1);
    fuzz_check(size <= fuzz.up.written - fuzz.up.read);
    fuzz_check(memcmp(data, fuzz_pattern + fuzz.up.read, size) == 0);
    fuzz.up.read += size;
}

static bool
fuzz_ended(kolk_protocol *protocol, kolk_transport *transport)
{
    (void)protocol, (void)transport;
    fuzz_check(fuzz.losses == 0 && fuzz.up.read == fuzz.up.written);
    return fuzz.up.written % 2 == 0;
}

static void
fuzz_lost(kolk_protocol *protocol, kolk_transport *transport, int error)
{
    (void)protocol, (void)transport, (void)error;
    fuzz_check(++fuzz.losses == 1 && fuzz.handshakes == 1);
}

static void
fuzz_done(kolk_protocol *protocol, kolk_transport *transport, int result)
{
    (void)protocol, (void)transport, (void)result;
    fuzz_check(++fuzz.handshakes == 1);
}

static const kolk_protocol_ops fuzz_ops = {
    .data_received = fuzz_received,
    .eof_received = fuzz_ended,
    .connection_lost = fuzz_lost,
};

static void
fuzz_turns(unsigned count)
{
    while (count-- > 0) {
        fuzz_check(kolk_run_once(fuzz_loop) >= 0);
    }
}

static void
fuzz_write_down(size_t size)
{
    if (fuzz.down.written + size <= FUZZ_ALL
        && kolk_transport_write(fuzz.transport,
                                fuzz_pattern + fuzz.down.written, size)
               == 0) {
        fuzz.down.written += size;
    }
}

/* ---- the client ---- */

static void
fuzz_write_up(size_t size)
{
    if (size > 0 && fuzz.up.written + size <= FUZZ_ALL) {
        int taken = fuzz.client->ops->write(
            fuzz.client, fuzz_pattern + fuzz.up.written, size);

        fuzz.up.written += taken > 0 ? (size_t)taken : 0;
    }
}

/* Carries up to `size` bytes to the wire, with one of them changed by `flip`.
 */
static void
fuzz_carry_up(size_t size, uint8_t flip)
{
    static unsigned char bytes[FUZZ_PIECE];

    size = size < sizeof bytes ? size : sizeof bytes;
    size = fuzz.client->ops->output(fuzz.client, bytes, size);
    if (size > 0) {
        bytes[flip % size] ^= flip;
    }
    (void)!send(fuzz.fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Feeds up to `size` bytes of the wire, and reads what comes of them. */
static void
fuzz_carry_down(size_t size)
{
    static unsigned char bytes[FUZZ_PIECE];

    size = size < sizeof bytes ? size : sizeof bytes;
    ssize_t got = recv(fuzz.fd, bytes, size, MSG_DONTWAIT);
    if (got == 0 && size > 0) {
        fuzz.client->ops->feed_eof(fuzz.client);
    } else if (got > 0) {
        (void)!fuzz.client->ops->feed(fuzz.client, bytes, (size_t)got);
    }
    (void)!fuzz.client->ops->handshake(fuzz.client);
    int read;
    while ((read = fuzz.client->ops->read(fuzz.client, bytes, sizeof bytes))
           > 0) {
        fuzz_check((size_t)read <= fuzz.down.written - fuzz.down.read);
        fuzz_check(memcmp(bytes, fuzz_pattern + fuzz.down.read, (size_t)read)
                   == 0);
        fuzz.down.read += (size_t)read;
    }
}

static void
fuzz_garbage(size_t size)
{
    size_t left = (size_t)(fuzz.end - fuzz.at);

    size = size < left ? size : left;
    if (size > 0) {
        (void)!send(fuzz.fd, fuzz.at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        fuzz.at += size;
    }
}

/* ---- steps ---- */

static void
fuzz_step(void)
{
    uint8_t op = fuzz_byte();

    switch (op % 16) {
    case 0:
        fuzz_carry_up(fuzz_size(), 0);
        break;
    case 1:
        fuzz_carry_down(fuzz_size());
        break;
    case 2:
        fuzz_write_up(fuzz_size());
        break;
    case 3:
        fuzz_write_down(fuzz_size());
        break;
    case 4:
        kolk_transport_pause_reading(fuzz.transport);
        break;
    case 5:
        kolk_transport_resume_reading(fuzz.transport);
        break;
    case 6:
        (void)!kolk_transport_write_eof(fuzz.transport);
        break;
    case 7:
        kolk_transport_close(fuzz.transport);
        break;
    case 8:
        (void)!fuzz.client->ops->shutdown(fuzz.client);
        break;
    case 9:
        if (op >= 0xe0) {
            (void)shutdown(fuzz.fd, SHUT_WR);
        }
        break;
    case 10:
        fuzz_garbage(fuzz_byte());
        break;
    case 11:
        fuzz_carry_up(fuzz_size(), fuzz_byte());
        break;
    default: /* all there is, both ways */
        fuzz_carry_up(FUZZ_PIECE, 0);
        fuzz_turns(1 + op / 64);
        fuzz_carry_down(FUZZ_PIECE);
        break;
    }
}

/* Lets both sides close, and looks at what has come through. */
static void
fuzz_finish(void)
{
    kolk_transport_resume_reading(fuzz.transport);
    kolk_transport_close(fuzz.transport);
    (void)!fuzz.client->ops->shutdown(fuzz.client);
    for (int i = 0; i < 200 && fuzz.losses == 0; i++) {
        fuzz_carry_up(FUZZ_PIECE, 0);
        fuzz_turns(3);
        fuzz_carry_down(FUZZ_PIECE);
    }
    kolk_transport_abort(fuzz.transport);
    fuzz_turns(4);
    fuzz_check(fuzz.losses == 1);
}

/* ---- a connection ---- */

static void
fuzz_open(void)
{
    const kolk_tls_start start = {.is_server = true, .done = fuzz_done};
    kolk_tls_engine *server;
    int fds[2];

    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    fuzz.fd = fds[1];
    fuzz.protocol.ops = &fuzz_ops;
    fuzz_check(kolk_transport_open(fuzz_loop, fds[0], NULL, &fuzz.protocol,
                                   &fuzz.transport)
               == 0);
    fuzz_check(kolk_tls_engine_new(fuzz_contexts[0], NULL, &fuzz.client) == 0);
    fuzz_check(kolk_tls_engine_new(fuzz_contexts[1], NULL, &server) == 0);
    fuzz_check(kolk_transport_start_tls(fuzz.transport, server, &start) == 0);
    (void)!fuzz.client->ops->handshake(fuzz.client);
}

/* A file in memory with a certificate and its key. */
static void
fuzz_certificate(char path[64])
{
    FILE *file = fdopen(memfd_create("certificate", MFD_CLOEXEC), "w");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *made = X509_new();

    fuzz_check(file != NULL && key != NULL && made != NULL);
    fuzz_check(X509_set_version(made, X509_VERSION_3) == 1
               && X509_gmtime_adj(X509_getm_notBefore(made), -3600) != NULL
               && X509_gmtime_adj(X509_getm_notAfter(made), 86400) != NULL
               && X509_set_pubkey(made, key) == 1
               && X509_sign(made, key, EVP_sha256()) > 0
               && PEM_write_X509(file, made) == 1
               && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL)
                      == 1
               && fflush(file) == 0);
    (void)snprintf(path, 64, "/proc/self/fd/%d", fileno(file));
    X509_free(made);
    EVP_PKEY_free(key);
}

static void
fuzz_init(void)
{
    char path[64];
    const kolk_tls_options client = {.no_verify = true};
    const kolk_tls_options server = {.is_server = true, .certificate = path};

    fuzz_certificate(path);
    for (size_t i = 0; i < sizeof fuzz_pattern; i++) {
        fuzz_pattern[i] = (unsigned char)(i % FUZZ_PATTERN);
    }
    fuzz_check(kolk_loop_open(NULL, &fuzz_loop) == 0);
    fuzz_check(kolk_tls_context_new(&client, &fuzz_contexts[0]) == 0);
    fuzz_check(kolk_tls_context_new(&server, &fuzz_contexts[1]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fuzz_loop == NULL) {
        fuzz_init();
    }
    memset(&fuzz, 0, sizeof fuzz);
    fuzz.at = data;
    fuzz.end = data + size;
    fuzz_open();
    while (fuzz.at < fuzz.end) {
        fuzz_step();
    }
    fuzz_finish();
    fuzz.client->ops->free(fuzz.client);
    kolk_transport_unref(fuzz.transport);
    (void)close(fuzz.fd);
    return 0;
}
