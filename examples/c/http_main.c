/* http_main.c - the file server as a program.
 *
 *     http_server DIR [PORT]
 *
 * Serves DIR on 127.0.0.1 until Ctrl-C. The signal is blocked and comes as
 * something to read, which the main task waits for like for anything else.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_server.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

/* If the server fails, the group ends this wait. */
static int
serve_until_signal(void *arg)
{
    const struct http_server *server = arg;
    kolk_spawn_options options = {.name = "server", .eager = true};
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    int fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    KOLK_GROUP(group);
    int err = kolk_group_spawn_with(&group, &options, http_serve, arg, NULL);
    if (err == 0 && kolk_sleep(0) == 0) {
        (void)printf("%s/: http://127.0.0.1:%d/ until Ctrl-C\n", server->root,
                     server->port);
        (void)fflush(stdout);
        err = kolk_poll(fd, KOLK_READABLE);
        kolk_group_cancel(&group);
    }
    (void)kolk_close(fd);
    return kolk_group_end(&group, err);
}

int
main(int argc, char **argv)
{
    struct http_server server = {.root = ""};
    char root[PATH_MAX];
    if (argc < 2 || argc > 3 || realpath(argv[1], root) == NULL) {
        (void)fprintf(stderr, "usage: http_server DIR [PORT]\n");
        return 2;
    }
    server.root = strcmp(root, "/") == 0 ? "" : root;
    server.port = argc > 2 ? (uint16_t)strtoul(argv[2], NULL, 10) : 8000;
    int err = kolk_run(serve_until_signal, &server);
    if (err < 0) {
        (void)fprintf(stderr, "http_server: %s\n", kolk_strerror(err));
    }
    return err < 0;
}
