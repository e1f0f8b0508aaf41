/* host_connect.c - a host that looks up names and connects.
 *
 * SPDX-License-Identifier: MIT
 *
 * There is neither a stack nor a task in it. What waits is an object of the
 * language, which the collector must find in the loop, and the loop's pool
 * must not run code of the language.
 */
#include "host.h"
#include "names.h"
#include "places.h"

static const struct name table[] = {
    {.host = "one", .addresses = {"127.0.0.2", "127.0.0.1"}},
    {.host = "slow", .addresses = {"127.0.0.1"}, .is_slow = true},
    {0},
};

static char port[8];

/* Opens a place for "one", behind one that refuses. */
static void
connect_begin(void)
{
    kolk_address good = place_good("127.0.0.1", 0, NULL);

    (void)snprintf(port, sizeof port, "%u", (unsigned)kolk_address_port(&good));
    (void)place_bad("127.0.0.2", kolk_address_port(&good));
    names_begin(table);
    host_begin();
}

static int
lookup_ended(host_object *self)
{
    kolk_lookup *lookup = host_lookup_of(self);

    if (lookup->result < 0) {
        return lookup->result;
    }
    kolk__sys.freeaddrinfo(lookup->addresses);
    CHECK_INT(host_collect(), 0);
    return host_stop(self);
}

TEST(a_lookup_runs_code_of_the_language_with_its_lock)
{
    connect_begin();
    host_loop *loop = host_loop_new();
    host_object *lookup = host_new(loop, HOST_LOOKUP, 'l', lookup_ended);
    CHECK_OK(host_look_up(lookup, "one", port));
    CHECK_INT(host_collect(), 0);
    host_unref(lookup); /* the loop has the other reference */
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "l");
    CHECK_INT(host_count(), 1);
    host_loop_unref(loop);
    host_end();
}

static int
connect_ended(host_object *self)
{
    kolk_connector *connector = host_connector_of(self);
    int result = place_own(connector->result);

    kolk_connector_fini(connector);
    CHECK_INT(host_collect(), 0);
    return result < 0 ? result : host_stop(self);
}

TEST(a_connection_runs_code_of_the_language_with_its_lock)
{
    connect_begin();
    host_loop *loop = host_loop_new();
    host_object *connector = host_new(loop, HOST_CONNECTOR, 'c', connect_ended);
    CHECK_OK(host_connect(connector, "one", port));
    CHECK_INT(host_collect(), 0);
    host_unref(connector);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "c");
    CHECK_INT(host_count(), 1);
    host_loop_unref(loop);
    host_end();
}

/* An error of the library's becomes an exception, and ends the run. */
TEST(what_is_cancelled_runs_and_raises)
{
    connect_begin();
    host_loop *loop = host_loop_new();
    host_object *lookup = host_new(loop, HOST_LOOKUP, 'l', lookup_ended);
    host_object *connector = host_new(loop, HOST_CONNECTOR, 'c', connect_ended);
    CHECK_OK(host_look_up(lookup, "slow", port));
    host_cancel(lookup);
    CHECK_INT(host_run(loop), -ECANCELED);
    CHECK_OK(host_connect(connector, "slow", port));
    host_cancel(connector);
    CHECK_INT(host_run(loop), -ECANCELED);
    CHECK_STR(host_notes, "lc");
    names_open(NULL);
    host_unref(lookup);
    host_unref(connector);
    host_loop_unref(loop);
    host_end();
}

/* The loop leads to the objects, the objects to their loop, and nobody else to
 * any. The collector closes the loop, which waits for the thread without the
 * lock. */
TEST(a_collector_finds_the_cycle_of_a_loop_and_what_waits_in_it)
{
    connect_begin();
    host_loop *loop = host_loop_new();
    host_object *lookup = host_new(loop, HOST_LOOKUP, 'l', lookup_ended);
    host_object *connector = host_new(loop, HOST_CONNECTOR, 'c', connect_ended);
    CHECK_OK(host_look_up(lookup, "one", port));
    CHECK_OK(host_connect(connector, "127.0.0.1", port));
    host_unref(lookup);
    host_unref(connector);
    CHECK_INT(host_collect(), 0);
    host_loop_unref(loop);
    CHECK_INT(host_collect(), 3);
    CHECK_STR(host_notes, "");
    host_end();
}

TEST(closing_the_loop_gives_both_back)
{
    connect_begin();
    host_loop *loop = host_loop_new();
    host_object *lookup = host_new(loop, HOST_LOOKUP, 'l', lookup_ended);
    host_object *connector = host_new(loop, HOST_CONNECTOR, 'c', connect_ended);
    CHECK_OK(host_look_up(lookup, "one", port));
    CHECK_OK(host_connect(connector, "one", port));
    host_loop_close(loop);
    CHECK_INT(lookup->drops, 1);
    CHECK_INT(lookup->runs, 0);
    CHECK_INT(connector->drops, 1);
    CHECK_INT(connector->runs, 0);
    host_unref(lookup);
    host_unref(connector);
    host_loop_unref(loop);
    host_end();
}
