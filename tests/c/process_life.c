/* process_life.c - children: their end, signals to them, handles given up.
 *
 * SPDX-License-Identifier: MIT
 */
#include "children.h"

#include "base/sys.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct child child;

static const kolk_process_options ends = {.shell = "exit 3"};

/* Goes on until its input ends. */
static const kolk_process_options lasts = {.shell = "read x; exit 4",
                                           .input = {KOLK_STDIO_PIPE, 0}};

/* Waits, without reaping it, until `pid` has ended. */
static void
until_ended(pid_t pid)
{
    siginfo_t info;

    CHECK_INT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void
let_end(struct child *self)
{
    int fd = kolk_process_take_pipe(self->process, 0);

    if (CHECK_OK(fd)) {
        CHECK_INT(close(fd), 0);
    }
}

/* ---- the end ---- */

TEST(the_end_is_told_once_and_from_the_loop)
{
    kolk_loop *loop = test_loop_open();

    CHECK_OK(child_try(&child, loop, &ends));
    CHECK(kolk_process_pid(child.process) > 0);
    until_ended(kolk_process_pid(child.process));
    CHECK_INT(child.exits, 0);
    CHECK_ERR(kolk_process_status(child.process), -EAGAIN);
    CHECK_INT(child_wait(&child), 3);
    CHECK_INT(child.exits, 1);
    test_settle(loop);
    CHECK_INT(child.exits, 1);
    CHECK_INT(child.drops, 0);
    CHECK_ERR(waitpid(kolk_process_pid(child.process), NULL, 0), -1);
}

TEST(without_callbacks_a_child_is_reaped_all_the_same)
{
    kolk_loop *loop = test_loop_open();
    kolk_process *process;

    CHECK_OK(kolk_process_spawn(loop, &ends, NULL, NULL, &process));
    CHECK_PTR(kolk_process_owner(process), NULL);
    until_ended(kolk_process_pid(process));
    test_settle(loop);
    CHECK_INT(kolk_process_status(process), 3);
    kolk_process_unref(process);
    kolk_process_unref(NULL); /* a no-op */
}

static kolk_process *freed_twice;

static void
free_all(kolk_process *process)
{
    kolk_loop_stop(kolk_current_loop());
    kolk_process_unref(freed_twice);
    kolk_process_unref(process);
}

TEST(handles_may_be_given_up_in_the_callback)
{
    static const kolk_process_ops ops = {.exited = free_all};
    kolk_loop *loop = test_loop_open();
    kolk_process *process;

    CHECK_OK(kolk_process_spawn(loop, &lasts, &ops, NULL, &process));
    freed_twice = kolk_process_ref(process);
    CHECK_OK(kolk_process_kill(process));
    CHECK_OK(kolk_run_forever(loop));
}

static int again_left;

static void
spawn_again(kolk_process *process)
{
    kolk_loop *loop = kolk_current_loop();
    const kolk_process_ops *ops = kolk_process_owner(process);

    CHECK_INT(kolk_process_status(process), 3);
    kolk_process_unref(process);
    if (again_left-- == 0
        || !CHECK_OK(kolk_process_spawn(
            loop, &ends, ops, kolk_process_owner(process), &process))) {
        kolk_loop_stop(loop);
    }
}

TEST(a_child_may_be_spawned_where_another_ones_end_is_told)
{
    static kolk_process_ops ops = {.exited = spawn_again};
    kolk_loop *loop = test_loop_open();
    kolk_process *process;

    again_left = 3;
    CHECK_OK(kolk_process_spawn(loop, &ends, &ops, &ops, &process));
    CHECK_OK(kolk_run_forever(loop));
    CHECK_INT(again_left, -1);
}

enum { MANY_MAX = 50 };

TEST_TIME(each_of_many_children_is_told_of)
{
    static struct child many[MANY_MAX];
    static char commands[MANY_MAX][32];
    kolk_loop *loop = test_loop_open();
    size_t count = test_count(MANY_MAX);

    for (size_t i = 0; i < count; i++) {
        (void)snprintf(commands[i], sizeof commands[i], "exit %zu", i);
        CHECK_OK(child_try(&many[i], loop,
                           &(kolk_process_options){.shell = commands[i]}));
    }
    for (size_t i = 0; i < count; i++) {
        CHECK_INT(child_wait(&many[i]), i);
        CHECK_INT(many[i].exits, 1);
    }
}

/* ---- others who care for children ---- */

static volatile sig_atomic_t chld_count;

static void
chld_handler(int signum)
{
    (void)signum;
    chld_count++;
}

TEST(sigchld_stays_the_programs)
{
    struct sigaction action = {.sa_handler = chld_handler,
                               .sa_flags = SA_RESTART},
                     now;
    kolk_loop *loop = test_loop_open();

    CHECK_INT(sigaction(SIGCHLD, &action, NULL), 0);
    CHECK_OK(child_try(&child, loop, &ends));
    CHECK_INT(child_wait(&child), 3);
    CHECK_INT(chld_count, 1);
    CHECK_INT(sigaction(SIGCHLD, NULL, &now), 0);
    CHECK(now.sa_handler == chld_handler);
}

static pid_t (*real_fork)(void);
static int forks;

static pid_t
count_fork(void)
{
    forks++;
    return real_fork();
}

TEST(a_program_that_cannot_be_run_makes_no_sigchld)
{
    static const char *const argv[] = {"/no/such/program", NULL};
    kolk_process_options options = {.argv = argv};
    kolk_loop *loop = test_loop_open();

    real_fork = kolk__sys.fork;
    kolk__sys.fork = count_fork;
    CHECK(signal(SIGCHLD, chld_handler) != SIG_ERR);
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
    CHECK_INT(chld_count, forks); /* unless a child had to be forked */
}

TEST(where_sigchld_is_ignored_nobody_can_know_the_status)
{
    kolk_loop *loop = test_loop_open();

    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    CHECK_OK(child_try(&child, loop, &ends));
    CHECK_ERR(child_wait(&child), -ECHILD);
    CHECK_INT(child.exits, 1);
}

TEST(a_child_that_somebody_else_has_reaped_has_no_status)
{
    kolk_loop *loop = test_loop_open();
    int status;

    CHECK_OK(child_try(&child, loop, &ends));
    CHECK_INT(waitpid(-1, &status, 0), kolk_process_pid(child.process));
    CHECK_INT(WEXITSTATUS(status), 3);
    CHECK_ERR(kolk_process_kill(child.process), -ESRCH);
    CHECK_ERR(child_wait(&child), -ECHILD);
}

TEST(children_of_the_programs_own_are_left_alone)
{
    kolk_loop *loop = test_loop_open();
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(9);
    }
    CHECK_OK(child_try(&child, loop, &ends));
    CHECK_INT(child_wait(&child), 3);
    test_settle(loop);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(WEXITSTATUS(status), 9);
}

