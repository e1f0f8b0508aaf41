/* connect.c - connections to names. See kolk/connect.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A connector has a race, in memory of the library's, which is one of the
 * handles of the loop until it has told how it has come out. First the names
 * are looked up, both at the same time; then race.c connects.
 */
#include <errno.h>

#include "base/sys.h"
#include "net/lookup.h"
#include "net/race.h"

enum {
    CONNECTOR_DELAY_MS = 250,
    CONNECTOR_COUNT_MAX = 65535, /* addresses */
};

/* ---- the end ---- */

static void
race_free(kolk__race *race)
{
    if (race->found != NULL) {
        kolk__sys.freeaddrinfo(race->found);
    }
    if (race->local_found != NULL) {
        kolk__sys.freeaddrinfo(race->local_found);
    }
    kolk__sys.free(race->attempts);
    kolk__sys.free(race->tries);
    kolk__sys.free(race);
}

/* Takes the race away from its connector, which gets the list of attempts. */
static kolk_connector *
race_part(kolk__race *race)
{
    kolk_connector *connector = race->connector;

    connector->race = NULL;
    if (race->attempt_count > 0) {
        connector->attempts = race->attempts;
        connector->attempt_count = race->attempt_count;
        race->attempts = NULL;
    }
    kolk__handle_close(&race->handle);
    return connector;
}

static void
race_tell(kolk_call *call)
{
    kolk__race *race = KOLK_CONTAINER_OF(call, kolk__race, call);
    kolk_connector *connector = race_part(race);

    connector->result = race->result;
    connector->peer = race->peer;
    race_free(race);
    connector->fn(connector);
}

/* ---- names ---- */

static size_t
found_count(const struct addrinfo *found)
{
    size_t count = 0;

    for (; found != NULL; found = found->ai_next) {
        count++;
    }
    return count;
}

/* Copies the addresses of a list; what none of ours can hold is left out. */
static size_t
found_copy(const struct addrinfo *found, kolk_address *out)
{
    size_t count = 0;

    for (; found != NULL; found = found->ai_next) {
        if (kolk_address_copy(found->ai_addr, found->ai_addrlen, &out[count])
            == 0) {
            count++;
        }
    }
    return count;
}

/* All names have their addresses. */
static int
race_resolved(kolk__race *race)
{
    int err = kolk__race_reserve(race, found_count(race->found),
                                 found_count(race->local_found));

    if (err < 0) {
        return err;
    }
    race->count = found_copy(race->found, race->found_addresses);
    race->local_count = found_copy(race->local_found, race->local);
    if (race->count == 0) {
        return EAI_NONAME - KOLK_ERESOLVE;
    }
    kolk__race_begin(race, race->found_addresses);
    return 0;
}

/* One of the lookups has ended. */
static void
race_found(kolk__race *race, const kolk_lookup *lookup, struct addrinfo **out)
{
    int err = lookup->result;

    race->lookups--;
    *out = lookup->addresses;
    if (err == 0 && race->lookups == 0) {
        err = race_resolved(race);
    }
    if (err < 0) {
        kolk__race_end(race, err);
    }
}

static void
race_found_peer(kolk_lookup *lookup)
{
    kolk__race *race = KOLK_CONTAINER_OF(lookup, kolk__race, lookup);

    race_found(race, lookup, &race->found);
}

static void
race_found_local(kolk_lookup *lookup)
{
    kolk__race *race = KOLK_CONTAINER_OF(lookup, kolk__race, local_lookup);

    race_found(race, lookup, &race->local_found);
}

/* `options` still has the caller's names. */
static int
race_look_up(kolk__race *race, const char *host, const char *service,
             const kolk_connect_options *options)
{
    const struct addrinfo hints = {.ai_flags = options->flags,
                                   .ai_family = options->family,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_protocol = options->protocol};

    kolk_lookup_init(&race->lookup, race_found_peer, NULL);
    kolk_lookup_init(&race->local_lookup, race_found_local, NULL);
    int err =
        kolk_lookup_start(race->loop, &race->lookup, host, service, &hints);
    if (err < 0) {
        return err;
    }
    race->lookups = 1;
    if (options->local_host == NULL && options->local_service == NULL) {
        return 0;
    }
    err =
        kolk_lookup_start(race->loop, &race->local_lookup, options->local_host,
                          options->local_service, &hints);
    race->lookups = 2;
    if (err < 0) {
        kolk__lookup_forget(race->loop, &race->lookup);
    }
    return err;
}

