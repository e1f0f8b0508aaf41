/* graceful.c - a server that finishes what it has begun when Ctrl-C comes.
 *
 *     graceful [PORT]
 *
 * The first Ctrl-C cancels the main task: kolk_run() does that, as asyncio
 * does. It then takes no more connections, gives those that are there GRACE to
 * come to their end, and cancels what is left. A second Ctrl-C ends the
 * program at once. A request takes a second here: try it with two terminals.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <kolk.h>
#include <stdio.h>

#define GRACE KOLK_S(5)

static kolk_server *server;

static int
work_serve(kolk_stream *stream, void *arg)
{
    const char *line;
    int size = 1;
    (void)arg;
    while (size > 0 && kolk_server_is_serving(server)) {
        size = kolk_stream_readline(stream, &line);
        int err = size <= 0 ? size : kolk_stream_print(stream, "working\n");
        err = err < 0 || size <= 0 ? err : kolk_sleep(KOLK_S(1));
        err = err < 0 || size <= 0 ? err : kolk_stream_print(stream, "done\n");
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

/* Waits for the connections that are left. What happens in here does not see
 * the request to cancel that has brought us here. */
static int
connections_finish(void)
{
    (void)printf("\nshutting down, %zu connections to finish\n",
                 kolk_server_count(server));
    KOLK_SHIELD(shield);
    KOLK_TIMEOUT(grace, GRACE);
    int err = kolk_timeout_end(&grace, kolk_server_join(server));
    kolk_shield_end(&shield);
    return err;
}

static int
service_run(void *port)
{
    int err = kolk_serve("localhost", port, NULL, work_serve, NULL, &server);
    if (err < 0) {
        return err;
    }
    (void)printf("localhost:%d until Ctrl-C\n", kolk_server_port(server));
    (void)fflush(stdout);
    while ((err = kolk_sleep_until(KOLK_NEVER)) == 0) {
    }
    kolk_server_close(server);
    int finished = connections_finish();
    kolk_server_unref(server);
    (void)printf("%s\n", finished < 0 ? "some were cut off" : "all finished");
    return err;
}

int
main(int argc, char **argv)
{
    int err = kolk_run(service_run, argc > 1 ? argv[1] : "0");
    if (err < 0 && err != -EINTR) {
        (void)fprintf(stderr, "graceful: %s\n", kolk_strerror(err));
    }
    return err < 0 && err != -EINTR;
}
