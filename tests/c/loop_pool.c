/* loop_pool.c - blocking work in threads: bounded, in order, taken back or
 * waited for.
 *
 * SPDX-License-Identifier: MIT
 */
#include "op_kit.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <kolk/pool.h>

#include "base/sys.h"
#include "loop/op.h"

/* A job that waits at a gate, and says where it is. */
struct work {
    struct test_op job;
    int gate; /* a pipe's reading end, or -1 */
    int begun;
    int result;
};

static int
work_do(void *arg)
{
    struct work *work = arg;
    char byte;

    __atomic_store_n(&work->begun, 1, __ATOMIC_RELEASE);
    while (work->gate >= 0 && read(work->gate, &byte, 1) < 0
           && errno == EAGAIN) { /* closed: the test is over */
        (void)usleep(100);
    }
    return work->result;
}

static void
work_start(struct work *work, kolk_loop *loop, kolk_pool *pool, int gate,
           int result)
{
    *work = (struct work){.gate = gate, .result = result};
    test_op_init(&work->job, loop);
    CHECK_OK(kolk_op_work(loop, &work->job.op, pool, work_do, work));
}

static void
work_wait_begun(const struct work *work)
{
    while (!__atomic_load_n(&work->begun, __ATOMIC_ACQUIRE)) {
        (void)usleep(100);
    }
}

static kolk_pool *pool_opened;

static void
pool_close_opened(void *unused)
{
    (void)unused;
    if (pool_opened != NULL) {
        (void)kolk_pool_close(pool_opened, KOLK_NEVER);
    }
}

/* A pool that is closed at the end of the test, after the pipes that the test
 * makes later: so no job is left waiting at a gate. */
static kolk_pool *
pool_open(const kolk_pool_options *options)
{
    CHECK_OK(kolk_pool_open(options, &pool_opened));
    test_later(pool_close_opened, NULL);
    return pool_opened;
}

static int
pool_close(kolk_time delay)
{
    kolk_pool *pool = pool_opened;

    pool_opened = NULL;
    return kolk_pool_close(pool, delay);
}

TEST(results_and_errors_come_back)
{
    kolk_loop *loop = test_real_loop_open();
    struct work good, bad;

    work_start(&good, loop, NULL, -1, 12);
    work_start(&bad, loop, NULL, -1, -ENOSPC);
    CHECK_INT(test_op_wait(&good.job), 12);
    CHECK_INT(test_op_wait(&bad.job), -ENOSPC);
    CHECK(kolk_loop_pool(loop) != NULL);
    CHECK_ERR(kolk_loop_set_pool_threads(loop, 2), -KOLK_EMISUSE);
    CHECK_OK(kolk_loop_close_pool(loop, KOLK_NEVER));
    CHECK_OK(kolk_loop_close_pool(loop, KOLK_NEVER));
    work_start(&good, loop, NULL, -1, 13);
    CHECK_INT(test_op_wait(&good.job), 13);
}

/* ---- threads ---- */

static unsigned busy, busy_most; /* atomically */

static int
count_busy(void *arg)
{
    unsigned now = __atomic_add_fetch(&busy, 1, __ATOMIC_ACQ_REL);
    unsigned most = __atomic_load_n(&busy_most, __ATOMIC_ACQUIRE);

    (void)arg;
    while (now > most
           && !__atomic_compare_exchange_n(&busy_most, &most, now, false,
                                           __ATOMIC_ACQ_REL,
                                           __ATOMIC_ACQUIRE)) {
    }
    (void)usleep(500);
    __atomic_sub_fetch(&busy, 1, __ATOMIC_ACQ_REL);
    return 0;
}

TEST(no_more_threads_than_allowed)
{
    kolk_loop *loop = test_real_loop_open();
    const kolk_pool_options options = {.threads = 3};
    struct test_op ops[30];

    kolk_pool *pool = pool_open(&options);
    for (int i = 0; i < 30; i++) {
        test_op_init(&ops[i], loop);
        CHECK_OK(kolk_op_work(loop, &ops[i].op, pool, count_busy, NULL));
    }
    for (int i = 0; i < 30; i++) {
        CHECK_INT(test_op_wait(&ops[i]), 0);
    }
    CHECK_OK(pool_close(KOLK_NEVER));
    CHECK(busy_most >= 1 && busy_most <= 3);
}

