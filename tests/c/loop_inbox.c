/* loop_inbox.c - other threads, signals, and forks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "notes.h"

#include "base/sys.h"

#include <kolk/trace.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

/* ---- pushes from threads ---- */

struct pusher {
    pthread_t thread;
    kolk_inbox *inbox;
    kolk_loop *loop;
    struct push *pushes;
    size_t count;
    size_t next; /* the number that has to come next */
};

struct push {
    kolk_call call;
    struct pusher *pusher;
    size_t number;
};

static size_t pushers_left;

static void
push_arrive(kolk_call *call)
{
    struct push *push = KOLK_CONTAINER_OF(call, struct push, call);
    struct pusher *self = push->pusher;

    CHECK_INT(push->number, self->next);
    if (++self->next == self->count && --pushers_left == 0) {
        kolk_loop_stop(self->loop);
    }
}

static void *
pusher_run(void *arg)
{
    struct pusher *self = arg;

    for (size_t i = 0; i < self->count; i++) {
        if (!CHECK_OK(kolk_inbox_push(self->inbox, &self->pushes[i].call))) {
            break;
        }
    }
    kolk_inbox_unref(self->inbox);
    return NULL;
}

static void
pusher_start(struct pusher *self, kolk_loop *loop, size_t count)
{
    self->loop = loop;
    self->inbox = kolk_inbox_ref(kolk_loop_inbox(loop));
    self->count = count;
    self->pushes = calloc(count, sizeof *self->pushes);
    CHECK(self->pushes != NULL);
    for (size_t i = 0; i < count; i++) {
        kolk_call_init(&self->pushes[i].call, push_arrive, NULL);
        self->pushes[i].pusher = self;
        self->pushes[i].number = i;
    }
    pushers_left++;
    CHECK_INT(pthread_create(&self->thread, NULL, pusher_run, self), 0);
}

TEST_TIME(pushes_of_a_thread_arrive_in_order_and_none_is_lost)
{
    enum { THREADS = 4 };
    static struct pusher pushers[THREADS];
    kolk_loop *loop = test_real_loop_open();
    size_t count = test_count(20000);

    for (int i = 0; i < THREADS; i++) {
        pusher_start(&pushers[i], loop, count);
    }
    CHECK_OK(kolk_run_forever(loop));
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_join(pushers[i].thread, NULL), 0);
        CHECK_INT(pushers[i].next, count);
        free(pushers[i].pushes);
    }
}

TEST(a_push_after_close_is_an_error)
{
    kolk_loop *loop = test_loop_open();
    kolk_inbox *inbox = kolk_inbox_ref(kolk_loop_inbox(loop));
    static struct note a;

    note_init(&a, loop, 'a');
    test_loop_close(loop);
    int result = kolk_inbox_push(inbox, &a.call);
    bool pending = kolk_call_is_pending(&a.call);
    kolk_inbox_wake(inbox); /* harmless */
    kolk_inbox_unref(inbox);
    CHECK_ERR(result, -ESHUTDOWN);
    CHECK(!pending);
    CHECK_INT(a.drops, 0);
}

/* The eventfd's number belongs to the inbox until the last reference goes, so
 * a late wake-up cannot be written into somebody else's file. */
TEST(a_late_wake_up_reaches_no_other_descriptor)
{
    kolk_loop *loop = test_loop_open();
    kolk_inbox *inbox = kolk_inbox_ref(kolk_loop_inbox(loop));
    int fds[2];
    char byte;

    test_loop_close(loop);
    test_pipe(fds);
    kolk_inbox_wake(inbox);
    kolk_inbox_unref(inbox);
    CHECK_INT(read(fds[0], &byte, 1), -1);
}

TEST(a_call_in_the_inbox_is_pending_and_can_be_cancelled)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b;

    note_init(&a, loop, 'a');
    note_init(&b, loop, 'b');
    CHECK_OK(kolk_inbox_push(kolk_loop_inbox(loop), &a.call));
    CHECK_OK(kolk_inbox_push(kolk_loop_inbox(loop), &b.call));
    CHECK(kolk_call_is_pending(&a.call));
    CHECK_ERR(kolk_inbox_push(kolk_loop_inbox(loop), &a.call), -EALREADY);
    CHECK_ERR(kolk_call_soon(loop, &a.call), -EALREADY);
    kolk_call_cancel(loop, &a.call);
    CHECK(!kolk_call_is_pending(&a.call));
    test_settle(loop);
    CHECK_STR(notes, "b");
}

/* ---- wrong thread ---- */

static void *
use_from_thread(void *arg)
{
    struct note *self = arg;

    self->result = kolk_call_soon(self->loop, &self->call);
    return NULL;
}

static void
spawn_thread_and_wait(kolk_call *call)
{
    struct note *self = KOLK_CONTAINER_OF(call, struct note, call);
    pthread_t thread;

    if (CHECK_INT(
            pthread_create(&thread, NULL, use_from_thread, self->then_soon),
            0)) {
        CHECK_INT(pthread_join(thread, NULL), 0);
    }
}

TEST(a_plain_call_soon_from_another_thread_is_misuse)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b;

    note_init(&a, loop, 'a');
    note_init(&b, loop, 'b');
    a.call.fn = spawn_thread_and_wait;
    a.then_soon = &b;
    CHECK_OK(kolk_call_soon(loop, &a.call));
    CHECK_OK(kolk_run_once(loop));
    CHECK_ERR(b.result, -KOLK_EMISUSE);
    CHECK(!kolk_call_is_pending(&b.call));
}

/* ---- signals ---- */

static kolk_inbox *signal_inbox;