/* ---- the loop ---- */

static void *
race_node(kolk__handle *handle)
{
    return KOLK_CONTAINER_OF(handle, kolk__race, handle)->connector;
}

static void
race_drop(kolk_loop *loop, kolk__handle *handle)
{
    kolk__race *race = KOLK_CONTAINER_OF(handle, kolk__race, handle);

    kolk__lookup_forget(loop, &race->lookup);
    kolk__lookup_forget(loop, &race->local_lookup);
    kolk__race_close(race);
    kolk_connector *connector = race_part(race);
    race_free(race);
    kolk_connector_fini(connector);
    if (connector->dropped != NULL) {
        connector->dropped(connector);
    }
}

static const kolk__handle_ops race_handle = {
    .kind = KOLK_NODE_CONNECTOR,
    .node = race_node,
    .drop = race_drop,
};

/* ---- connectors ---- */

void
kolk_connector_init(kolk_connector *connector, kolk_connector_fn *fn,
                    kolk_connector_fn *dropped)
{
    *connector = (kolk_connector){.fn = fn, .dropped = dropped};
}

void
kolk_connector_fini(kolk_connector *connector)
{
    union {
        const kolk_attempt *from;
        void *to;
    } attempts = {.from = connector->attempts};

    kolk__sys.free(attempts.to);
    connector->attempts = NULL;
    connector->attempt_count = 0;
}

bool
kolk_connector_is_pending(const kolk_connector *connector)
{
    return connector->race != NULL;
}

/* A race for `connector`. Returns 0 or an error. */
static int
connector_race(kolk_loop *loop, kolk_connector *connector,
               const kolk_connect_options *options, kolk__race **out)
{
    int err = kolk__loop_check(loop, "starting a connector");

    if (err < 0) {
        return err;
    }
    if (connector->race != NULL) {
        return -EALREADY;
    }
    kolk__race *race = kolk__sys.calloc(1, sizeof *race);
    if (race == NULL) {
        return -ENOMEM;
    }
    race->loop = loop;
    race->connector = connector;
    race->options = *options;
    race->options.local_host = race->options.local_service = NULL;
    race->options.local = NULL;
    if (race->options.delay == 0) {
        race->options.delay = KOLK_MS(CONNECTOR_DELAY_MS);
    }
    if (race->options.interleave == 0) {
        race->options.interleave = 1;
    }
    kolk_call_init(&race->call, race_tell, NULL);
    *out = race;
    return 0;
}

/* From here on the connector is pending. */
static void
connector_begin(kolk_connector *connector, kolk__race *race)
{
    kolk_connector_fini(connector);
    connector->race = race;
    kolk__handle_open(race->loop, &race->handle, &race_handle);
}

static const kolk_connect_options connector_defaults;

int
kolk_connector_start(kolk_loop *loop, kolk_connector *connector,
                     const char *host, const char *service,
                     const kolk_connect_options *options)
{
    kolk__race *race;

    options = options != NULL ? options : &connector_defaults;
    int err = connector_race(loop, connector, options, &race);
    if (err < 0) {
        return err;
    }
    err = race_look_up(race, host, service, options);
    if (err < 0) {
        race_free(race);
        return err;
    }
    connector_begin(connector, race);
    return 0;
}

int
kolk_connector_start_to(kolk_loop *loop, kolk_connector *connector,
                        const kolk_address *addresses, size_t count,
                        const kolk_connect_options *options)
{
    kolk__race *race;

    options = options != NULL ? options : &connector_defaults;
    if (count == 0 || count > CONNECTOR_COUNT_MAX
        || options->local_count > CONNECTOR_COUNT_MAX) {
        return -EINVAL;
    }
    int err = connector_race(loop, connector, options, &race);
    if (err < 0) {
        return err;
    }
    err = kolk__race_reserve(race, count, options->local_count);
    if (err < 0) {
        race_free(race);
        return err;
    }
    for (size_t i = 0; i < options->local_count; i++) {
        race->local[i] = options->local[i];
    }
    connector_begin(connector, race);
    kolk__race_begin(race, addresses);
    return 0;
}

void
kolk_connector_cancel(kolk_loop *loop, kolk_connector *connector)
{
    kolk__race *race = connector->race;

    if (race == NULL || race->is_over
        || kolk__loop_check(loop, "kolk_connector_cancel()") < 0) {
        return;
    }
    if (!kolk__race_end_won(race)) {
        kolk__race_end(race, -ECANCELED);
    }
}
