/* http_main.c - the file server as a program.
 *
 *     http_server DIR [PORT [CERTIFICATE KEY]]
 *
 * Serves DIR on 127.0.0.1 until Ctrl-C or SIGTERM; with a certificate and its
 * key, two files in PEM, by TLS.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_server.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* If the server fails, the group ends this wait. */
static int
serve_until_signal(void *arg)
{
    static const int signums[] = {SIGINT, SIGTERM};
    const struct http_server *server = arg;
    kolk_spawn_options options = {.name = "server", .eager = true};
    kolk_signals signals;
    int err = kolk_signals_begin(&signals, signums, 2);
    if (err < 0) {
        return err;
    }
    KOLK_GROUP(group);
    err = kolk_group_spawn_with(&group, &options, http_serve, arg, NULL);
    if (err == 0 && kolk_checkpoint() == 0) {
        (void)printf("%s/: http%s://127.0.0.1:%d/ until Ctrl-C\n", server->root,
                     server->tls != NULL ? "s" : "", server->port);
        (void)fflush(stdout);
        err = kolk_signals_next(&signals);
        kolk_group_cancel(&group);
    }
    err = kolk_group_end(&group, err < 0 ? err : 0);
    kolk_signals_end(&signals);
    return err;
}

int
main(int argc, char **argv)
{
    struct http_server server = {.root = ""};
    char root[PATH_MAX];
    int err = 0;
    if (argc < 2 || argc == 4 || argc > 5 || realpath(argv[1], root) == NULL) {
        (void)fprintf(stderr,
                      "usage: http_server DIR [PORT [CERTIFICATE KEY]]\n");
        return 2;
    }
    server.root = strcmp(root, "/") == 0 ? "" : root;
    server.port = argc > 2 ? (uint16_t)strtoul(argv[2], NULL, 10) : 8000;
    if (argc == 5) {
        kolk_tls_options options = {
            .is_server = true, .certificate = argv[3], .key = argv[4]};
        err = kolk_tls_context_new(&options, &server.tls);
    }
    err = err < 0 ? err : kolk_run(serve_until_signal, &server);
    if (err < 0) {
        (void)fprintf(stderr, "http_server: %s %s\n", kolk_strerror(err),
                      kolk_tls_last_error());
    }
    kolk_tls_context_unref(server.tls);
    return err < 0;
}