static void
signal_handle(int signum)
{
    (void)signum;
    kolk_inbox_wake(signal_inbox);
}

static void *
signal_send(void *arg)
{
    pthread_t *main_thread = arg;

    (void)usleep(20000); /* the loop sleeps by then, most often */
    (void)pthread_kill(*main_thread, SIGUSR1);
    return NULL;
}

TEST_TIME(a_signal_handler_wakes_a_sleeping_loop)
{
    struct sigaction action = {.sa_handler = signal_handle};
    kolk_loop *loop = test_real_loop_open();
    pthread_t self = pthread_self(), thread;
    static struct note a;

    signal_inbox = kolk_loop_inbox(loop);
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    /* Stops after the turn that the wake-up makes. */
    note_init(&a, loop, 'a');
    a.then_stop = true;
    CHECK_OK(kolk_turn_end(loop, &a.call));
    CHECK_INT(pthread_create(&thread, NULL, signal_send, &self), 0);
    CHECK_OK(kolk_run_forever(loop));
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_STR(notes, "a");
}

/* ---- a wake-up that is late ---- */

static ssize_t (*late_write)(int fd, const void *buf, size_t size);
static kolk_loop *late_loop;

/* Before the eventfd is written, the loop takes what was pushed. */
static ssize_t
late_run_first(int fd, const void *buf, size_t size)
{
    kolk_loop *loop = late_loop;

    if (loop != NULL) {
        late_loop = NULL;
        CHECK_OK(kolk_run_once(loop));
    }
    return late_write(fd, buf, size);
}

static void
late_timer_stops(kolk_timer *timer)
{
    (void)timer;
    kolk_loop_stop(kolk_current_loop());
}

static int late_polls;

static void
late_count_poll(kolk_tracer *tracer, kolk_time delay)
{
    (void)tracer, (void)delay;
    late_polls++;
}

TEST_TIME(a_late_wake_up_is_read_and_does_not_keep_the_loop_awake)
{
    static kolk_tracer tracer = {.poll_begin = late_count_poll};
    static struct note a;
    static kolk_timer timer;
    kolk_loop *loop = test_real_loop_open();

    note_init(&a, loop, 'a');
    late_write = kolk__sys.write;
    kolk__sys.write = late_run_first;
    late_loop = loop;
    CHECK_OK(kolk_inbox_push(kolk_loop_inbox(loop), &a.call));
    kolk__sys.write = late_write;
    CHECK_STR(notes, "a");

    kolk_timer_init(&timer, late_timer_stops, NULL);
    CHECK_OK(kolk_call_later(loop, &timer, KOLK_MS(5)));
    kolk_loop_set_tracer(loop, &tracer);
    CHECK_OK(kolk_run_forever(loop));
    kolk_loop_set_tracer(loop, NULL);
    CHECK(late_polls < 10);
}

/* ---- after a fork ---- */

/* Runs `check` in a child; its result, 0 if all is well, or the line. */
static int
fork_check(kolk_loop *loop, int (*check)(kolk_loop *loop))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(check(loop));
    }
    if (CHECK(pid > 0)) {
        CHECK_INT(waitpid(pid, &status, 0), pid);
    }
    return status;
}

#define CHILD_EXPECT(condition)                                                \
    if (!(condition)) {                                                        \
        return __LINE__ % 256;                                                 \
    }

static struct note fork_note;
static kolk_timer fork_timer;
static kolk_watch fork_watch;

static int
fork_child_calls_fail(kolk_loop *loop)
{
    kolk_task *task;

    CHILD_EXPECT(kolk_call_soon(loop, &fork_note.call) == -KOLK_EFORK);
    CHILD_EXPECT(kolk_call_later(loop, &fork_timer, 1) == -KOLK_EFORK);
    CHILD_EXPECT(kolk_run_once(loop) == -KOLK_EFORK);
    CHILD_EXPECT(kolk_run_forever(loop) == -KOLK_EFORK);
    CHILD_EXPECT(kolk_spawn_with(loop, NULL, NULL, NULL, &task) == -KOLK_EFORK);
    CHILD_EXPECT(kolk_inbox_push(kolk_loop_inbox(loop), &fork_note.call)
                 == -KOLK_EFORK);
    kolk_inbox_wake(kolk_loop_inbox(loop));
    CHILD_EXPECT(kolk_loop_close(loop) == 0);

    /* ... and a loop of its own works. */
    kolk_loop *own;
    CHILD_EXPECT(kolk_loop_open(NULL, &own) == 0);
    CHILD_EXPECT(kolk_call_soon(own, &fork_note.call) == 0);
    CHILD_EXPECT(kolk_run_once(own) == 0);
    CHILD_EXPECT(kolk_loop_close(own) == 0);
    return 0;
}

static void
fork_watch_ready(kolk_watch *watch)
{
    char byte;

    CHECK_INT(read(watch->fd, &byte, 1), 1);
    note_add('w');
}

TEST_TIME(after_a_fork_the_childs_calls_fail_and_the_parent_goes_on)
{
    kolk_loop *loop = test_real_loop_open();
    int fds[2];

    test_pipe(fds);
    note_init(&fork_note, loop, 'a');
    kolk_timer_init(&fork_timer, NULL, NULL);
    kolk_watch_init(&fork_watch, fds[0], fork_watch_ready, NULL);
    CHECK_OK(kolk_watch_start(loop, &fork_watch, KOLK_READABLE));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(fork_check(loop, fork_child_calls_fail), 0);

    /* The child has closed its copy; the parent's set still works. */
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_OK(kolk_run_once(loop));
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(notes, "w");
    kolk_watch_stop(loop, &fork_watch);
}