/* ---- signals to it ---- */

TEST(a_child_can_be_signalled_until_it_has_ended)
{
    kolk_loop *loop = test_loop_open();
    kolk_process_options options = {
        .shell = "trap 'exit 5' USR1; echo; while :; do sleep 0.01; done",
        .output = {KOLK_STDIO_PIPE, 0}};
    char byte;

    CHECK_OK(child_try(&child, loop, &options));
    int fd = kolk_process_take_pipe(child.process, 1);
    CHECK_OK(fd);
    test_own(fd);
    CHECK_OK(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10000));
    CHECK_INT(read(fd, &byte, 1), 1); /* its trap is set */
    CHECK_ERR(kolk_process_signal(child.process, 1000), -EINVAL);
    CHECK_OK(kolk_process_signal(child.process, 0));
    CHECK_OK(kolk_process_signal(child.process, SIGUSR1));
    until_ended(kolk_process_pid(child.process));
    CHECK_ERR(kolk_process_signal(child.process, SIGUSR1), -ESRCH);
    CHECK_ERR(kolk_process_status(child.process), -EAGAIN);
    CHECK_INT(child_wait(&child), 5);
    CHECK_ERR(kolk_process_kill(child.process), -ESRCH);
}

TEST(terminating_and_killing_are_signals)
{
    kolk_loop *loop = test_loop_open();

    CHECK_OK(child_try(&child, loop, &lasts));
    CHECK_OK(kolk_process_terminate(child.process));
    CHECK_INT(child_wait(&child), KOLK_PROCESS_SIGNALED + SIGTERM);
    CHECK_OK(child_try(&child, loop, &lasts));
    CHECK_OK(kolk_process_kill(child.process));
    CHECK_INT(child_wait(&child), KOLK_PROCESS_SIGNALED + SIGKILL);
}

