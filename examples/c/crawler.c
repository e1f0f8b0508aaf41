/* crawler.c - fetches every page that can be reached, once, at a limited rate.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <kolk.h>
#include <stdio.h>

enum { PAGES = 127, WORKERS = 8, GAP = 1000000 }; /* nanoseconds */

static kolk_queue *queue; /* numbers of pages to be fetched */
static bool is_known[PAGES + 1];
static kolk_time next_start; /* of a fetch, GAP after the one before */
static int fetched;

static int
page_serve(kolk_stream *stream, void *arg)
{
    const char *request;
    int page = 0;
    (void)arg;
    int size = kolk_stream_readline(stream, &request);
    if (size <= 0 || sscanf(request, "GET /%d ", &page) != 1) {
        return size;
    }
    return kolk_stream_print(stream, "/%d\n/%d\n", 2 * page, 2 * page + 1);
}

static int
page_add(int page)
{
    bool is_new = page >= 1 && page <= PAGES && !is_known[page];
    is_known[is_new ? page : 0] = true;
    return is_new ? kolk_queue_try_put(queue, &page) : 0; /* it has no bound */
}

static int
page_fetch(const char *service, int page)
{
    kolk_stream *stream = NULL;
    const char *line;
    int link;
    int err = kolk_open_connection("localhost", service, NULL, NULL, &stream);
    err = err < 0 ? err : kolk_stream_print(stream, "GET /%d HTTP/1.0\n", page);
    while (err >= 0 && (err = kolk_stream_readline(stream, &line)) > 0) {
        err = sscanf(line, "/%d\n", &link) == 1 ? page_add(link) : 0;
    }
    fetched += err == 0;
    kolk_stream_free(stream);
    return err;
}

static int
worker_run(void *service)
{
    int page, err = 0;
    while (err == 0 && (err = kolk_queue_get(queue, &page)) == 0) {
        kolk_time now = kolk_now(NULL);
        next_start = (now > next_start ? now : next_start) + GAP;
        err = kolk_sleep_until(next_start - GAP);
        err = err < 0 ? err : page_fetch(service, page);
        (void)kolk_queue_task_done(queue); /* as often as it was filled */
    }
    return err == -ESHUTDOWN ? 0 : err;
}

static int
crawler_run(void *arg)
{
    kolk_server *server;
    char service[16];
    (void)arg;
    int err = kolk_serve("localhost", "0", NULL, page_serve, NULL, &server);
    if (err < 0) {
        return err;
    }
    (void)snprintf(service, sizeof service, "%d", kolk_server_port(server));
    err = page_add(1);
    KOLK_GROUP(workers);
    for (int i = 0; i < WORKERS && err == 0; i++) {
        err = kolk_group_spawn(&workers, worker_run, service, NULL);
    }
    err = err < 0 ? err : kolk_queue_join(queue);
    kolk_queue_shutdown(queue, false);
    err = kolk_group_end(&workers, err);
    kolk_server_close(server);
    kolk_server_unref(server);
    return err;
}

int
main(void)
{
    kolk_queue_options options = {.item_size = sizeof(int)};
    int err = kolk_queue_new(&options, &queue);
    err = err < 0 ? err : kolk_run(crawler_run, NULL);
    (void)printf("%d of %d pages fetched\n", fetched, PAGES);
    return err < 0 || kolk_queue_free(queue) < 0;
}
