/* loop_signal.c - signals on the loop: nodes, dispositions, closing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ears.h"

#include <pthread.h>
#include <sys/wait.h>

/* ---- nodes ---- */

TEST(a_signal_runs_its_node_on_the_loop)
{
    static struct ear a;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(a.runs, 0);
    test_settle(loop);
    CHECK_STR(notes, "a");
    CHECK_INT(raise(SIGUSR1), 0);
    test_settle(loop);
    CHECK_STR(notes, "aa");
    kolk_signal_stop(&a.signal);
    CHECK(!kolk_signal_is_started(&a.signal));
}

TEST(signals_that_arrive_before_the_loop_runs_count_once)
{
    static struct ear a;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(raise(SIGUSR1), 0);
    }
    test_settle(loop);
    CHECK_INT(a.runs, 1);
}

static void
ear_raises_twice(struct ear *self)
{
    if (self->runs == 1) {
        CHECK_INT(raise(SIGUSR1), 0);
        CHECK_INT(raise(SIGUSR1), 0);
    }
}

TEST(a_signal_raised_in_its_node_runs_it_in_the_next_turn)
{
    static struct ear a;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    a.then = ear_raises_twice;
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(a.runs, 1);
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(a.runs, 2);
    test_settle(loop);
    CHECK_INT(a.runs, 2);
}

TEST(every_node_of_every_loop_is_told)
{
    static struct ear a, b, c, d;
    kolk_loop *one = test_loop_open(), *two = test_loop_open();

    ear_start(&a, one, 'a', SIGUSR1);
    ear_start(&b, one, 'b', SIGUSR1);
    ear_start(&c, two, 'c', SIGUSR1);
    ear_start(&d, two, 'd', SIGUSR2);
    CHECK_INT(raise(SIGUSR1), 0);
    test_settle(two);
    test_settle(one);
    CHECK_STR(notes, "cab");
    CHECK_INT(raise(SIGUSR2), 0);
    test_settle(one);
    test_settle(two);
    CHECK_STR(notes, "cabd");
}

TEST(a_node_that_is_stopped_does_not_run)
{
    static struct ear a, b;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    ear_start(&b, loop, 'b', SIGUSR1);
    CHECK_INT(raise(SIGUSR1), 0);
    kolk_signal_stop(&a.signal);
    kolk_signal_stop(&a.signal); /* a no-op */
    test_settle(loop);
    CHECK_STR(notes, "b");
    CHECK_INT(a.drops, 0);
}

static struct ear *ear_other;

static void
ear_stops_other(struct ear *self)
{
    (void)self;
    kolk_signal_stop(&ear_other->signal);
}

TEST(a_node_that_is_stopped_after_it_was_queued_does_not_run)
{
    static struct ear a, b;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    ear_start(&b, loop, 'b', SIGUSR1);
    a.then = ear_stops_other;
    ear_other = &b;
    CHECK_INT(raise(SIGUSR1), 0);
    test_settle(loop);
    CHECK_STR(notes, "a");
}

static void
ear_frees_itself(struct ear *self)
{
    kolk_signal_stop(&self->signal);
    free(self);
}

TEST(a_node_may_stop_and_free_itself)
{
    kolk_loop *loop = test_loop_open();
    struct ear *a = calloc(1, sizeof *a);

    CHECK(a != NULL);
    own_install(SIGUSR1);
    ear_start(a, loop, 'a', SIGUSR1);
    a->then = ear_frees_itself;
    CHECK_INT(raise(SIGUSR1), 0);
    test_settle(loop);
    CHECK_STR(notes, "a");
    CHECK(own_is_there(SIGUSR1));
}

static void
ear_starts_again(struct ear *self)
{
    kolk_loop *loop = kolk_current_loop();

    kolk_signal_stop(&self->signal);
    CHECK_OK(kolk_signal_start(loop, &self->signal, SIGUSR2));
}