/* Tells the kernel which number comes next; false if we may not. */
static bool
set_next_pid(pid_t pid)
{
    char text[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    int length = snprintf(text, sizeof text, "%d", pid - 1);

    if (fd < 0) {
        return false;
    }
    ssize_t count = write(fd, text, (size_t)length);
    (void)close(fd);
    return count == length;
}

/* A process of the test's that has the number `pid`, if that can be had. */
static pid_t
fork_with_pid(pid_t pid)
{
    for (int i = 0; i < 20 && set_next_pid(pid); i++) {
        pid_t other = fork();

        if (other == 0) {
            (void)pause();
            _exit(0);
        }
        if (other == pid) {
            return other;
        }
        (void)kill(other, SIGKILL); /* somebody was quicker */
        (void)waitpid(other, NULL, 0);
    }
    return -1;
}

TEST_TIME(a_process_that_has_got_the_number_of_a_child_gets_no_signal_of_its)
{
    kolk_loop *loop = test_loop_open();

    CHECK_OK(child_try(&child, loop, &ends));
    pid_t pid = kolk_process_pid(child.process);
    CHECK_INT(waitpid(pid, NULL, 0), pid); /* behind the library's back */
    pid_t other = fork_with_pid(pid);
    if (other < 0) {
        printf("no number can be asked for here\n");
    }
    CHECK_ERR(kolk_process_kill(child.process), -ESRCH);
    CHECK_ERR(child_wait(&child), -ECHILD);
    CHECK_ERR(kolk_process_kill(child.process), -ESRCH);
    if (other > 0) {
        CHECK_INT(waitpid(other, NULL, WNOHANG), 0); /* it lives */
        CHECK_INT(kill(other, SIGKILL), 0);
        CHECK_INT(waitpid(other, NULL, 0), other);
    }
}

static int
no_pidfd_send_signal(int pidfd, int signum, siginfo_t *info, unsigned flags)
{
    (void)pidfd, (void)signum, (void)info, (void)flags;
    errno = ENOSYS;
    return -1;
}

TEST(where_signals_cannot_go_by_pidfd_a_child_that_lives_gets_them)
{
    kolk_loop *loop = test_loop_open();

    kolk__sys.pidfd_send_signal = no_pidfd_send_signal;
    CHECK_OK(child_try(&child, loop, &lasts));
    CHECK_OK(kolk_process_kill(child.process));
    until_ended(kolk_process_pid(child.process));
    CHECK_ERR(kolk_process_kill(child.process), -ESRCH);
    CHECK_INT(child_wait(&child), KOLK_PROCESS_SIGNALED + SIGKILL);
}

static void *
signal_from_thread(void *process)
{
    CHECK_ERR(kolk_process_kill(process), -KOLK_EMISUSE);
    return NULL;
}

static void
signal_elsewhere(kolk_timer *timer)
{
    pthread_t thread;

    (void)timer;
    if (CHECK_INT(
            pthread_create(&thread, NULL, signal_from_thread, child.process),
            0)) {
        CHECK_INT(pthread_join(thread, NULL), 0);
    }
    let_end(&child);
}

TEST(a_signal_from_another_thread_is_misuse)
{
    static kolk_timer timer;
    kolk_loop *loop = test_loop_open();

    CHECK_OK(child_try(&child, loop, &lasts));
    kolk_timer_init(&timer, signal_elsewhere, NULL);
    CHECK_OK(kolk_call_later(loop, &timer, 0));
    CHECK_INT(child_wait(&child), 4);
}

/* ---- what is given up ---- */

TEST(a_child_whose_handle_is_given_up_goes_on_and_is_reaped)
{
    kolk_loop *loop = test_loop_open();
    char byte;
    int fds[2];

    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    test_own(fds[0]);
    test_own(fds[1]);
    kolk_process_options options = {.shell = "read x; printf y",
                                    .input = {KOLK_STDIO_PIPE, 0},
                                    .output = {KOLK_STDIO_FD, fds[1]}};
    child = (struct child){.loop = loop};
    CHECK_OK(
        kolk_process_spawn(loop, &options, &child_ops, &child, &child.process));
    kolk_process_unref(child.process); /* its input ends with that */
    while (child.exits == 0 && kit_failures() == 0) {
        CHECK_OK(kolk_run_forever(loop));
    }
    CHECK_INT(read(fds[0], &byte, 1), 1);
    CHECK_INT(byte, 'y');
}

TEST(pipes_that_were_taken_stay_open_when_the_handle_is_given_up)
{
    kolk_loop *loop = test_loop_open();

    child = (struct child){.loop = loop};
    CHECK_OK(
        kolk_process_spawn(loop, &lasts, &child_ops, &child, &child.process));
    int fd = kolk_process_take_pipe(child.process, 0);
    CHECK_OK(fd);
    kolk_process_unref(child.process);
    CHECK_INT(write(fd, "x", 1), 1);
    CHECK_INT(close(fd), 0);
    while (child.exits == 0 && kit_failures() == 0) {
        CHECK_OK(kolk_run_forever(loop));
    }
}

/* ---- loops that are closed ---- */

TEST(a_child_goes_on_when_the_loop_is_closed)
{
    kolk_loop *loop = test_loop_open();
    int status, fds[2];

    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    test_own(fds[0]);
    kolk_process_options options = {.shell = "read x; exit 6",
                                    .input = {KOLK_STDIO_FD, fds[0]},
                                    .output = {KOLK_STDIO_PIPE, 0}};
    CHECK_OK(child_try(&child, loop, &options));
    test_loop_close(loop);
    CHECK_INT(child.drops, 1);
    CHECK_INT(child.exits, 0);
    CHECK_ERR(kolk_process_status(child.process), -ESHUTDOWN);
    CHECK_ERR(kolk_process_kill(child.process), -ESHUTDOWN);
    CHECK_ERR(kolk_process_take_pipe(child.process, 1), -EBADF);
    pid_t pid = kolk_process_pid(child.process);
    CHECK_INT(waitpid(pid, NULL, WNOHANG), 0); /* it runs */
    CHECK_INT(close(fds[1]), 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(WEXITSTATUS(status), 6);
}

TEST(a_child_that_has_ended_when_the_loop_is_closed_leaves_no_zombie)
{
    kolk_loop *loop = test_loop_open();

    CHECK_OK(child_try(&child, loop, &ends));
    until_ended(kolk_process_pid(child.process));
    test_loop_close(loop);
    CHECK_INT(child.drops, 1);
    CHECK_INT(child.exits, 0);
    CHECK_INT(kolk_process_status(child.process), 3);
    CHECK_INT(waitpid(kolk_process_pid(child.process), NULL, 0), -1);
}

TEST(the_pipes_of_a_child_that_has_ended_may_outlive_the_loop)
{
    kolk_loop *loop = test_loop_open();
    const kolk_process_options options = {.shell = "echo said; exit 3",
                                          .output = {KOLK_STDIO_PIPE, 0},
                                          .error = {KOLK_STDIO_PIPE, 0}};
    char said[16];

    if (!CHECK_OK(child_try(&child, loop, &options))) {
        return;
    }
    CHECK_INT(child_wait(&child), 3);
    test_loop_close(loop);
    CHECK_INT(child.drops, 0);
    CHECK_INT(kolk_process_status(child.process), 3);
    child_read(kolk_process_take_pipe(child.process, 1), said, sizeof said);
    CHECK_STR(said, "said\n");
}

struct visit {
    kolk_visitor visitor;
    const void *node;
    int count;
};

static int
visit_count(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    struct visit *self = KOLK_CONTAINER_OF(visitor, struct visit, visitor);

    self->count += kind == KOLK_NODE_PROCESS && node == self->node;
    return 0;
}

TEST(a_visitor_is_shown_a_child_that_runs)
{
    kolk_loop *loop = test_loop_open();
    struct visit visit = {.visitor.fn = visit_count};

    CHECK_OK(child_try(&child, loop, &lasts));
    visit.node = child.process;
    CHECK_OK(kolk_loop_visit(loop, &visit.visitor));
    CHECK_INT(visit.count, 1);
    let_end(&child);
    CHECK_INT(child_wait(&child), 4);
    CHECK_OK(kolk_loop_visit(loop, &visit.visitor));
    CHECK_INT(visit.count, 1);
}

/* ---- forks ---- */

#define CHILD_EXPECT(condition)                                                \
    if (!(condition)) {                                                        \
        _exit(__LINE__ % 256);                                                 \
    }

TEST(a_fork_has_no_part_in_the_children_of_its_parent)
{
    kolk_loop *loop = test_loop_open();
    kolk_process *process;
    int status = -1;

    CHECK_OK(child_try(&child, loop, &lasts));
    pid_t pid = fork();
    if (pid == 0) {
        CHILD_EXPECT(kolk_process_kill(child.process) == -KOLK_EFORK);
        CHILD_EXPECT(kolk_process_spawn(loop, &ends, NULL, NULL, &process)
                     == -KOLK_EFORK);
        CHILD_EXPECT(kolk_loop_close(loop) == 0);
        CHILD_EXPECT(child.drops == 1 && child.exits == 0);
        kolk_process_unref(child.process);
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    CHECK_INT(waitpid(kolk_process_pid(child.process), NULL, WNOHANG), 0);
    let_end(&child);
    CHECK_INT(child_wait(&child), 4);
}

TEST(a_fork_can_spawn_on_a_loop_of_its_own)
{
    kolk_loop *loop = test_loop_open(), *own;
    int status = -1;

    CHECK_OK(child_try(&child, loop, &ends));
    CHECK_INT(child_wait(&child), 3);
    pid_t pid = fork();
    if (pid == 0) {
        static struct child other;

        CHILD_EXPECT(kolk_loop_open(NULL, &own) == 0);
        other.loop = own;
        CHILD_EXPECT(
            kolk_process_spawn(own, &ends, &child_ops, &other, &other.process)
            == 0);
        CHILD_EXPECT(child_wait(&other) == 3);
        kolk_process_unref(other.process);
        CHILD_EXPECT(kolk_loop_close(own) == 0);
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
}

/* ---- a parent that ends ---- */

static void
parent_main(int report)
{
    static const char *const argv[] = {"sleep", "60", NULL};
    kolk_process_options options = {.argv = argv, .kill_with_us = true};
    kolk_loop *loop;
    kolk_process *process;

    if (kolk_loop_open(NULL, &loop) == 0
        && kolk_process_spawn(loop, &options, NULL, NULL, &process) == 0) {
        pid_t pid = kolk_process_pid(process);

        (void)!write(report, &pid, sizeof pid);
    }
    _exit(0);
}

TEST_TIME(a_child_can_be_killed_with_its_parent)
{
    int fds[2], status;
    pid_t grandchild = -1;

    /* What has lost its parent becomes ours, so that its end is seen. */
    CHECK_INT(kolk__sys.prctl(36 /* PR_SET_CHILD_SUBREAPER */, 1), 0);
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    test_own(fds[0]);
    test_own(fds[1]);
    pid_t parent = fork();
    if (parent == 0) {
        parent_main(fds[1]);
    }
    CHECK_INT(read(fds[0], &grandchild, sizeof grandchild), sizeof grandchild);
    CHECK_INT(waitpid(parent, &status, 0), parent);
    CHECK_INT(status, 0);
    CHECK_INT(waitpid(grandchild, &status, 0), grandchild);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- several threads ---- */

enum { THREADS = 4 };

/* Each child has to end with the input of its own, and with no other's. */
static void *
thread_spawns(void *arg)
{
    size_t count = *(const size_t *)arg;
    struct child self;
    kolk_loop *loop;

    if (!CHECK_OK(kolk_loop_open(NULL, &loop))) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        kolk_process_options options = lasts;

        options.output = (kolk_stdio){KOLK_STDIO_PIPE, 0};
        self = (struct child){.loop = loop};
        if (!CHECK_OK(kolk_process_spawn(loop, &options, &child_ops, &self,
                                         &self.process))) {
            break;
        }
        (void)close(kolk_process_take_pipe(self.process, 0));
        child_read(kolk_process_take_pipe(self.process, 1), self.output,
                   sizeof self.output);
        while (self.exits == 0 && CHECK_OK(kolk_run_forever(loop))) {
        }
        CHECK_INT(kolk_process_status(self.process), 4);
        kolk_process_unref(self.process);
    }
    CHECK_OK(kolk_loop_close(loop));
    return NULL;
}

TEST_TIME(children_can_be_spawned_in_several_threads_at_once)
{
    pthread_t threads[THREADS];
    size_t count = test_count(100);

    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, thread_spawns, &count), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
}
