/* connect.c - connections, awaited by the current task.
 *
 * SPDX-License-Identifier: MIT
 *
 * The connector is in memory of its own, and not on the task's stack, which may
 * be gone when a loop that is closed gives it back.
 */
#include <kolk/connect.h>

#include "base/sys.h"
#include "task/park.h"

struct connect_await {
    kolk_connector connector;
    kolk__coro *coro;
};

static void
connect_ended(kolk_connector *connector)
{
    struct connect_await *await =
        KOLK_CONTAINER_OF(connector, struct connect_await, connector);

    kolk__wake(await->coro, connector->result);
}

static void
connect_free(kolk_connector *connector)
{
    kolk_connector_fini(connector);
    kolk__sys.free(
        KOLK_CONTAINER_OF(connector, struct connect_await, connector));
}

static void
connect_interrupt(kolk__coro *coro)
{
    struct connect_await *await = coro->object;

    kolk_connector_cancel(coro->loop, &await->connector);
}

/* The current task, prepared to wait; or NULL and why not in `*err`. */
static struct connect_await *
connect_begin(const char *what, int *err)
{
    kolk__coro *coro = kolk__coro_or_misuse(what);

    if (coro == NULL) {
        *err = -KOLK_EMISUSE;
        return NULL;
    }
    if (coro->is_cancelled) {
        *err = kolk__wait_refused(coro);
        return NULL;
    }
    struct connect_await *await = kolk__sys.malloc(sizeof *await);
    if (await == NULL) {
        *err = -ENOMEM;
        return NULL;
    }
    await->coro = coro;
    kolk_connector_init(&await->connector, connect_ended, connect_free);
    return await;
}

/* `result` is what the start has come to. */
static int
connect_wait(struct connect_await *await, int result)
{
    if (result == 0) {
        result = kolk__park(await->coro, "connect", connect_interrupt, await);
    }
    connect_free(&await->connector);
    return result;
}

int
kolk_connect_to(const char *host, const char *service,
                const kolk_connect_options *options)
{
    int err;
    struct connect_await *await =
        connect_begin("kolk_connect_to() outside a task", &err);

    if (await == NULL) {
        return err;
    }
    err = kolk_connector_start(await->coro->loop, &await->connector, host,
                               service, options);
    return connect_wait(await, err);
}

int
kolk_connect_unix(const char *path, size_t size)
{
    kolk_address address;
    int err = kolk_address_unix(path, size, &address);

    if (err < 0) {
        return err;
    }
    struct connect_await *await =
        connect_begin("kolk_connect_unix() outside a task", &err);
    if (await == NULL) {
        return err;
    }
    err = kolk_connector_start_to(await->coro->loop, &await->connector,
                                  &address, 1, NULL);
    return connect_wait(await, err);
}