struct look {
    char name[16];
    sigset_t blocked;
};

static int
look_at_thread(void *arg)
{
    struct look *look = arg;

    (void)pthread_getname_np(pthread_self(), look->name, sizeof look->name);
    return -pthread_sigmask(SIG_SETMASK, NULL, &look->blocked);
}

TEST(threads_have_a_name_and_block_every_signal)
{
    kolk_loop *loop = test_real_loop_open();
    const kolk_pool_options options = {.name = "a-name-too-long-for-this"};
    struct look look;
    struct test_op op;

    kolk_pool *pool = pool_open(&options);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_work(loop, &op.op, pool, look_at_thread, &look));
    CHECK_INT(test_op_wait(&op), 0);
    CHECK_OK(pool_close(KOLK_NEVER));
    CHECK_STR(look.name, "a-name-too-l-0");
    CHECK(sigismember(&look.blocked, SIGINT) == 1);
    CHECK(sigismember(&look.blocked, SIGCHLD) == 1);
    CHECK(sigismember(&look.blocked, SIGUSR1) == 1);
}

static int
refuse_thread(pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *),
              void *arg)
{
    (void)out, (void)attr, (void)fn, (void)arg;
    return EAGAIN;
}

TEST(without_a_further_thread_those_that_are_there_do)
{
    kolk_loop *loop = test_real_loop_open();
    struct work works[3], refused;
    struct kolk__sys real = kolk__sys;

    kolk__sys.pthread_create = refuse_thread;
    refused = (struct work){.gate = -1};
    test_op_init(&refused.job, loop);
    int err = kolk_op_work(loop, &refused.job.op, NULL, work_do, &refused);
    kolk__sys = real;
    CHECK_ERR(err, -EAGAIN);
    CHECK(!kolk_op_is_pending(&refused.job.op));

    work_start(&works[0], loop, NULL, -1, 0);
    kolk__sys.pthread_create = refuse_thread;
    work_start(&works[1], loop, NULL, -1, 1);
    work_start(&works[2], loop, NULL, -1, 2);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(test_op_wait(&works[i].job), i);
    }
    kolk__sys = real;
}

/* ---- cancelling ---- */

TEST(a_job_that_has_not_begun_is_taken_back)
{
    kolk_loop *loop = test_real_loop_open();
    struct work first, second, third;
    int fds[2];

    test_pipe(fds);
    CHECK_OK(kolk_loop_set_pool_threads(loop, 1));
    work_start(&first, loop, NULL, fds[0], 1);
    work_start(&second, loop, NULL, -1, 2);
    work_start(&third, loop, NULL, -1, 3);
    work_wait_begun(&first);
    kolk_op_cancel(loop, &second.job.op);
    CHECK_INT(test_op_wait(&second.job), -ECANCELED);
    CHECK_INT(second.begun, 0);

    kolk_op_cancel(loop, &first.job.op); /* runs to its end */
    CHECK_OK(kolk_run_once(loop));
    CHECK(kolk_op_is_pending(&first.job.op));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&first.job), 1);
    CHECK_INT(test_op_wait(&third.job), 3);
}

/* ---- closing ---- */

TEST(closing_waits_for_what_is_queued)
{
    kolk_loop *loop = test_real_loop_open();
    const kolk_pool_options options = {.threads = 1};
    struct work works[3];

    kolk_pool *pool = pool_open(&options);
    for (int i = 0; i < 3; i++) {
        work_start(&works[i], loop, pool, -1, i);
    }
    CHECK_OK(pool_close(KOLK_S(30)));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(works[i].begun, 1);
        CHECK_INT(test_op_wait(&works[i].job), i);
    }
}