TEST(a_node_may_go_over_to_another_signal)
{
    static struct ear a;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    a.then = ear_starts_again;
    CHECK_INT(raise(SIGUSR1), 0);
    test_settle(loop);
    CHECK_INT(a.signal.signum, SIGUSR2);
    CHECK_INT(raise(SIGUSR2), 0);
    test_settle(loop);
    CHECK_INT(a.runs, 2);
}

TEST(what_arrived_before_a_node_was_started_is_not_told)
{
    static struct ear a, b;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    CHECK_INT(raise(SIGUSR1), 0);
    kolk_signal_stop(&a.signal);
    ear_start(&b, loop, 'b', SIGUSR1);
    test_settle(loop);
    CHECK_STR(notes, "");
}

TEST(signals_that_cannot_wait_for_a_loop_are_refused)
{
    static const int refused[] = {0,       -1,     65,      1000,
                                  32,      33,     SIGKILL, SIGSTOP,
                                  SIGSEGV, SIGBUS, SIGFPE,  SIGILL};
    static struct ear a;
    kolk_loop *loop = test_loop_open();

    ear_init(&a, 'a');
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        CHECK_ERR(kolk_signal_start(loop, &a.signal, refused[i]), -EINVAL);
        CHECK(!kolk_signal_is_started(&a.signal));
    }
    /* The last one is Valgrind's, and an emulator's. */
    ear_start(&a, loop, 'a', SIGRTMAX - 1);
    CHECK_INT(raise(SIGRTMAX - 1), 0);
    test_settle(loop);
    CHECK_STR(notes, "a");
}

TEST(sigpipe_and_sigchld_can_be_waited_for)
{
    static struct ear a, b;
    kolk_loop *loop = test_loop_open();
    int fds[2];

    test_pipe(fds);
    ear_start(&a, loop, 'p', SIGPIPE);
    ear_start(&b, loop, 'c', SIGCHLD);
    test_close(fds[0]);
    CHECK_INT(write(fds[1], "x", 1), -1);
    test_settle(loop);
    CHECK_STR(notes, "p");
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    CHECK_INT(waitpid(pid, NULL, 0), pid);
    test_settle(loop);
    CHECK_STR(notes, "pc");
}

static void *
start_in_thread(void *arg)
{
    static struct ear b;

    ear_init(&b, 'b');
    CHECK_ERR(kolk_signal_start(arg, &b.signal, SIGUSR1), -KOLK_EMISUSE);
    return NULL;
}

static void
call_starts_in_thread(kolk_call *call)
{
    struct note *self = KOLK_CONTAINER_OF(call, struct note, call);
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, start_in_thread, self->loop), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

TEST(starting_twice_or_from_another_thread_is_an_error)
{
    static struct ear a;
    static struct note note;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    CHECK_ERR(kolk_signal_start(loop, &a.signal, SIGUSR2), -EALREADY);
    CHECK_INT(a.signal.signum, SIGUSR1);
    note_soon(&note, loop, 'n');
    note.call.fn = call_starts_in_thread;
    test_settle(loop);
}

/* ---- dispositions ---- */

TEST(what_was_there_before_is_put_back_when_the_last_node_stops)
{
    static struct ear a, b, c;
    kolk_loop *one = test_loop_open(), *two = test_loop_open();

    own_install(SIGUSR1);
    ear_start(&a, one, 'a', SIGUSR1);
    ear_start(&b, one, 'b', SIGUSR1);
    ear_start(&c, two, 'c', SIGUSR1);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(own_runs, 0);
    kolk_signal_stop(&a.signal);
    kolk_signal_stop(&b.signal);
    CHECK(!own_is_there(SIGUSR1));
    kolk_signal_stop(&c.signal);
    CHECK(own_is_there(SIGUSR1));
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(own_runs, 1);
}

