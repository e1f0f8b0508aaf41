/* kolk/server.h - taking connections.
 *
 * SPDX-License-Identifier: MIT
 *
 * A server listens on one or several sockets and hands over each connection.
 * It knows the connections that are still open, so it can hold their number
 * down, wait for them, or end them. Out of descriptors it says so once, leaves
 * clients in the kernel's queue, and goes on when there are some again.
 *
 * The first part is for callbacks. kolk_serve() runs a task for each
 * connection instead.
 */
#pragma once

#include <kolk/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_server_options {
    int family;       /* of a lookup: AF_UNSPEC, AF_INET, AF_INET6 */
    int backlog;      /* 0: 100, as asyncio's */
    bool reuse_port;  /* SO_REUSEPORT; SO_REUSEADDR is always set */
    bool keep_alive;  /* SO_KEEPALIVE on each connection */
    bool not_started; /* kolk_serve(): listen after kolk_server_start() only */
    size_t limit;     /* open connections; more wait in the kernel; 0: none */
    mode_t mode;      /* of a Unix socket's file; 0: as the umask says */
    bool keep_path;   /* leave a Unix socket's file when closing */
} kolk_server_options;

typedef struct kolk_server_ops {
    /* A connection: a socket, non-blocking and close-on-exec, yours. Give it
     * to kolk_transport_open() with this server in its options, or, if the
     * server shall not count it, to anybody, after kolk_server_release(). */
    void (*accepted)(kolk_server *server, int fd, const kolk_address *peer);
    /* Closed, and the last connection has gone; or the loop was closed, and
     * its last transport has gone. Called once, from the loop, never inside a
     * call of yours, kolk_loop_close() aside. May be NULL. */
    void (*closed)(kolk_server *server);
} kolk_server_ops;

/* ---- life ---- */

/* A server without a socket yet. `ops` are borrowed, `owner` is kept for
 * kolk_server_owner(). `*out` is a reference, yours to give up with
 * kolk_server_unref(). Returns 0, -ENOMEM, -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int kolk_server_new(kolk_loop *loop,
                                             const kolk_server_options *options,
                                             const kolk_server_ops *ops,
                                             void *owner, kolk_server **out);

/* Takes one more reference, and returns `server`. */
KOLK_API kolk_server *kolk_server_ref(kolk_server *server);

/* Gives one reference up; NULL is a no-op. A server that has been started goes
 * on: the loop holds a reference of its own until it is closed and its last
 * connection has gone. One that has not is freed with its sockets. */
KOLK_API void kolk_server_unref(kolk_server *server);
KOLK_API void *kolk_server_owner(const kolk_server *server);

/* Was it made with `ops`? So a visitor knows whose the owner is. */
KOLK_API bool kolk_server_has_ops(const kolk_server *server,
                                  const kolk_server_ops *ops);
KOLK_API kolk_loop *kolk_server_loop(const kolk_server *server);

/* Binds one more socket to `address` (port 0: one that is free); an IPv6 one
 * takes no IPv4 connections. A Unix path that a dead server has left is taken
 * over; one with a live server, or another file, is -EADDRINUSE. The file is
 * removed when the server is closed, unless another one has its path by then.
 * Returns the descriptor, borrowed; or an error, -ESHUTDOWN once it is closed.
 */
KOLK_API KOLK_MUST_CHECK int kolk_server_bind(kolk_server *server,
                                              const kolk_address *address);

/* Adds a bound stream socket, owned from now on, and makes it non-blocking. Its
 * file, if it is a Unix socket, stays. Returns 0; -EINVAL for another kind of
 * socket, or another error, and then it is still yours. */
KOLK_API KOLK_MUST_CHECK int kolk_server_add_fd(kolk_server *server, int fd);

/* Listens, and takes connections from the next turn on; a socket that is added
 * later listens at once. TCP connections have TCP_NODELAY set. Returns 0 or the
 * error of listen(2). No-op if it does. */
KOLK_API KOLK_MUST_CHECK int kolk_server_start(kolk_server *server);

/* Stops listening and closes the sockets; connections go on. A no-op if it is
 * closed. */
KOLK_API void kolk_server_close(kolk_server *server);

/* Closes, or aborts, the transports of all its connections. */
KOLK_API void kolk_server_close_clients(kolk_server *server);
KOLK_API void kolk_server_abort_clients(kolk_server *server);

/* Counts a connection less, which was accepted and will be no transport of this
 * server. */
KOLK_API void kolk_server_release(kolk_server *server);

/* Connections that are open: accepted, and neither lost nor released. */
KOLK_API size_t kolk_server_count(const kolk_server *server);
KOLK_API bool kolk_server_is_serving(const kolk_server *server);

/* Descriptors that it listens on, borrowed; how many there are, of which up to
 * `size` are written. */
KOLK_API size_t kolk_server_fds(const kolk_server *server, int *fds,
                                size_t size);

/* The port of the first socket that it listens on; 0 for one that has none;
 * -EBADF once it is closed, or another error. */
KOLK_API int kolk_server_port(const kolk_server *server);

/* ---- a task per connection ---- */

/* Serves one connection, in a task of its own. `stream` is the task's: closed
 * and freed when it returns. A negative result, -ECANCELED and errors of the
 * connection aside, goes to the loop's error handler. */
typedef int kolk_serve_fn(kolk_stream *stream, void *arg);

typedef struct kolk_serve_options {
    kolk_server_options server;
    kolk_tls_context *tls; /* each connection begins with TLS; or NULL */
    kolk_time handshake_timeout;
    size_t stream_limit; /* as kolk_stream_options.limit */
    size_t stack_size;   /* of each task */
} kolk_serve_options;

/* Serves on `host` (NULL: every interface) and `service` ("0": a free port),
 * each connection by `fn(stream, arg)`. `options` may be NULL. Called in a
 * task, which may wait for the lookup; the server belongs to the loop, and the
 * tasks of connections are nobody's children: see kolk_server_join(). They
 * inherit a snapshot of the caller's context (kolk/context.h). */
KOLK_API KOLK_MUST_CHECK int kolk_serve(const char *host, const char *service,
                                        const kolk_serve_options *options,
                                        kolk_serve_fn *fn, void *arg,
                                        kolk_server **out);

/* The same on a Unix socket (kolk_address_unix()). */
KOLK_API KOLK_MUST_CHECK int kolk_serve_unix(const char *path, size_t size,
                                             const kolk_serve_options *options,
                                             kolk_serve_fn *fn, void *arg,
                                             kolk_server **out);

/* The rest is for servers of kolk_serve(); another is -KOLK_EMISUSE. */

/* Waits until the current task is cancelled or the server is closed, then
 * closes it, and waits for its connections, as kolk_server_join() does.
 * Returns 0 after kolk_server_close(), else -ECANCELED. */
KOLK_API KOLK_MUST_CHECK int kolk_serve_forever(kolk_server *server);

/* asyncio's wait_closed: waits until the server is closed and the last
 * connection has gone, its task included. Returns 0. Cancellation: connections
 * that are left are aborted, their tasks cancelled, and -ECANCELED returned
 * once they have ended. */
KOLK_API KOLK_MUST_CHECK int kolk_server_join(kolk_server *server);

#ifdef __cplusplus
}
#endif
