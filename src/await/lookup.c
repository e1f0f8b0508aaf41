/* lookup.c - names and addresses, awaited by the current task.
 *
 * SPDX-License-Identifier: MIT
 *
 * What waits is in memory of its own, and not on the task's stack, which may be
 * gone when a loop that is closed gives the lookup back. The other way, to a
 * name, has no form for callbacks: the thread's memory is shared with the task,
 * and the last of the two to know of it frees it.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <kolk/pool.h>

#include "base/sys.h"
#include "net/lookup.h"
#include "task/park.h"

/* ---- a name's addresses ---- */

struct lookup_await {
    kolk_lookup lookup;
    kolk__coro *coro;
};

static void
lookup_ended(kolk_lookup *lookup)
{
    kolk__wake(KOLK_CONTAINER_OF(lookup, struct lookup_await, lookup)->coro,
               lookup->result);
}

/* The loop is closed, and its tasks are gone. */
static void
lookup_dropped(kolk_lookup *lookup)
{
    kolk__sys.free(KOLK_CONTAINER_OF(lookup, struct lookup_await, lookup));
}

static void
lookup_interrupt(kolk__coro *coro)
{
    struct lookup_await *await = coro->object;

    kolk_lookup_cancel(coro->loop, &await->lookup);
}

int
kolk_getaddrinfo(const char *host, const char *service,
                 const struct addrinfo *hints, struct addrinfo **out)
{
    kolk__coro *coro =
        kolk__coro_or_misuse("kolk_getaddrinfo() outside a task");

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    int result;
    if (kolk__lookup_at_once(host, service, hints, &result, out)) {
        return result;
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    struct lookup_await *await = kolk__sys.malloc(sizeof *await);
    if (await == NULL) {
        return -ENOMEM;
    }
    await->coro = coro;
    kolk_lookup_init(&await->lookup, lookup_ended, lookup_dropped);
    result =
        kolk_lookup_start(coro->loop, &await->lookup, host, service, hints);
    if (result == 0) {
        result = kolk__park(coro, "getaddrinfo", lookup_interrupt, await);
    }
    if (result == 0) {
        *out = await->lookup.addresses;
    }
    kolk__sys.free(await);
    return result;
}

/* ---- an address's name ---- */

struct lookup_name {
    atomic_uint refs; /* the task's, and the thread's */
    kolk_address address;
    int flags;
    size_t host_size, service_size; /* of what is asked for */
    char host[NI_MAXHOST];
    char service[NI_MAXSERV];
};

static size_t
name_size(size_t wanted, size_t most)
{
    return wanted < most ? wanted : most;
}

static void
name_unref(void *arg)
{
    struct lookup_name *name = arg;

    if (atomic_fetch_sub_explicit(&name->refs, 1, memory_order_acq_rel) == 1) {
        kolk__sys.free(name);
    }
}

/* In a thread. */
static int
name_work(void *arg)
{
    struct lookup_name *name = arg;

    errno = 0;
    int code = kolk__sys.getnameinfo(
        (struct sockaddr *)&name->address.storage, name->address.size,
        name->host_size > 0 ? name->host : NULL, (socklen_t)name->host_size,
        name->service_size > 0 ? name->service : NULL,
        (socklen_t)name->service_size, name->flags);
    return kolk__resolve_error(code, errno);
}

static struct lookup_name *
name_new(const kolk_address *address, size_t host_size, size_t service_size,
         int flags)
{
    struct lookup_name *name = kolk__sys.malloc(sizeof *name);

    if (name != NULL) {
        atomic_init(&name->refs, 2);
        name->address = *address;
        name->flags = flags;
        name->host_size = name_size(host_size, sizeof name->host);
        name->service_size = name_size(service_size, sizeof name->service);
    }
    return name;
}

int
kolk_getnameinfo(const kolk_address *address, char *host, size_t host_size,
                 char *service, size_t service_size, int flags)
{
    kolk__coro *coro =
        kolk__coro_or_misuse("kolk_getnameinfo() outside a task");

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    host_size = host != NULL ? host_size : 0;
    service_size = service != NULL ? service_size : 0;
    bool is_numeric = (host_size == 0 || (flags & NI_NUMERICHOST) != 0)
                      && (service_size == 0 || (flags & NI_NUMERICSERV) != 0);
    if (!is_numeric && coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    struct lookup_name *name =
        name_new(address, host_size, service_size, flags);
    if (name == NULL) {
        return -ENOMEM;
    }
    int result;
    if (is_numeric) {
        result = name_work(name);
        name_unref(name); /* there is no thread */
    } else {
        result = kolk_run_in_pool_give(NULL, name_work, name, name_unref);
    }
    if (result == 0 && host_size > 0) {
        memcpy(host, name->host, strlen(name->host) + 1);
    }
    if (result == 0 && service_size > 0) {
        memcpy(service, name->service, strlen(name->service) + 1);
    }
    name_unref(name);
    return result;
}