TEST(an_ignored_signal_is_ignored_again_afterwards)
{
    static struct ear a;
    kolk_loop *loop = test_loop_open();
    struct sigaction now;

    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    ear_start(&a, loop, 'a', SIGPIPE);
    kolk_signal_stop(&a.signal);
    CHECK_INT(sigaction(SIGPIPE, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_IGN);
}

TEST(the_handler_restarts_system_calls)
{
    static struct ear a;
    kolk_loop *loop = test_loop_open();
    struct sigaction now;

    ear_start(&a, loop, 'a', SIGUSR1);
    CHECK_INT(sigaction(SIGUSR1, NULL, &now), 0);
    CHECK_INT(now.sa_flags & SA_RESTART, SA_RESTART);
    CHECK_INT(now.sa_flags & (SA_RESETHAND | SA_NODEFER), 0);
}

TEST(a_handler_that_somebody_else_has_set_meanwhile_stays)
{
    static struct ear a, b;
    kolk_loop *loop = test_loop_open();

    ear_start(&a, loop, 'a', SIGUSR1);
    own_install(SIGUSR1);
    kolk_signal_stop(&a.signal);
    CHECK(own_is_there(SIGUSR1));

    /* Or is put back, if a node has been started after that. */
    ear_start(&a, loop, 'a', SIGUSR1);
    own_install(SIGUSR1);
    ear_start(&b, loop, 'b', SIGUSR1);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(own_runs, 0);
    test_settle(loop);
    CHECK_STR(notes, "ab");
    kolk_signal_stop(&a.signal);
    kolk_signal_stop(&b.signal);
    CHECK(own_is_there(SIGUSR1));
}

/* ---- closing, visiting ---- */

TEST(closing_the_loop_drops_each_node_once_and_puts_the_handler_back)
{
    static struct ear a, b;
    kolk_loop *loop = test_loop_open();

    own_install(SIGUSR1);
    ear_start(&a, loop, 'a', SIGUSR1);
    ear_start(&b, loop, 'b', SIGUSR1);
    CHECK_INT(raise(SIGUSR1), 0);
    test_loop_close(loop);
    CHECK_INT(a.drops, 1);
    CHECK_INT(b.drops, 1);
    CHECK_INT(a.runs + b.runs, 0);
    CHECK(own_is_there(SIGUSR1));
    kolk_signal_stop(&a.signal);
}

static kolk_loop *closing_loop;

static void
ear_dropped_tries_again(kolk_signal *signal)
{
    CHECK_ERR(kolk_signal_start(closing_loop, signal, SIGUSR1), -ESHUTDOWN);
    ear_dropped(signal);
}

TEST(a_node_cannot_be_started_on_a_loop_that_is_closed)
{
    static struct ear a;

    closing_loop = test_loop_open();
    own_install(SIGUSR1);
    ear_start(&a, closing_loop, 'a', SIGUSR1);
    a.signal.dropped = ear_dropped_tries_again;
    test_loop_close(closing_loop);
    CHECK_INT(a.drops, 1);
    CHECK(own_is_there(SIGUSR1));
}

struct visit {
    kolk_visitor visitor;
    const void *node;
    int count, others;
};

static int
visit_count(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    struct visit *self = KOLK_CONTAINER_OF(visitor, struct visit, visitor);

    if (kind == KOLK_NODE_SIGNAL && node == self->node) {
        self->count++;
    } else {
        self->others++;
    }
    return 0;
}

static struct visit visited;

static void
ear_visits(struct ear *self)
{
    (void)self;
    CHECK_OK(kolk_loop_visit(kolk_current_loop(), &visited.visitor));
}

TEST(a_visitor_is_shown_a_node_once_queued_or_not)
{
    static struct ear a, b;
    kolk_loop *loop = test_loop_open();

    visited = (struct visit){.visitor.fn = visit_count, .node = &b.signal};
    ear_start(&a, loop, 'a', SIGUSR1);
    a.then = ear_visits;
    ear_start(&b, loop, 'b', SIGUSR1);
    CHECK_OK(kolk_loop_visit(loop, &visited.visitor));
    CHECK_INT(visited.count, 1);
    CHECK_INT(visited.others, 1);
    CHECK_INT(raise(SIGUSR1), 0);
    test_settle(loop); /* `b` is queued while `a` runs */
    CHECK_INT(visited.count, 2);
    CHECK_INT(visited.others, 2);
}
