/* toy.h - an engine that is none of OpenSSL's, for tests of the driver.
 *
 * SPDX-License-Identifier: MIT
 *
 * A record is a letter, two bytes of length, and its bytes, turned over. 'H' is
 * a part of the handshake, 'D' data, 'C' close_notify, 'A' an alert, 'U' asks
 * for a 'u' in answer. The client says H first; who has heard as many of them
 * as it waits for is done.
 *
 * It keeps to its contract more strictly than a real one: it knows what it was
 * told, and a call after its error fails the test.
 */
#pragma once

#include <kolk/tls.h>

#include "kit.h"

enum { TOY_HEAD = 3, TOY_RECORD = 1000, TOY_RECORD_MAX = 65535 };

typedef struct toy {
    kolk_tls_engine engine;
    bool is_server;
    int rounds;         /* of the handshake; 1 at first */
    int heard;          /* of them */
    bool has_begun;     /* a client's */
    size_t appetite;    /* bytes that it takes before it is read; 0: any */
    int refuses_writes; /* so many times -EAGAIN */
    bool has_ended;     /* the peer's stream */
    bool is_closed;     /* by the peer's 'C' */
    bool is_shut;       /* by ours */
    int error;
    size_t records; /* of data that it has made */

    /* memory, of the test's */
    unsigned char *in, *out;
    size_t in_begin, in_size, in_room, out_size, out_room;
    size_t plain; /* of the first record in `in`, read already */
} toy;

/* How many there are. */
extern int toy_count;

toy *toy_new(bool is_server);

/* An 'A' ends an engine with this, and this is what it says of it. */
enum { TOY_ERROR = -4711 };
extern char toy_trouble[];

/* Puts a record into what `self` has to send. */
void toy_put(toy *self, char letter, const void *data, size_t size);

/* ---- the other end of a socket pair ---- */

typedef struct toy_peer {
    int fd;
    toy *toy;
    size_t step; /* bytes of one write; 0: all at once */
} toy_peer;

/* One with an engine of its own, that goes with the test. Its socket is small,
 * so that it fills soon. */
toy_peer *toy_peer_new(int fd, bool is_server);

/* Writes what its engine has to send, as far as the kernel takes it; how many
 * bytes are left. */
size_t toy_peer_send(toy_peer *peer);

/* Reads what is there, up to `size` bytes of the wire (0: all); how many. At
 * the end of the stream its engine knows. */
size_t toy_peer_receive(toy_peer *peer, size_t size);

/* Forgets what has come. */
void toy_peer_forget(toy_peer *peer);

/* Writes `text` as data, and sends it. */
void toy_peer_say(toy_peer *peer, const char *text);

/* Receives, and takes plain text to `buffer`, with an end: how many bytes; 0
 * after close_notify, or an error. */
int toy_peer_hear(toy_peer *peer, char *buffer, size_t size);

/* Shakes hands with a transport on `loop`. */
void toy_peer_shake(toy_peer *peer, kolk_loop *loop);