TEST(closing_gives_up_after_its_delay)
{
    kolk_loop *loop = test_real_loop_open();
    const kolk_pool_options options = {.threads = 1};
    struct work running, queued;
    int fds[2];

    kolk_pool *pool = pool_open(&options);
    test_pipe(fds);
    work_start(&running, loop, pool, fds[0], 5);
    work_start(&queued, loop, pool, -1, 6);
    work_wait_begun(&running);
    CHECK_ERR(pool_close(KOLK_MS(2)), -ETIMEDOUT);
    CHECK_INT(test_op_wait(&queued.job), -ECANCELED);
    CHECK(kolk_op_is_pending(&running.job.op));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&running.job), 5);
    /* The thread frees the pool when it ends, which is soon. */
    for (int i = 0; i < 100; i++) {
        (void)usleep(100);
    }
}

struct closing {
    int result;
};

static int
close_own(void *arg)
{
    return kolk_pool_close(arg, 0);
}

static void *
close_elsewhere(void *arg)
{
    struct closing *closing = arg;

    closing->result = pool_close(KOLK_NEVER);
    return NULL;
}

TEST(a_pool_that_closes_takes_no_jobs)
{
    kolk_loop *loop = test_real_loop_open();
    struct work running, late = {.gate = -1};
    struct closing closing = {.result = 1};
    struct test_op own;
    pthread_t thread;
    int fds[2], err;

    kolk_pool *pool = pool_open(NULL);
    test_pipe(fds);
    test_op_init(&own, loop);
    CHECK_OK(kolk_op_work(loop, &own.op, pool, close_own, pool));
    CHECK_ERR(test_op_wait(&own), -KOLK_EMISUSE);

    work_start(&running, loop, pool, fds[0], 5);
    work_wait_begun(&running);
    CHECK_INT(pthread_create(&thread, NULL, close_elsewhere, &closing), 0);
    do {
        test_op_init(&late.job, loop);
        err = kolk_op_work(loop, &late.job.op, pool, work_do, &late);
        kolk_op_cancel(loop, &late.job.op);
    } while (err == 0 && test_op_wait(&late.job) != -ECHILD);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_ERR(err, -ESHUTDOWN);
    CHECK_INT(closing.result, 0);
    CHECK_INT(test_op_wait(&running.job), 5);
}

static void *
open_gate(void *arg)
{
    (void)usleep(3000);
    (void)!write(*(int *)arg, "x", 1);
    return NULL;
}

struct gates {
    struct work *queued;
    int fds[2];
};

/* Opens both gates once the job that is queued has been taken back. */
static void *
gates_open(void *arg)
{
    struct gates *gates = arg;

    while (!kolk__pool_has_begun(&gates->queued->job.op)) {
        (void)usleep(100);
    }
    (void)open_gate(&gates->fds[0]);
    return open_gate(&gates->fds[1]);
}

/* A thread that comes back to a loop that has been freed is a classic. */
TEST(closing_the_loop_waits_for_its_jobs_and_drops_them_once)
{
    kolk_loop *loop = test_real_loop_open();
    const kolk_pool_options options = {.threads = 1};
    struct work own, foreign, queued;
    pthread_t thread;
    int fds[2], others[2];

    kolk_pool *pool = pool_open(&options);
    test_pipe(fds);
    test_pipe(others);
    work_start(&own, loop, NULL, fds[0], 1);
    work_start(&foreign, loop, pool, others[0], 2);
    work_start(&queued, loop, pool, -1, 3);
    work_wait_begun(&own);
    work_wait_begun(&foreign);
    struct gates gates = {&queued, {fds[1], others[1]}};
    CHECK_INT(pthread_create(&thread, NULL, gates_open, &gates), 0);
    test_loop_close(loop);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(own.job.drops, 1);
    CHECK_INT(foreign.job.drops, 1);
    CHECK_INT(queued.job.drops, 1);
    CHECK_INT(own.job.runs + foreign.job.runs + queued.job.runs, 0);
    CHECK_INT(queued.begun, 0);
    CHECK_OK(pool_close(KOLK_NEVER));
}

/* ---- loops and processes ---- */

