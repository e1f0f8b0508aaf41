/* http_tour.c - a server and 200 clients in one process, on each backend.
 *
 *     http_tour [-c CLIENTS] [-t CERTIFICATE -k KEY] ROOT [PATH ...]
 *
 * Serves the folder ROOT on a free port of this machine. Every client, a task
 * with one connection, asks for every document: the files PATH below ROOT, the
 * files of folders, or all there are. Each answer is compared with the file on
 * the disk, byte by byte. Ends with status 1 if one was not right. With -t it
 * all goes by TLS; the certificate, a file in PEM, is for "localhost" and its
 * own authority.
 *
 * KOLK_BACKEND in the environment names one backend; else both run in turn.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_documents.h"
#include "http_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tour {
    const char *root;
    kolk_tls_context *server_tls, *client_tls; /* or NULL, both */
    size_t clients;
    struct documents documents;

    /* what came of it, on one backend */
    uint16_t port;
    size_t requests, errors, tasks;
    uint64_t bytes;
    kolk_time duration;
    kolk_time *latencies; /* one per request */
};

struct client {
    struct tour *tour;
    size_t number;
};

/* -EBADMSG stands for an answer that is not the document. */
static const char *
tour_strerror(int err)
{
    return err == -EBADMSG ? "not what is on the disk" : kolk_strerror(err);
}

/* ---- a client ---- */

/* Does `head` announce the document? */
static bool
head_is_right(const char *head, int size, const struct document *document)
{
    char text[1024] = "";
    (void)snprintf(text, sizeof text, "%.*s", size, head);
    const char *length = strcasestr(text, "\nContent-Length: ");
    return strncmp(text, "HTTP/1.1 200 ", 13) == 0 && length != NULL
           && strtoull(length + 17, NULL, 10) == document->size;
}

static int
client_receive(kolk_stream *stream, const struct document *document)
{
    static const kolk_bytes end = {"\r\n\r\n", 4};
    const char *bytes;
    int n = kolk_stream_read_until(stream, &end, 1, &bytes);
    if (n < 0 || !head_is_right(bytes, n, document)) {
        return n < 0 ? n : -EBADMSG;
    }
    for (size_t seen = 0; seen < document->size; seen += (size_t)n) {
        n = kolk_stream_peek(stream, 1, &bytes);
        if (n <= 0) {
            return n < 0 ? n : -ECONNRESET;
        }
        if ((size_t)n > document->size - seen
            || memcmp(document->bytes + seen, bytes, (size_t)n) != 0) {
            return -EBADMSG;
        }
        kolk_stream_skip(stream, (size_t)n);
    }
    return 0;
}

/* Asks for one document, in ten seconds. */
static int
client_fetch(kolk_stream *stream, const struct document *document)
{
    KOLK_TIMEOUT(timeout, KOLK_S(10));
    int err = kolk_stream_print(
        stream, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", document->target);
    err = err < 0 ? err : client_receive(stream, document);
    return kolk_timeout_end(&timeout, err);
}

static int
client_connect(const struct tour *tour, kolk_stream **out)
{
    kolk_tls_client tls = {.context = tour->client_tls, .name = "localhost"};
    char service[8];
    (void)snprintf(service, sizeof service, "%d", tour->port);
    return kolk_open_connection("127.0.0.1", service, NULL,
                                tls.context != NULL ? &tls : NULL, out);
}

/* Asks for every document; each client begins with another one. */
static int
client_run(void *arg)
{
    const struct client *client = arg;
    struct tour *tour = client->tour;
    size_t count = tour->documents.count;
    kolk_stream *stream = NULL;
    int connected = client_connect(tour, &stream);
    for (size_t i = 0; i < count; i++) {
        const struct document *document =
            &tour->documents.all[(client->number + i) % count];
        kolk_time start = kolk_now(NULL);
        int err = connected < 0 ? connected : client_fetch(stream, document);
        tour->latencies[tour->requests++] = kolk_now(NULL) - start;
        if (err == 0) {
            tour->bytes += document->size;
        } else if (tour->errors++ == 0) {
            (void)fprintf(stderr, "%s: %s\n", document->target,
                          tour_strerror(err));
        }
        if (i == 0) {
            size_t tasks = kolk_all_tasks(kolk_current_loop(), NULL, 0);
            tour->tasks = tasks > tour->tasks ? tasks : tour->tasks;
        }
    }
    kolk_stream_free(stream);
    return 0;
}

/* ---- the main task ---- */

static int
clients_run(struct tour *tour)
{
    kolk_spawn_options options = {.name = "client",
                                  .arg_size = sizeof(struct client)};
    int err = 0;
    KOLK_GROUP(clients);
    for (size_t i = 0; i < tour->clients && err == 0; i++) {
        struct client client = {tour, i};
        err = kolk_group_spawn_with(&clients, &options, client_run, &client,
                                    NULL);
    }
    return kolk_group_end(&clients, err);
}

static int
tour_run(void *arg)
{
    const kolk_spawn_options options = {.name = "server", .eager = true};
    struct tour *tour = arg;
    struct http_server server = {.root = tour->root, .tls = tour->server_tls};
    KOLK_GROUP(group);
    int err =
        kolk_group_spawn_with(&group, &options, http_serve, &server, NULL);
    if (err == 0) {
        kolk_time start = kolk_now(NULL);
        tour->port = server.port;
        err = clients_run(tour);
        tour->duration = kolk_now(NULL) - start;
        kolk_group_cancel(&group);
    }
    return kolk_group_end(&group, err);
}

/* ---- the summary ---- */

static int
latency_compare(const void *a, const void *b)
{
    kolk_time x = *(const kolk_time *)a, y = *(const kolk_time *)b;
    return (x > y) - (x < y);
}

/* The latency, in milliseconds, that `percent` of the requests kept within. */
static double
tour_latency(const struct tour *tour, double percent)
{
    size_t rank = (size_t)((double)tour->requests * percent / 100);
    rank = rank < tour->requests ? rank : tour->requests - 1;
    return (double)tour->latencies[rank] / 1e6;
}

/* The most memory that the process has had at once, in MiB. */
static double
peak_memory(void)
{
    char line[256];
    double kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        (void)sscanf(line, "VmHWM: %lf", &kilobytes);
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return kilobytes / 1024;
}

/* Begins a new peak, where the kernel can. */
static void
peak_memory_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (file != NULL) {
        (void)fputs("5", file);
        (void)fclose(file);
    }
}

