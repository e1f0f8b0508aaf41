/* host_crowd.c - many loops in many threads, and thousands one after another.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dirent.h>
#include <pthread.h>

#include "host.h"

/* ---- many loops ---- */

enum { CROWD = 4 };

/* Threads with a loop each, which push to the next one's. */
static struct crowd_member {
    pthread_t thread;
    kolk_inbox *inbox;
    size_t rounds;
    size_t arrived, pushed;
} crowd[CROWD];

static int crowd_ready;

static struct crowd_member *
crowd_member_of(host_object *self)
{
    for (int i = 0; i < CROWD; i++) {
        if (crowd[i].inbox == kolk_loop_inbox(self->loop->loop)) {
            return &crowd[i];
        }
    }
    return NULL;
}

static int
crowd_arrive(host_object *self)
{
    struct crowd_member *here = crowd_member_of(self);

    here->arrived++;
    return here->arrived == here->rounds ? host_stop(self) : 0;
}

/* Pushes an object of the next loop to its inbox, again and again. */
static int
crowd_push(host_object *self)
{
    struct crowd_member *here = crowd_member_of(self);
    struct crowd_member *next = &crowd[(here - crowd + 1) % CROWD];
    host_loop *loop = (host_loop *)self->argument;
    host_object *handle = host_new(loop, HOST_HANDLE, '\0', crowd_arrive);

    CHECK_OK(host_push(next->inbox, handle));
    host_unref(handle);
    return ++here->pushed < here->rounds ? host_soon(self) : 0;
}

static host_loop *crowd_loops[CROWD];

static void *
crowd_run(void *arg)
{
    struct crowd_member *self = arg;
    ptrdiff_t number = self - crowd;

    host_lock_take();
    host_loop *loop = crowd_loops[number] = host_loop_new();
    self->inbox = kolk_inbox_ref(kolk_loop_inbox(loop->loop));
    crowd_ready++;
    while (crowd_ready < CROWD) {
        host_pause();
    }
    host_object *pusher = host_new(loop, HOST_HANDLE, '\0', crowd_push);
    host_set_argument(pusher, &crowd_loops[(number + 1) % CROWD]->object);
    CHECK_OK(host_soon(pusher));
    host_unref(pusher);
    host_later_new(loop, KOLK_US(50), host_collects);
    CHECK_OK(host_run(loop));
    while (self->pushed < self->rounds) { /* the next one still has to run */
        CHECK_OK(host_run_once(loop));
    }
    host_lock_give();
    return NULL;
}

TEST_TIME(many_loops_in_many_threads_share_a_heap)
{
    host_begin();
    size_t rounds = test_count(2000);
    for (int i = 0; i < CROWD; i++) {
        crowd[i].rounds = rounds;
        CHECK_INT(pthread_create(&crowd[i].thread, NULL, crowd_run, &crowd[i]),
                  0);
    }
    host_lock_give();
    for (int i = 0; i < CROWD; i++) {
        CHECK_INT(pthread_join(crowd[i].thread, NULL), 0);
    }
    host_lock_take();
    for (int i = 0; i < CROWD; i++) {
        CHECK_INT(crowd[i].arrived, rounds);
        kolk_inbox_unref(crowd[i].inbox);
        host_loop_unref(crowd_loops[i]);
    }
    host_end();
}

/* ---- loops that come and go ---- */

static int
loops_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    if (dir == NULL) {
        return -1;
    }
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

/* Each is left as garbage, with something lent in it. */
TEST(loops_by_the_thousand_leave_nothing_behind)
{
    int fds[2];
    host_begin();
    size_t count = test_count(4000);
    int descriptors = loops_descriptors();
    test_socketpair(fds);
    for (size_t i = 0; i < count; i++) {
        host_loop *loop = host_loop_new();
        host_object *op = host_new(loop, HOST_OP, '\0', NULL);
        CHECK_OK(host_recv(op, fds[0]));
        host_soon_new(loop, '\0', NULL);
        CHECK_OK(host_run_once(loop));
        host_later_new(loop, KOLK_S(1000), NULL);
        host_unref(op);
        host_loop_unref(loop);
        CHECK_INT(host_collect(), 3);
    }
    CHECK_INT(loops_descriptors(), descriptors + 2);
    host_end();
}
