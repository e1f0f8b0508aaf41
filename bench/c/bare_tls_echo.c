/* bare_tls_echo.c - the least an echo server with TLS on epoll can cost.
 *
 * SPDX-License-Identifier: MIT
 *
 * OpenSSL does the system calls itself, on the socket. It reads ahead, so that
 * a record is one receive and not two, and gives its buffers back while they
 * are empty, as servers with many connections have it. Level-triggered: after
 * a message nobody asks the kernel whether there is more. The load keeps one
 * message in flight on each connection, so a write that does not take
 * everything cannot happen, and ends the program.
 */
#include "bench_net.h"
#include "bench_tls.h"

#include <openssl/ssl.h>
#include <sys/epoll.h>

enum { ECHO_EVENTS = 512 };

static char echo_buffer[BENCH_ECHO_BUFFER];

static SSL_CTX *
echo_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    X509 *certificate;
    EVP_PKEY *key;

    bench_tls_make(&certificate, &key);
    bench_tls_check("context",
                    context != NULL
                        && SSL_CTX_use_certificate(context, certificate) == 1
                        && SSL_CTX_use_PrivateKey(context, key) == 1);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    return context;
}

static void
echo_accept(int epoll, int listener, SSL_CTX *context)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC))
           >= 0) {
        SSL *ssl = SSL_new(context);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = ssl};

        bench_tls_check("connection", ssl != NULL && SSL_set_fd(ssl, fd) == 1);
        SSL_set_accept_state(ssl);
        bench_check("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    }
    if (errno != EAGAIN) {
        bench_die("accept", errno);
    }
}

/* Reading shakes hands first. */
static void
echo_answer(SSL *ssl)
{
    do {
        int size = SSL_read(ssl, echo_buffer, sizeof echo_buffer);

        if (size > 0) {
            bench_tls_check("SSL_write",
                            SSL_write(ssl, echo_buffer, size) == size);
        } else {
            if (SSL_get_error(ssl, size) != SSL_ERROR_WANT_READ) {
                int fd = SSL_get_fd(ssl);

                SSL_free(ssl); /* the load ended, or gave up and said why */
                (void)close(fd);
            }
            return;
        }
    } while (SSL_has_pending(ssl) == 1);
}

int
main(void)
{
    SSL_CTX *context = echo_context();
    int listener = bench_listen(SOCK_NONBLOCK);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    struct epoll_event events[ECHO_EVENTS];

    bench_check("epoll_create1", epoll);
    bench_check("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event));
    for (;;) {
        int ready = epoll_wait(epoll, events, ECHO_EVENTS, -1);
        if (ready < 0 && errno != EINTR) {
            bench_die("epoll_wait", errno);
        }
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == NULL) {
                echo_accept(epoll, listener, context);
            } else {
                echo_answer(events[i].data.ptr);
            }
        }
    }
}
