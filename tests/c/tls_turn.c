/* tls_turn.c - so many handshakes of a context at a time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "notes.h"
#include "tls_pair.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* Somebody with a handshake to do. */
struct visitor {
    kolk_tls_turn turn;
    kolk_tls_engine *engine;
    char name;
};

static void
visitor_called(kolk_call *call)
{
    struct visitor *self = KOLK_CONTAINER_OF(call, struct visitor, turn.call);

    note_add(self->name);
}

static void
visitor_leave(struct visitor *self)
{
    self->engine->ops->leave(self->engine);
    kolk_call_cancel(self->turn.loop, &self->turn.call);
}

static void
visitor_fini(void *object)
{
    struct visitor *self = object;

    if (self->engine != NULL) {
        visitor_leave(self);
        self->engine->ops->free(self->engine);
    }
}

static int
visitor_enter(struct visitor *self, kolk_tls_context *context, kolk_loop *loop,
              char name)
{
    *self = (struct visitor){.turn.loop = loop, .name = name};
    kolk_call_init(&self->turn.call, visitor_called, NULL);
    test_later(visitor_fini, self);
    CHECK_OK(kolk_tls_engine_new(context, NULL, &self->engine));
    return self->engine->ops->enter(self->engine, &self->turn);
}

/* A context that lets two in at a time. */
static kolk_tls_context *
context_of_two(void)
{
    return tls_pair_new(NULL, &(kolk_tls_options){.handshakes = 2})
        ->contexts[TLS_SERVER];
}

TEST(others_wait_in_order)
{
    static struct visitor visitors[5];
    kolk_tls_context *context = context_of_two();
    kolk_loop *loop = test_loop_open();

    for (int i = 0; i < 5; i++) {
        CHECK_INT(visitor_enter(&visitors[i], context, loop, (char)('a' + i)),
                  i < 2 ? 0 : -EAGAIN);
    }
    test_settle(loop);
    CHECK_STR(notes, "");
    visitor_leave(&visitors[1]);
    test_settle(loop);
    CHECK_STR(notes, "c");
    visitor_leave(&visitors[1]); /* once is enough */
    test_settle(loop);
    CHECK_STR(notes, "c");
    visitor_leave(&visitors[0]);
    visitor_leave(&visitors[2]);
    test_settle(loop);
    CHECK_STR(notes, "cde");
}

TEST(one_that_gives_up_is_left_out)
{
    static struct visitor visitors[5];
    kolk_tls_context *context = context_of_two();
    kolk_loop *loop = test_loop_open();

    for (int i = 0; i < 5; i++) {
        (void)visitor_enter(&visitors[i], context, loop, (char)('a' + i));
    }
    visitor_leave(&visitors[2]); /* while it waits */
    visitor_leave(&visitors[0]);
    visitor_leave(&visitors[3]); /* called already, but not run */
    test_settle(loop);
    CHECK_STR(notes, "e");
}

TEST(an_engine_that_is_freed_leaves)
{
    static struct visitor visitors[3];
    kolk_tls_context *context = context_of_two();
    kolk_loop *loop = test_loop_open();

    for (int i = 0; i < 3; i++) {
        (void)visitor_enter(&visitors[i], context, loop, (char)('a' + i));
    }
    visitors[0].engine->ops->free(visitors[0].engine);
    visitors[0].engine = NULL;
    test_settle(loop);
    CHECK_STR(notes, "c");
}

TEST_ONCE(without_a_limit_nobody_waits)
{
    static struct visitor visitors[3];
    tls_pair *pair = tls_pair_new(NULL, NULL);
    kolk_loop *loop = test_loop_open();

    for (int i = 0; i < 3; i++) {
        CHECK_OK(
            visitor_enter(&visitors[i], pair->contexts[TLS_SERVER], loop, 'x'));
    }
}

/* ---- several loops ---- */

TEST(a_turn_goes_past_a_loop_that_is_closed)
{
    static struct visitor visitors[4];
    kolk_tls_context *context = context_of_two();
    kolk_loop *loop = test_loop_open(), *closed = test_loop_open();

    for (int i = 0; i < 4; i++) {
        (void)visitor_enter(&visitors[i], context, i == 2 ? closed : loop,
                            (char)('a' + i));
    }
    test_loop_close(closed);
    visitor_leave(&visitors[0]);
    test_settle(loop);
    CHECK_STR(notes, "d");
    /* As what a loop has open does when it is dropped, only too late. */
    visitors[2].engine->ops->free(visitors[2].engine);
    visitors[2].engine = NULL;
}

/* Threads that shake no hands but come and go, each with a loop of its own. */
enum { CROWD = 4, CROWD_ROUNDS = 200 };

static struct {
    kolk_tls_context *context;
    int inside; /* atomic */
    int errors; /* atomic */
} crowd;

static void
crowd_called(kolk_call *call)
{
    struct visitor *self = KOLK_CONTAINER_OF(call, struct visitor, turn.call);

    kolk_loop_stop(self->turn.loop);
}

static int
crowd_round(struct visitor *self)
{
    int err = kolk_tls_engine_new(crowd.context, NULL, &self->engine);

    if (err < 0) {
        return err;
    }
    if (self->engine->ops->enter(self->engine, &self->turn) == -EAGAIN) {
        err = kolk_run_forever(self->turn.loop);
    }
    if (__atomic_add_fetch(&crowd.inside, 1, __ATOMIC_RELAXED) > 2) {
        err = -EBUSY;
    }
    __atomic_sub_fetch(&crowd.inside, 1, __ATOMIC_RELAXED);
    self->engine->ops->free(self->engine);
    return err;
}

static void *
crowd_run(void *unused)
{
    struct visitor self = {0};
    int err = kolk_loop_open(NULL, &self.turn.loop);

    (void)unused;
    kolk_call_init(&self.turn.call, crowd_called, NULL);
    for (int i = 0; i < CROWD_ROUNDS && err == 0; i++) {
        err = crowd_round(&self);
    }
    if (self.turn.loop != NULL) {
        (void)kolk_loop_close(self.turn.loop);
    }
    if (err < 0) {
        __atomic_add_fetch(&crowd.errors, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

TEST_TIME(threads_wait_for_each_others_handshakes)
{
    pthread_t threads[CROWD];

    crowd.context = context_of_two();
    for (int i = 0; i < CROWD; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, crowd_run, NULL), 0);
    }
    for (int i = 0; i < CROWD; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    CHECK_INT(crowd.errors, 0);
}

/* ---- children ---- */

TEST_TIME(in_a_child_nobody_of_the_parents_is_in_flight)
{
    static struct visitor visitors[3], child[3];
    kolk_tls_context *context = context_of_two();
    kolk_loop *loop = test_loop_open();
    int status = -1;

    for (int i = 0; i < 3; i++) {
        (void)visitor_enter(&visitors[i], context, loop, (char)('a' + i));
    }
    pid_t pid = fork();
    CHECK_OK(pid);
    if (pid == 0) {
        bool is_right = true;

        for (int i = 0; i < 3; i++) { /* no loop is needed to enter */
            is_right &= visitor_enter(&child[i], context, loop, 'x')
                        == (i < 2 ? 0 : -EAGAIN);
        }
        for (int i = 0; i < 3; i++) {
            visitors[i].engine->ops->leave(visitors[i].engine);
        }
        is_right &= visitors[2].turn.link.next == NULL;
        _exit(is_right ? 0 : 1);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    visitor_leave(&visitors[0]);
    test_settle(loop);
    CHECK_STR(notes, "c");
}
