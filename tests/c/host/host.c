/* host.c - the objects of the language, its lock, and its loops. See host.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each callback of a node finds the object around it and goes through
 * host_ran(), each `dropped` through host_dropped(): there the reference that
 * the loop had comes back. An exception is parked on the loop object, and the
 * run is broken off; host_run() returns it.
 */
#include "host.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host_heap.h"

char host_notes[256];
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
    (void)hooks;
    host_lock_take();
    host_thread.is_blocked = false;
    host_calls.empty += host_thread.calls == 0;
    errno = ERANGE; /* an interpreter minds errno as little as this */
}

/* ---- objects ---- */

static void
host_free(host_object *self)
{
    if (self->kind == HOST_LOOP) {
        host_loop_close((host_loop *)self);
    }
    host_set_argument(self, NULL);
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

/* The loop's reference has come back. */
static void
host_return(host_object *self)
{
    self->is_lent = false;
    host_unref(self);
}

void
host_note(char name)
{
    size_t length = strlen(host_notes);

    if (name != '\0' && length < sizeof host_notes - 1) {
        host_notes[length] = name;
    }
}

/* The loop runs `self`. */
static void
host_ran(host_object *self)
{
    CHECK(host_lock_is_mine() && self->is_lent && self->loop->loop != NULL);
    host_ref(self); /* against what the function does */
    if (self->kind != HOST_READER) {
        host_return(self);
    }
    self->runs++;
    host_note(self->name);
    int err = self->fn != NULL ? self->fn(self) : 0;
    if (err < 0) {
        self->loop->raised = err;
        kolk_loop_break(self->loop->loop);
    }
    host_unref(self);
}

/* The loop is closed and gives `self` back. */
static void
host_dropped(host_object *self)
{
    CHECK(host_lock_is_mine() && self->is_lent);
    host_ref(self);
    host_return(self);
    self->drops++;
    if (self->on_drop != NULL) {
        CHECK_OK(self->on_drop(self));
    }
    host_unref(self);
}

/* ---- nodes, and the objects around them ---- */

#define HOST_NODE(kind, member)                                                \
    static void host_##kind##_ran(kolk_##member *node)                         \
    {                                                                          \
        host_ran(&KOLK_CONTAINER_OF(node, host_##kind, member)->object);       \
    }                                                                          \
    static void host_##kind##_dropped(kolk_##member *node)                     \
    {                                                                          \
        host_dropped(&KOLK_CONTAINER_OF(node, host_##kind, member)->object);   \
    }                                                                          \
    kolk_##member *host_##member##_of(host_object *self)                       \
    {                                                                          \
        return &((host_##kind *)self)->member;                                 \
    }

HOST_NODE(handle, call)
HOST_NODE(timer, timer)
HOST_NODE(reader, watch)
HOST_NODE(op, op)

/* Others use the loop too, and the library itself: a node is the host's if its
 * function is. */
#define HOST_OWN(kind, member, node)                                           \
    (((kolk_##member *)(node))->fn == host_##kind##_ran                        \
         ? &KOLK_CONTAINER_OF(node, host_##kind, member)->object               \
         : NULL)

host_object *
host_object_of(kolk_node_kind kind, void *node)
{
    switch (kind) {
    case KOLK_NODE_CALL:
        return HOST_OWN(handle, call, node);
    case KOLK_NODE_TIMER:
        return HOST_OWN(timer, timer, node);
    case KOLK_NODE_WATCH:
        return HOST_OWN(reader, watch, node);
    default:
        return HOST_OWN(op, op, node);
    }
}

static host_object *
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

static void
host_init_node(host_object *self)
{
    switch (self->kind) {
    case HOST_HANDLE:
        kolk_call_init(host_call_of(self), host_handle_ran,
                       host_handle_dropped);
        break;
    case HOST_TIMER:
        kolk_timer_init(host_timer_of(self), host_timer_ran,
                        host_timer_dropped);
        break;
    case HOST_READER:
        kolk_watch_init(host_watch_of(self), -1, host_reader_ran,
                        host_reader_dropped);
        break;
    default:
        kolk_op_init(host_op_of(self), host_op_ran, host_op_dropped);
        break;
    }
}

host_object *
host_new(host_loop *loop, enum host_kind kind, char name, host_fn *fn)
{
    static const size_t sizes[] = {
        [HOST_HANDLE] = sizeof(host_handle),
        [HOST_TIMER] = sizeof(host_timer),
        [HOST_READER] = sizeof(host_reader),
        [HOST_OP] = sizeof(host_op),
    };
    host_object *self = host_alloc(kind, sizes[kind]);

    self->name = name;
    self->fn = fn;
    self->loop = loop;
    host_ref(&loop->object);
    host_init_node(self);
    return self;
}

/* ---- lending ---- */

/* A start returned `err`: does the loop hold one more reference? */
static int
host_lend(host_object *self, int err)
{
    if (err == 0 && !self->is_lent) {
        self->is_lent = true;
        host_ref(self);
    }
    return err;
}

int
host_soon(host_object *handle)
{
    return host_lend(handle,
                     kolk_call_soon(handle->loop->loop, host_call_of(handle)));
}

int
host_step_end(host_object *handle)
{
    return host_lend(handle,
                     kolk_step_end(handle->loop->loop, host_call_of(handle)));
}

int
host_turn_end(host_object *handle)
{
    return host_lend(handle,
                     kolk_turn_end(handle->loop->loop, host_call_of(handle)));
}

int
host_push(kolk_inbox *inbox, host_object *handle)
{
    return host_lend(handle, kolk_inbox_push(inbox, host_call_of(handle)));
}

int
host_call_at(host_object *timer, kolk_time deadline)
{
    return host_lend(
        timer, kolk_call_at(timer->loop->loop, host_timer_of(timer), deadline));
}

int
host_watch(host_object *reader, int fd)
{
    kolk_watch *watch = host_watch_of(reader);

    watch->fd = fd;
    return host_lend(
        reader, kolk_watch_start(reader->loop->loop, watch, KOLK_READABLE));
}

int
host_recv(host_object *op, int fd)
{
    host_op *self = (host_op *)op;

    return host_lend(op, kolk_op_recv(op->loop->loop, &self->op, fd,
                                      self->buffer, sizeof self->buffer, 0));
}

int
host_work(host_object *op, kolk_work_fn *fn, void *arg)
{
    return host_lend(
        op, kolk_op_work(op->loop->loop, host_op_of(op), NULL, fn, arg));
}

void
host_cancel(host_object *self)
{
    kolk_loop *loop = self->loop->loop;

    switch (self->kind) {
    case HOST_HANDLE:
        kolk_call_cancel(loop, host_call_of(self));
        break;
    case HOST_TIMER:
        kolk_timer_stop(loop, host_timer_of(self));
        break;
    case HOST_READER:
        kolk_watch_stop(loop, host_watch_of(self));
        break;
    default:
        kolk_op_cancel(loop, host_op_of(self));
        return;
    }
    if (self->is_lent) {
        host_return(self);
    }
}

void
host_soon_new(host_loop *loop, char name, host_fn *fn)
{
    host_object *self = host_new(loop, HOST_HANDLE, name, fn);

    CHECK_OK(host_soon(self));
    host_unref(self);
}

void
host_later_new(host_loop *loop, kolk_time delay, host_fn *fn)
{
    host_object *self = host_new(loop, HOST_TIMER, '\0', fn);

    CHECK_OK(host_call_at(self, kolk_now(loop->loop) + delay));
    host_unref(self);
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

void
host_begin(void)
{
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
