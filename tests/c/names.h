/* names.h - a name service of the test's own, in the place of the resolver.
 *
 * SPDX-License-Identifier: MIT
 *
 * It knows the names of `names`, each with its addresses or an error, and
 * answers at once, or when the test opens the gate.
 */
#pragma once

#include "kit.h"
#include "kit_sys.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kolk/address.h>

enum { NAMES_ADDRESSES_MAX = 8 };

/* What is known of a name. */
struct name {
    const char *host;
    const char *addresses[NAMES_ADDRESSES_MAX]; /* of any family */
    int code;                                   /* EAI_..., or 0 */
    int system;                                 /* errno beside it */
    bool is_slow;                               /* waits for the gate */
};

/* Atomically, but for the table, which is written before the first thread. */
static struct {
    const struct name *table; /* ends with an empty one */
    bool is_open;             /* the gate */
    int asked, begun, answered;
    int here;         /* how often the loop's own thread has asked */
    pthread_t thread; /* of the loop */
    pthread_mutex_t lock;
    struct addrinfo hints; /* of the last question; guarded by lock */
} names = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void
names_open(void *unused)
{
    (void)unused;
    __atomic_store_n(&names.is_open, true, __ATOMIC_RELEASE);
}

static inline void
names_count(int *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_ACQ_REL);
}

static inline int
names_get(const int *counter)
{
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

/* Waits until `counter` shows `count`. */
static inline void
names_wait(const int *counter, int count)
{
    const int most = 50000; /* times 100 us */

    for (int i = 0; names_get(counter) < count; i++) {
        if (kit_failures() > 0 || (test_is_hard() && i > 100)
            || !CHECK(i < most)) {
            return;
        }
        (void)usleep(100);
    }
}

/* Waits until the gate is open. Where calls fail, there may be too few threads
 * for what a test has in mind, so it is not waited for in earnest. */
static inline void
names_wait_gate(void)
{
    for (int i = 0; !__atomic_load_n(&names.is_open, __ATOMIC_ACQUIRE); i++) {
        if (kit_failures() > 0 || (test_is_hard() && i > 100)) {
            return;
        }
        (void)usleep(100);
    }
}

/* One entry of a list, which the kit counts as memory of the library. */
static inline struct addrinfo *
names_entry(const char *text, const char *service)
{
    struct {
        struct addrinfo info;
        kolk_address address;
    } *entry = kolk__sys.calloc(1, sizeof *entry);
    uint16_t port = (uint16_t)(service != NULL ? strtol(service, NULL, 10) : 0);

    if (entry == NULL
        || (text != NULL
            && kolk_address_parse(text, port, &entry->address) < 0)) {
        kolk__sys.free(entry);
        return NULL;
    }
    entry->info.ai_family = entry->address.storage.ss_family;
    entry->info.ai_socktype = SOCK_STREAM;
    entry->info.ai_addrlen = entry->address.size;
    entry->info.ai_addr = (struct sockaddr *)&entry->address.storage;
    return &entry->info;
}

static inline void
names_freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;

        kolk__sys.free(list);
        list = next;
    }
}

static inline int
names_answer(const struct name *name, const char *service, int family,
             struct addrinfo **out)
{
    struct addrinfo *list = NULL, **end = &list;

    for (int i = 0; i < NAMES_ADDRESSES_MAX && name->addresses[i] != NULL;
         i++) {
        *end = names_entry(name->addresses[i], service);
        if (*end == NULL) {
            names_freeaddrinfo(list);
            return EAI_MEMORY;
        }
        if (family != AF_UNSPEC && (*end)->ai_family != family) {
            kolk__sys.free(*end);
            *end = NULL;
        } else {
            end = &(*end)->ai_next;
        }
    }
    *out = list;
    return list != NULL ? 0 : EAI_NONAME;
}

static inline int
names_getaddrinfo(const char *host, const char *service,
                  const struct addrinfo *hints, struct addrinfo **out)
{
    const struct name *name = names.table;
    const struct name literal = {.addresses = {host}};
    int family = hints != NULL ? hints->ai_family : AF_UNSPEC;

    names_count(&names.asked);
    if (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0) {
        return names_answer(&literal, service, family, out);
    }
    if (pthread_equal(pthread_self(), names.thread)) {
        names_count(&names.here);
    }
    if (hints != NULL) {
        pthread_mutex_lock(&names.lock);
        names.hints = *hints;
        pthread_mutex_unlock(&names.lock);
    }
    names_count(&names.begun);
    while (name->host != NULL && (host == NULL || strcmp(name->host, host))) {
        name++;
    }
    if (name->is_slow) {
        names_wait_gate();
    }
    names_count(&names.answered);
    if (kit_sys_fails("names")) {
        return EAI_AGAIN;
    }
    errno = name->system;
    if (name->code != 0 || name->host == NULL) {
        return name->code != 0 ? name->code : EAI_NONAME;
    }
    return names_answer(name, service, family, out);
}

/* From here on, the resolver is this one. The gate opens at the end of the
 * test, so that no thread is left waiting. */
static inline void
names_begin(const struct name *table)
{
    names.table = table;
    names.thread = pthread_self();
    kolk__sys.getaddrinfo = names_getaddrinfo;
    kolk__sys.freeaddrinfo = names_freeaddrinfo;
    test_later(names_open, NULL);
}
