/* host.c - the objects of the language, its lock, and its loops. See host.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * An exception is parked on the loop object, and the run is broken off;
 * host_run() returns it. So it never passes through the library.
 */
#include "host.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host_heap.h"

char host_notes[256];
volatile sig_atomic_t host_signalled;
host_object host_heap = {.next = &host_heap, .previous = &host_heap};

/* ---- the lock ---- */

static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;
static const void *host_owner; /* a thread's struct, atomically; or NULL */

void
host_lock_take(void)
{
    pthread_mutex_lock(&host_lock);
    __atomic_store_n(&host_owner, &host_thread, __ATOMIC_RELAXED);
}

void
host_lock_give(void)
{
    __atomic_store_n(&host_owner, NULL, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&host_lock);
}

bool
host_lock_is_mine(void)
{
    return __atomic_load_n(&host_owner, __ATOMIC_RELAXED) == &host_thread;
}

void
host_pause(void)
{
    host_lock_give();
    (void)usleep(200);
    host_lock_take();
}

static void
host_before_block(kolk_hooks *hooks)
{
    (void)hooks;
    CHECK(host_lock_is_mine());
    CHECK(host_thread.inside > 0 && !host_thread.is_blocked);
    host_calls.pairs++;
    host_thread.is_blocked = true;
    host_thread.calls = 0;
    host_lock_give();
}

static void
host_after_block(kolk_hooks *hooks)
{
    host_loop *loop = KOLK_CONTAINER_OF(hooks, host_loop, hooks);

    host_lock_take();
    host_thread.is_blocked = false;
    host_calls.empty += host_thread.calls == 0;
    errno = ERANGE; /* an interpreter minds errno as little as this */
    if (host_signalled != 0) {
        host_signalled = 0;
        loop->raised = HOST_EXCEPTION;
        kolk_loop_break(loop->loop);
    }
}

/* ---- objects ---- */

/* Gives up what the object has of the library's, apart from a loop. */
static void
host_give_up(host_object *self)
{
    if (self->kind == HOST_SOCKET) {
        kolk_datagram_unref(host_datagram_of(self));
    }
    if (self->kind == HOST_TRANSPORT) {
        kolk_transport_unref(host_transport_of(self));
    }
    if (self->kind == HOST_CHILD) {
        kolk_process_unref(host_process_of(self));
    }
}

static void
host_free(host_object *self)
{
    if (self->kind == HOST_LOOP) {
        host_loop_close((host_loop *)self);
    }
    host_set_argument(self, NULL);
    host_give_up(self);
    if (self->loop != NULL) {
        host_loop_unref(self->loop);
    }
    self->previous->next = self->next;
    self->next->previous = self->previous;
    free(self);
}

void
host_ref(host_object *self)
{
    self->refs++;
}

void
host_unref(host_object *self)
{
    if (--self->refs == 0) {
        host_free(self);
    }
}

void
host_loop_unref(host_loop *self)
{
    host_unref(&self->object);
}

void
host_set_argument(host_object *self, host_object *argument)
{
    host_object *old = self->argument;

    self->argument = argument;
    if (argument != NULL) {
        host_ref(argument);
    }
    if (old != NULL) {
        host_unref(old);
    }
}

int
host_count(void)
{
    int count = 0;

    for (host_object *at = host_heap.next; at != &host_heap; at = at->next) {
        count++;
    }
    return count;
}

void
host_note(char name)
{
    size_t length = strlen(host_notes);

    if (name != '\0' && length < sizeof host_notes - 1) {
        host_notes[length] = name;
    }
}

host_object *
host_alloc(enum host_kind kind, size_t size)
{
    host_object *self = calloc(1, size);

    CHECK(self != NULL);
    self->kind = kind;
    self->refs = 1;
    self->is_alive = true; /* a collection may be under way */
    self->next = &host_heap;
    self->previous = host_heap.previous;
    host_heap.previous->next = self;
    host_heap.previous = self;
    return self;
}

/* ---- loops ---- */

host_loop *
host_loop_new(void)
{
    kolk_loop *loop = test_real_loop_open();

    if (loop == NULL) {
        return NULL;
    }
    host_loop *self = (host_loop *)host_alloc(HOST_LOOP, sizeof *self);
    self->loop = loop;
    self->hooks = (kolk_hooks){.before_block = host_before_block,
                               .after_block = host_after_block};
    kolk_loop_set_hooks(loop, &self->hooks);
    return self;
}

void
host_loop_close(host_loop *self)
{
    kolk_loop *loop = self->loop;

    if (loop != NULL) {
        host_thread.inside++;
        test_loop_close(loop);
        host_thread.inside--;
        self->loop = NULL;
    }
}

/* Makes an exception of what broke the run off. */
static int
host_run_end(host_loop *self, int err)
{
    int raised = self->raised;

    host_thread.inside--;
    CHECK(host_lock_is_mine());
    self->raised = 0;
    return raised != 0 ? raised : err;
}

int
host_run(host_loop *self)
{
    host_thread.inside++;
    return host_run_end(self, kolk_run_forever(self->loop));
}

int
host_run_or_tire(host_loop *self)
{
    if (test_is_hard()) {
        host_later_new(self, KOLK_MS(200), host_stop);
    }
    return host_run(self);
}

int
host_run_once(host_loop *self)
{
    host_thread.inside++;
    return host_run_end(self, kolk_run_once(self->loop));
}

int
host_run_until(host_loop *self, kolk_future *future)
{
    host_thread.inside++;
    return host_run_end(self, kolk_run_until(self->loop, future));
}

int
host_stop(host_object *self)
{
    kolk_loop_stop(self->loop->loop);
    return 0;
}

int
host_raise(host_object *self)
{
    (void)self;
    return HOST_EXCEPTION;
}

int
host_collects(host_object *self)
{
    self->loop->collected += host_collect();
    return 0;
}

/* ---- a test's begin and end ---- */

/* A test that was broken off has left its objects. */
static void
host_abandon(void *unused)
{
    (void)unused;
    for (host_object *self = host_heap.next; self != &host_heap;
         self = self->next) {
        host_give_up(self);
    }
}

void
host_begin(void)
{
    test_later(host_abandon, NULL);
    host_table_init();
    host_lock_take();
}

void
host_end(void)
{
    (void)host_collect();
    CHECK_INT(host_count(), 0);
    CHECK_STR(host_calls.which, NULL);
    CHECK_INT(host_calls.locked, 0);
    CHECK_INT(host_calls.needless, 0);
    host_lock_give();
}
