/* kolk/stream.h - connections, for tasks: what StreamReader and StreamWriter
 * are in asyncio, in one.
 *
 * SPDX-License-Identifier: MIT
 *
 * A stream is read by one task at a time and written by any. Reading waits for
 * bytes; writing copies or sends, never waits, and is followed by
 * kolk_stream_drain() where much is written. It stands on a transport
 * (kolk/transport.h), whose rules of joining writes hold.
 */
#pragma once

#include <kolk/connect.h>
#include <kolk/task.h>
#include <kolk/tls.h>
#include <kolk/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_stream kolk_stream;

typedef struct kolk_stream_options {
    /* bytes that a line or record may have, its end included; 0: 64 KiB. The
     * stream holds no more than this, or 64 KiB, of what nobody has read */
    size_t limit;
    kolk_transport_options transport;
} kolk_stream_options;

typedef struct kolk_tls_client {
    kolk_tls_context *context; /* NULL: one with every default */
    const char *name;          /* to ask for and to check; NULL: the host */
    kolk_tls_session *session; /* to take up again, or NULL */
    kolk_tls_start start;      /* timeouts; its other fields stay 0 */
} kolk_tls_client;

/* ---- life ---- */

/* A stream over `fd`, owned from now on if the call succeeds; on the current
 * loop. `options` may be NULL. Returns as kolk_transport_open(). */
KOLK_API KOLK_MUST_CHECK int
kolk_stream_open(int fd, const kolk_stream_options *options, kolk_stream **out);

/* Connects to `host` and `service`, with TLS if `tls` is not NULL; `options`
 * may be NULL. Returns 0 or an error.
 * Cancellation: whatever was connected is closed. */
KOLK_API KOLK_MUST_CHECK int
kolk_open_connection(const char *host, const char *service,
                     const kolk_connect_options *options,
                     const kolk_tls_client *tls, kolk_stream **out);

/* The same to a Unix socket (kolk_address_unix()). */
KOLK_API KOLK_MUST_CHECK int
kolk_open_unix_connection(const char *path, size_t size,
                          const kolk_tls_client *tls, kolk_stream **out);

/* Both ends of a connection inside of this process. Yours both. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_pair(kolk_stream *out[2]);

/* Sends what was written, closes, waits for that, and frees the stream,
 * whatever the outcome. Returns 0, or why not all of it was sent. Not while
 * another task reads or drains.
 * Cancellation: what is left is not sent; -ECANCELED. */
KOLK_API int kolk_stream_close(kolk_stream *stream);

/* The same without waiting: the sending goes on by itself, until it is done or
 * the loop is closed. NULL is a no-op. Not while another task reads or
 * drains. */
KOLK_API void kolk_stream_free(kolk_stream *stream);

/* Closes at once, without sending what is left, and frees the stream. Tasks
 * that wait for it get -ECANCELED first. */
KOLK_API void kolk_stream_abort(kolk_stream *stream);

/* ---- reading ----
 *
 * A negative result of these calls is the connection's error, after all that
 * came before it has been read; -EBUSY if another task reads. Cancellation:
 * -ECANCELED, and nothing that was received is lost. */

/* Waits for at least one byte, and takes up to `size`: how many; 0 at the end
 * of the stream. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_read(kolk_stream *stream, void *buffer,
                                              size_t size);

/* Takes exactly `size` bytes: 0; -KOLK_EOF if the stream ends before. `*got`
 * (may be NULL) is how many were taken, on error too. On cancellation what has
 * come stays in the stream, for as much as its limit; of more than that, the
 * first bytes are in `buffer` and counted in `*got`. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_read_exactly(kolk_stream *stream,
                                                      void *buffer, size_t size,
                                                      size_t *got);

/* A separator for kolk_stream_read_until(). */
typedef struct kolk_bytes {
    const void *data;
    size_t size;
} kolk_bytes;

/* Reads up to and with the first of `count` separators that ends; of two that
 * end at the same byte, the longest. `*line` is borrowed from the stream until
 * the next call that reads. Returns its size; -KOLK_EOF if the stream ends
 * before (what is left can be read); -KOLK_ELIMIT if no separator comes
 * within the limit (nothing is taken); -EINVAL for no or an empty one. */
KOLK_API KOLK_MUST_CHECK int
kolk_stream_read_until(kolk_stream *stream, const kolk_bytes *separators,
                       size_t count, const char **line);

/* A line, with its '\n'; at the end of the stream what is left of one; then 0.
 * `*line` is borrowed as a record is. A line longer than the limit is
 * -KOLK_ELIMIT, and is thrown away up to its end. If that has not come yet, the
 * next call for a line throws the rest away first, so that it is never taken
 * for a line of its own. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_readline(kolk_stream *stream,
                                                  const char **line);

/* Bytes that are there, without taking them: waits for at least `size`, at
 * most the limit (-KOLK_ELIMIT). `*data` is borrowed as a line is. Returns how
 * many there are, fewer than `size` only at the end of the stream. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_peek(kolk_stream *stream, size_t size,
                                              const char **data);

/* Takes `size` bytes that a peek has shown. */
KOLK_API void kolk_stream_skip(kolk_stream *stream, size_t size);

/* Has the stream ended, and all been read? */
KOLK_API bool kolk_stream_at_eof(const kolk_stream *stream);

/* ---- writing ---- */

/* Writes all of it, without waiting; `data` is yours again. Returns 0; -EPIPE
 * after write_eof; the connection's error if it is lost; -ENOMEM. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_write(kolk_stream *stream,
                                               const void *data, size_t size);
KOLK_API KOLK_MUST_CHECK int
kolk_stream_writev(kolk_stream *stream, const struct iovec *pieces, int count);

/* printf to the stream. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_print(kolk_stream *stream,
                                               const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Waits while more than the high mark is waiting to be sent, until no more
 * than the low mark is. Returns 0 or the connection's error.
 * Cancellation: -ECANCELED; the bytes go on. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_drain(kolk_stream *stream);

/* Ends this side's stream after what was written; reading goes on. Returns 0,
 * -EOPNOTSUPP, the connection's error. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_write_eof(kolk_stream *stream);

/* Sends `count` bytes of the regular file `fd` from `offset` on, behind what
 * was written, and waits for that. Returns 0 or an error; `*sent` (may be
 * NULL) is how many have left, on error too.
 * Cancellation: -ECANCELED; the stream is cut at `*sent` bytes. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_sendfile(kolk_stream *stream, int fd,
                                                  int64_t offset,
                                                  uint64_t count,
                                                  uint64_t *sent);

/* ---- TLS and the rest ---- */

/* Begins TLS as a client, or as a server, on a connection in plain text, and
 * waits for the handshake. Bytes of the peer that are in the stream's buffer
 * already belong to the handshake. Returns 0; -KOLK_ETLS; -ETIMEDOUT; after an
 * error the connection is lost. Cancellation: the connection is aborted. */
KOLK_API KOLK_MUST_CHECK int kolk_stream_start_tls(kolk_stream *stream,
                                                   const kolk_tls_client *tls);
KOLK_API KOLK_MUST_CHECK int
kolk_stream_start_tls_server(kolk_stream *stream, kolk_tls_context *context,
                             const kolk_tls_start *start);

/* The transport underneath, borrowed: for marks, addresses, the TLS engine.
 * Its reading and its protocol are the stream's. */
KOLK_API kolk_transport *kolk_stream_transport(const kolk_stream *stream);

#ifdef __cplusplus
}
#endif
