/* host_collect.c - the collector of the language. See host.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * An object's references are taken off its count as they are found: by its
 * neighbours, and by the loops, which show what is lent to them. What is left
 * of the count comes from outside: stacks, other threads. All that such
 * objects do not lead to is garbage, a loop with its handles too.
 *
 * The invariant that every collection checks: a loop shows an object once if
 * it is lent, else not at all, and with the right kind.
 */
#include <stdlib.h>

#include "host_heap.h"

/* What to do with each object that one leads to. */
struct collect_walk {
    kolk_visitor visitor;
    void (*each)(host_object *object);
    bool is_first; /* count what is shown */
};

static int
collect_shown(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    static const enum host_kind kinds[] = {
        [KOLK_NODE_CALL] = HOST_HANDLE,
        [KOLK_NODE_TIMER] = HOST_TIMER,
        [KOLK_NODE_WATCH] = HOST_READER,
        [KOLK_NODE_OP] = HOST_OP,
        [KOLK_NODE_SIGNAL] = HOST_SIGNAL,
        [KOLK_NODE_LOOKUP] = HOST_LOOKUP,
        [KOLK_NODE_CONNECTOR] = HOST_CONNECTOR,
        [KOLK_NODE_SERVER] = HOST_SERVER,
        [KOLK_NODE_DATAGRAM] = HOST_SOCKET,
        [KOLK_NODE_TRANSPORT] = HOST_TRANSPORT,
        [KOLK_NODE_PROCESS] = HOST_CHILD,
    };
    const struct collect_walk *walk =
        KOLK_CONTAINER_OF(visitor, struct collect_walk, visitor);
    host_object *object = host_object_of(kind, node);

    if (object == NULL) {
        return 0;
    }
    if (walk->is_first) {
        CHECK_INT(object->kind, kinds[kind]);
        object->shown++;
    }
    walk->each(object);
    return 0;
}

/* Goes to everything that `self` refers to. */
static void
collect_walk(host_object *self, void (*each)(host_object *object),
             bool is_first)
{
    struct collect_walk walk = {
        .visitor.fn = collect_shown, .each = each, .is_first = is_first};

    if (self->kind == HOST_LOOP && ((host_loop *)self)->loop != NULL) {
        CHECK_INT(kolk_loop_visit(((host_loop *)self)->loop, &walk.visitor), 0);
    }
    if (self->loop != NULL) {
        each(&self->loop->object);
    }
    if (self->argument != NULL) {
        each(self->argument);
    }
}

static void
collect_explain(host_object *object)
{
    object->unexplained--;
}

static void
collect_mark(host_object *object)
{
    if (!object->is_alive) {
        object->is_alive = true;
        collect_walk(object, collect_mark, false);
    }
}

/* Finds out which objects are alive. */
static void
collect_find(void)
{
    host_object *at;

    for (at = host_heap.next; at != &host_heap; at = at->next) {
        at->unexplained = at->refs;
        at->shown = 0;
        at->is_alive = false;
    }
    for (at = host_heap.next; at != &host_heap; at = at->next) {
        collect_walk(at, collect_explain, true);
    }
    for (at = host_heap.next; at != &host_heap; at = at->next) {
        CHECK_INT(at->shown, at->is_lent);
        CHECK(at->unexplained >= 0);
        if (at->unexplained > 0) {
            collect_mark(at);
        }
    }
}

/* Takes everything from `self` that it refers to. */
static void
collect_clear(host_object *self)
{
    host_loop *loop = self->loop;

    if (self->kind == HOST_LOOP) {
        host_loop_close((host_loop *)self);
    }
    host_set_argument(self, NULL);
    self->loop = NULL;
    if (loop != NULL) {
        host_loop_unref(loop);
    }
}

/* The first garbage at or after `at`, or NULL. */
static host_object *
collect_next(host_object *at)
{
    while (at != &host_heap && at->is_alive) {
        at = at->next;
    }
    return at != &host_heap ? at : NULL;
}

int
host_collect(void)
{
    int count = 0;

    CHECK(host_lock_is_mine());
    collect_find();
    host_object *first = collect_next(host_heap.next);
    for (host_object *at = first; at != NULL; at = collect_next(at->next)) {
        host_ref(at);
    }
    for (host_object *at = first; at != NULL; at = collect_next(at->next)) {
        if (at->kind == HOST_LOOP) {
            collect_clear(at); /* gives objects back that know their loop */
        }
    }
    for (host_object *at = first; at != NULL; at = collect_next(at->next)) {
        collect_clear(at);
    }
    for (host_object *at = first; at != NULL;) {
        host_object *next = collect_next(at->next);

        host_unref(at);
        count++;
        at = next;
    }
    return count;
}