static void
tour_print(struct tour *tour, kolk_loop *loop)
{
    const char *why;
    const char *backend = kolk_loop_backend(loop, &why);
    double seconds = (double)tour->duration / 1e9;
    qsort(tour->latencies, tour->requests, sizeof *tour->latencies,
          latency_compare);
    (void)printf("%s (%s)%s\n", backend, why,
                 tour->server_tls != NULL ? ", TLS" : "");
    (void)printf("  %zu documents, %zu clients, %zu tasks at once\n",
                 tour->documents.count, tour->clients, tour->tasks);
    (void)printf("  %zu requests, %llu bytes, %zu errors\n", tour->requests,
                 (unsigned long long)tour->bytes, tour->errors);
    (void)printf("  %.0f requests/s: %.3f s in all\n",
                 (double)tour->requests / seconds, seconds);
    (void)printf("  latency p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, "
                 "max %.2f ms\n",
                 tour_latency(tour, 50), tour_latency(tour, 90),
                 tour_latency(tour, 99), tour_latency(tour, 100));
    (void)printf("  peak memory %.1f MiB\n", peak_memory());
}

/* ---- the program ---- */

/* Runs the tour on a loop of its own. Returns 0 if everything was right. */
static int
tour_on(struct tour *tour, kolk_backend backend)
{
    kolk_loop_options options = {.backend = backend};
    kolk_loop *loop;
    kolk_task *task;
    tour->requests = tour->errors = tour->tasks = 0;
    tour->bytes = 0;
    peak_memory_reset();
    int err = kolk_loop_open(&options, &loop);
    if (err < 0) {
        return err;
    }
    err = kolk_spawn_with(loop, NULL, tour_run, tour, &task);
    if (err == 0) {
        err = kolk_run_until(loop, task);
        kolk_future_unref(task);
    }
    if (err == 0) {
        tour_print(tour, loop);
        err = tour->errors > 0 ? -EBADMSG : 0;
    }
    (void)kolk_loop_close(loop);
    return err;
}

static int
tour_on_all(struct tour *tour)
{
    size_t size = tour->clients * tour->documents.count;
    if (size == 0) {
        return -EINVAL;
    }
    tour->latencies = calloc(size, sizeof *tour->latencies);
    if (tour->latencies == NULL) {
        return -ENOMEM;
    }
    int err;
    if (getenv("KOLK_BACKEND") != NULL) {
        err = tour_on(tour, KOLK_BACKEND_DEFAULT);
    } else {
        err = tour_on(tour, KOLK_BACKEND_EPOLL);
        int ring = tour_on(tour, KOLK_BACKEND_URING);
        err = err < 0 ? err : ring;
    }
    free(tour->latencies);
    return err;
}

static int
tour_open_tls(struct tour *tour, const char *certificate, const char *key)
{
    kolk_tls_options server = {
        .is_server = true, .certificate = certificate, .key = key};
    kolk_tls_options client = {.ca_file = certificate};
    int err = kolk_tls_context_new(&server, &tour->server_tls);
    return err < 0 ? err : kolk_tls_context_new(&client, &tour->client_tls);
}

/* Reads the documents that the arguments name, below `root`. */
static int
tour_read(struct tour *tour, char **paths)
{
    int err =
        *paths == NULL ? documents_add(&tour->documents, tour->root, "") : 0;
    for (; *paths != NULL && err == 0; paths++) {
        err = documents_add(&tour->documents, tour->root, *paths);
    }
    return err;
}

static void
tour_fini(struct tour *tour)
{
    documents_fini(&tour->documents);
    kolk_tls_context_unref(tour->server_tls);
    kolk_tls_context_unref(tour->client_tls);
}

int
main(int argc, char **argv)
{
    struct tour tour = {.clients = 200};
    const char *certificate = NULL, *key = NULL;
    int option, err = 0;
    while ((option = getopt(argc, argv, "c:t:k:")) != -1 && option != '?') {
        tour.clients = option == 'c' ? strtoul(optarg, NULL, 10) : tour.clients;
        certificate = option == 't' ? optarg : certificate;
        key = option == 'k' ? optarg : key;
    }
    char *root = optind < argc ? realpath(argv[optind], NULL) : NULL;
    if (option == '?' || root == NULL) {
        (void)fprintf(stderr, "usage: http_tour [-c CLIENTS] [-t CERTIFICATE "
                              "-k KEY] ROOT [PATH ...]\n");
        free(root);
        return 2;
    }
    tour.root = root;
    if (certificate != NULL) {
        err = tour_open_tls(&tour, certificate, key);
    }
    err = err < 0 ? err : tour_read(&tour, argv + optind + 1);
    err = err < 0 ? err : tour_on_all(&tour);
    if (err < 0) {
        (void)fprintf(stderr, "http_tour: %s\n", tour_strerror(err));
    }
    tour_fini(&tour);
    free(root);
    return err < 0;
}
