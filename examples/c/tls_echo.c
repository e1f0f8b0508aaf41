/* tls_echo.c - the same with TLS: a server with a certificate, and a client
 * that checks it.
 *
 *     tls_echo CERTIFICATE KEY      (files in PEM; for the name "localhost")
 *
 * A client that does not know who has signed the certificate refuses it; one
 * that is given it as an authority accepts it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <kolk.h>
#include <stdio.h>

static int
line_serve(kolk_stream *stream, void *arg)
{
    const char *line;
    int size;
    (void)arg;
    while ((size = kolk_stream_readline(stream, &line)) > 0) {
        int err = kolk_stream_write(stream, line, (size_t)size);
        if (err < 0) {
            return err;
        }
    }
    return size;
}

/* Sends a line, and prints what comes back and how it was protected. */
static int
client_talk(kolk_stream *stream)
{
    kolk_tls_engine *tls = kolk_transport_tls(kolk_stream_transport(stream));
    const char *line;
    int err = kolk_stream_print(stream, "a secret\n");
    int size = err < 0 ? err : kolk_stream_readline(stream, &line);
    if (size > 0) {
        (void)printf("%s: %.*s", kolk_tls_version(tls), size, line);
    }
    return size;
}

/* Connects; trusts the system's authorities or, if it is given, that of
 * `ca_file`. */
static int
client_run(const char *service, const char *ca_file)
{
    kolk_tls_options options = {.ca_file = ca_file};
    kolk_tls_client client = {0};
    kolk_stream *stream;
    int err = kolk_tls_context_new(&options, &client.context);
    if (err < 0) {
        return err;
    }
    err = kolk_open_connection("localhost", service, NULL, &client, &stream);
    if (err == 0) {
        err = client_talk(stream);
        (void)kolk_stream_close(stream);
    }
    kolk_tls_context_unref(client.context);
    return err;
}

static int
tls_run(void *arg)
{
    char **argv = arg;
    kolk_tls_options options = {
        .is_server = true, .certificate = argv[1], .key = argv[2]};
    kolk_serve_options serving = {0};
    kolk_server *server;
    char service[16];
    int err = kolk_tls_context_new(&options, &serving.tls);
    if (err < 0) {
        return err;
    }
    err = kolk_serve("localhost", "0", &serving, line_serve, NULL, &server);
    if (err == 0) {
        (void)snprintf(service, sizeof service, "%d", kolk_server_port(server));
        (void)printf("a stranger: %s\n",
                     kolk_strerror(client_run(service, NULL)));
        err = client_run(service, argv[1]);
        kolk_server_close(server);
        kolk_server_unref(server);
    }
    kolk_tls_context_unref(serving.tls);
    return err;
}

int
main(int argc, char **argv)
{
    int err = argc == 3 ? kolk_run(tls_run, argv) : -KOLK_EMISUSE;
    if (err < 0) {
        (void)fprintf(stderr, "tls_echo: %s %s\n", kolk_strerror(err),
                      kolk_tls_last_error());
    }
    return err < 0;
}
