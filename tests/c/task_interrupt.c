/* task_interrupt.c - what Ctrl-C does to kolk_run().
 *
 * SPDX-License-Identifier: MIT
 *
 * Each program runs in a child, to which the test sends SIGINT. It writes a
 * letter for each thing that happens, and '.' when it wants the signal.
 */
#include "kit.h"

#include <kolk/signal.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- in the child ---- */

static void
say(char letter)
{
    (void)!write(STDOUT_FILENO, &letter, 1);
}

static bool
int_is_default(void)
{
    struct sigaction now;

    return sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == SIG_DFL;
}

/* Says how a program's run has ended, and ends the child. */
static void
say_end(int result)
{
    say(result == -EINTR       ? 'I'
        : result == -ECANCELED ? 'C'
        : result >= 0          ? (char)('0' + result)
                               : 'E');
    say(int_is_default() ? 'd' : 'h');
    _exit(0);
}

/* Never returns, and never looks at the loop. */
static _Noreturn void
be_busy(void)
{
    for (int i = 0;; i++) {
        if (i == 200) {
            say('.'); /* a first SIGINT has come meanwhile */
        }
        (void)usleep(1000);
    }
}

static int
sleep_and_clean_up(void *arg)
{
    (void)arg;
    say('.');
    int err = kolk_sleep(KOLK_S(60));
    KOLK_SHIELD(shield);
    if (kolk_sleep(KOLK_MS(1)) == 0) {
        say('c');
    }
    return err;
}

static void
child_sleeps(void)
{
    say_end(kolk_run(sleep_and_clean_up, NULL));
}

static int
end_well(void *arg)
{
    return sleep_and_clean_up(arg) == -ECANCELED ? 7 : 1;
}

static void
child_ends_well(void)
{
    say_end(kolk_run(end_well, NULL));
}

static int
clean_up_for_ever(void *arg)
{
    (void)arg;
    say('.');
    (void)!kolk_sleep(KOLK_S(60));
    be_busy();
}

static void
child_cleans_up_for_ever(void)
{
    say_end(kolk_run(clean_up_for_ever, NULL));
}

static int
never_wait(void *arg)
{
    (void)arg;
    say('.');
    be_busy();
}

static void
child_is_busy(void)
{
    say_end(kolk_run(never_wait, NULL));
}

static int
listen_myself(void *arg)
{
    static const int signums[] = {SIGINT};
    kolk_signals signals;

    (void)arg;
    if (kolk_signals_begin(&signals, signums, 1) < 0) {
        return -EIO;
    }
    for (int i = 0; i < 3; i++) {
        say('.');
        if (kolk_signals_next(&signals) == SIGINT) {
            say('n');
        }
    }
    kolk_signals_end(&signals);
    return sleep_and_clean_up(NULL);
}

static void
child_listens_itself(void)
{
    say_end(kolk_run(listen_myself, NULL));
}

static void
own_handler(int signum)
{
    (void)signum;
    say('o');
}

static int
take_note(void *arg)
{
    (void)arg;
    say('.');
    for (int i = 0; i < 1000; i++) {
        if (kolk_sleep(KOLK_MS(1)) < 0) {
            say('x');
            break;
        }
    }
    return 0;
}

static void
child_has_a_handler(void)
{
    struct sigaction action = {.sa_handler = own_handler};

    (void)sigaction(SIGINT, &action, NULL);
    say_end(kolk_run(take_note, NULL));
}

static void
child_ignores_it(void)
{
    (void)signal(SIGINT, SIG_IGN);
    say_end(kolk_run(take_note, NULL));
}

static void *
run_in_thread(void *arg)
{
    (void)!kolk_run(take_note, NULL);
    return arg;
}

static void
child_runs_in_a_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run_in_thread, NULL) == 0) {
        (void)pthread_join(thread, NULL);
    }
    say_end(0);
}

static int
be_left_behind(void *arg)
{
    (void)arg;
    (void)!kolk_sleep(KOLK_S(60));
    be_busy();
}

static int
leave_one_behind(void *arg)
{
    (void)arg;
    return kolk_spawn(be_left_behind, NULL, NULL) < 0 ? -EIO
                                                      : kolk_checkpoint();
}

static void
child_closes(void)
{
    say_end(kolk_run(leave_one_behind, NULL));
}

/* ---- outside ---- */

struct death {
    int status;
    char text[64];
};

/* Runs `fn` in a child, sends it SIGINT for each '.', and collects what it
 * says. */
static struct death
death_of(void (*fn)(void))
{
    struct death death = {0};
    size_t size = 0;
    int fds[2];

    CHECK_INT(pipe(fds), 0);
    test_own(fds[0]);
    test_own(fds[1]);
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGINT, SIG_DFL);
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)close(fds[0]);
        (void)close(fds[1]);
        (void)alarm(20);
        fn();
        _exit(9);
    }
    CHECK(pid > 0);
    test_close(fds[1]);
    while (size < sizeof death.text - 1
           && read(fds[0], death.text + size, 1) == 1) {
        if (death.text[size] == '.') {
            (void)usleep(5000); /* it sleeps by then, most often */
            CHECK_INT(kill(pid, SIGINT), 0);
        }
        size++;
    }
    CHECK(waitpid(pid, &death.status, 0) == pid);
    return death;
}

static bool
is_killed(const struct death *death)
{
    return WIFSIGNALED(death->status) && WTERMSIG(death->status) == SIGINT;
}

TEST_TIME(ctrl_c_cancels_the_main_task_and_its_clean_up_runs)
{
    struct death death = death_of(child_sleeps);

    CHECK_STR(death.text, ".cId");
    CHECK_INT(death.status, 0);
}

TEST_TIME(a_main_task_may_end_well_after_ctrl_c)
{
    struct death death = death_of(child_ends_well);

    CHECK_STR(death.text, ".c7d");
    CHECK_INT(death.status, 0);
}

TEST_TIME(a_second_ctrl_c_ends_the_process_at_once)
{
    struct death death = death_of(child_cleans_up_for_ever);

    CHECK_STR(death.text, "..");
    CHECK(is_killed(&death));
}

TEST_TIME(ctrl_c_works_twice_in_a_busy_callback)
{
    struct death death = death_of(child_is_busy);

    CHECK_STR(death.text, "..");
    CHECK(is_killed(&death));
}

TEST_TIME(whoever_waits_for_sigint_gets_it_in_place_of_the_main_task)
{
    struct death death = death_of(child_listens_itself);

    CHECK_STR(death.text, ".n.n.n.cId");
    CHECK_INT(death.status, 0);
}

TEST_TIME(a_program_with_a_handler_for_sigint_keeps_it)
{
    struct death death = death_of(child_has_a_handler);

    CHECK_STR(death.text, ".o0h");
    CHECK_INT(death.status, 0);
}

TEST_TIME(a_program_that_ignores_sigint_goes_on_ignoring_it)
{
    struct death death = death_of(child_ignores_it);

    CHECK_STR(death.text, ".0h");
    CHECK_INT(death.status, 0);
}

TEST_TIME(outside_the_main_thread_ctrl_c_does_what_it_did)
{
    struct death death = death_of(child_runs_in_a_thread);

    CHECK_STR(death.text, ".");
    CHECK(is_killed(&death));
}

TEST_TIME(once_the_main_task_has_ended_ctrl_c_ends_the_process)
{
    struct death death = death_of(child_closes);

    CHECK_STR(death.text, ".");
    CHECK(is_killed(&death));
}
