/* peer.h - the other end of a stream: a raw socket that does what it likes.
 *
 * SPDX-License-Identifier: MIT
 *
 * A test says what the peer does, step by step: it sends at once, or a byte in
 * each turn; it never reads, or floods; it ends its stream, resets the
 * connection, or closes with something unread. Its descriptor belongs to the
 * test, which closes it in the end unless that has been done. What waits is to
 * be called in a task.
 */
#pragma once

#include "tasks.h"

enum peer_kind { PEER_UNIX, PEER_TCP };

/* Long enough for everything but what never comes, which happens when a call
 * was made to fail on the other side. */
#define PEER_PATIENCE (test_is_hard() ? KOLK_S(1) : KOLK_S(20))

/* A connection: a stream on the current loop, the caller's to free, and the
 * peer's socket, non-blocking. `options` may be NULL. Returns whether it could
 * be made; if not, a check has failed. */
bool peer_open(enum peer_kind kind, const kolk_stream_options *options,
               kolk_stream **stream, int *fd);

/* Two sockets that are connected, as in peer_open(). */
bool peer_connected(enum peer_kind kind, int fds[2]);

/* A socket that is connected to `address`; -1 if a check has failed. */
int peer_connect(const kolk_address *address);

/* Sends all of `data` at once, for which there has to be room. */
void peer_send(int fd, const void *data, size_t size);
void peer_say(int fd, const char *text);

/* Sends a byte in each turn. */
void peer_say_slowly(int fd, const char *text);

/* Sends until nothing more fits; how many bytes. */
size_t peer_fill(int fd);

/* A task that sends to `*(int *)fd` until that fails; how many bytes. */
int peer_flood(void *fd);

/* Receives what is there, at most `size` bytes, without waiting. Returns as
 * recv(2), or -errno. */
int peer_take(int fd, void *buffer, size_t size);

/* Waits for exactly `text`. */
bool peer_hears(int fd, const char *text);

/* Receives to the end: how many bytes came; or a negative error. */
int peer_count_to_end(int fd);

/* Ends this side's stream; goes on reading. */
void peer_half_close(int fd);

/* Closes: with a reset; as it comes. */
void peer_reset(int fd);
void peer_close(int fd);

/* ---- whole tests ---- */

/* Runs `fn` in the main task of a loop, with a stream that it has to free, and
 * its peer. */
typedef void peer_test_fn(kolk_stream *stream, int fd);
void peer_test(enum peer_kind kind, const kolk_stream_options *options,
               peer_test_fn *fn);

/* The same, once over each kind of socket. */
void peer_test_both(peer_test_fn *fn);

/* Frees `*place`, a stream or NULL, at the end of the test. */
void peer_free_later(kolk_stream **place);

/* Reads from `stream` what has to be exactly `text`. */
void peer_read(kolk_stream *stream, const char *text);
