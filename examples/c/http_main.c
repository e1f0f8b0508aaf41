/* http_main.c - the file server as a program.
 *
 *     http_server DIR [PORT]
 *
 * Serves DIR on 127.0.0.1 until Ctrl-C. The signal is blocked and comes as
 * something to read, which the main task waits for like for anything else;
 * when it returns, the server and its connections are cancelled.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

static int
serve_until_signal(void *server)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0) {
        return -errno;
    }
    int fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int err = kolk_spawn(http_serve, server, NULL);
    if (err == 0) {
        err = kolk_poll(fd, KOLK_READABLE);
    }
    (void)kolk_close(fd);
    return err;
}

int
main(int argc, char **argv)
{
    uint16_t port = argc > 2 ? (uint16_t)strtoul(argv[2], NULL, 10) : 8000;
    if (argc < 2 || argc > 3) {
        (void)fprintf(stderr, "usage: http_server DIR [PORT]\n");
        return 2;
    }
    char *root = realpath(argv[1], NULL);
    if (root == NULL) {
        perror(argv[1]);
        return 1;
    }
    int err = http_listen(&port);
    if (err >= 0) {
        struct http_server server = {.fd = err, .root = root};
        (void)printf("%s: http://127.0.0.1:%d/ until Ctrl-C\n", root, port);
        (void)fflush(stdout);
        err = kolk_run(serve_until_signal, &server);
        (void)close(server.fd);
    }
    free(root);
    if (err < 0) {
        (void)fprintf(stderr, "http_server: %s\n", kolk_strerror(err));
    }
    return err < 0;
}