struct user {
    kolk_pool *pool;
    int sum;
};

static void *
use_pool(void *arg)
{
    struct user *user = arg;
    struct work works[20];
    kolk_loop *loop;

    if (kolk_loop_open(NULL, &loop) < 0) {
        return NULL;
    }
    for (int i = 0; i < 20; i++) {
        work_start(&works[i], loop, user->pool, -1, i);
    }
    for (int i = 0; i < 20; i++) {
        user->sum += test_op_wait(&works[i].job);
    }
    (void)kolk_loop_close(loop);
    return NULL;
}

TEST(several_loops_share_a_pool)
{
    struct user users[2] = {{.sum = 0}};
    pthread_t threads[2];

    kolk_pool *pool = pool_open(NULL);
    for (int i = 0; i < 2; i++) {
        users[i].pool = pool;
        CHECK_INT(pthread_create(&threads[i], NULL, use_pool, &users[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    CHECK_INT(users[0].sum, 190);
    CHECK_INT(users[1].sum, 190);
    CHECK_OK(pool_close(KOLK_NEVER));
}

TEST(a_child_process_closes_its_copy_and_the_parent_goes_on)
{
    kolk_loop *loop = test_real_loop_open();
    struct work running;
    int fds[2], status = -1;

    test_pipe(fds);
    work_start(&running, loop, NULL, fds[0], 4);
    work_wait_begun(&running);
    pid_t child = fork();
    if (child == 0) {
        struct work other = {.gate = -1};
        test_op_init(&other.job, loop);
        int err = kolk_op_work(loop, &other.job.op, NULL, work_do, &other);
        _exit(err == -KOLK_EFORK && kolk_loop_close(loop) == 0 ? 0 : 1);
    }
    CHECK(child > 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&running.job), 4);
}

/* ---- files ---- */

static int slow_gate; /* what the slow read waits for */
static int slow_begun;
static int slow_fd_was; /* atomically: the descriptor was still open */

static ssize_t
slow_pread(int fd, void *buf, size_t size, off_t offset)
{
    char byte;

    (void)buf, (void)size, (void)offset;
    __atomic_store_n(&slow_begun, 1, __ATOMIC_RELEASE);
    while (read(slow_gate, &byte, 1) != 1) {
        (void)usleep(100);
    }
    __atomic_store_n(&slow_fd_was, fcntl(fd, F_GETFD) >= 0, __ATOMIC_RELEASE);
    return 0;
}

/* A thread that is about to read a number must not find another file there. */
TEST(a_number_is_not_given_away_while_a_thread_uses_it)
{
    const kolk_loop_options options = {.backend = KOLK_BACKEND_EPOLL};
    kolk_loop *loop = test_real_loop_open_with(&options);
    struct test_op running, queued, closing;
    struct kolk__sys real = kolk__sys;
    pthread_t thread;
    char byte;
    int fds[2];

    test_pipe(fds);
    slow_gate = fds[0];
    int fd = op_own(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    test_op_init(&running, loop);
    test_op_init(&queued, loop);
    test_op_init(&closing, loop);
    CHECK_OK(kolk_loop_set_pool_threads(loop, 1));
    kolk__sys.pread = slow_pread;
    CHECK_OK(kolk_op_pread(loop, &running.op, fd, &byte, 1, 0));
    CHECK_OK(kolk_op_pread(loop, &queued.op, fd, &byte, 1, 0));
    while (!__atomic_load_n(&slow_begun, __ATOMIC_ACQUIRE)) {
        (void)usleep(100);
    }
    CHECK_INT(pthread_create(&thread, NULL, open_gate, &fds[1]), 0);
    CHECK_OK(kolk_op_close(loop, &closing.op, fd));
    op_disown(fd);
    CHECK_INT(test_op_wait(&closing), 0);
    CHECK_INT(test_op_wait(&running), 0);
    CHECK_INT(test_op_wait(&queued), -ECANCELED);
    CHECK_INT(pthread_join(thread, NULL), 0);
    kolk__sys = real;
    CHECK_INT(slow_fd_was, 1);
}
