/* process_spawn.c - starting programs: which, with what, and what goes wrong.
 *
 * SPDX-License-Identifier: MIT
 */
#include "children.h"

#include "base/sys.h"

#include <fcntl.h>
#include <sys/stat.h>

static struct child child;

/* ---- programs and arguments ---- */

TEST(a_child_ends_with_its_exit_status)
{
    CHECK_INT(child_shell(&child, test_loop_open(), "exit 7"), 7);
    CHECK_INT(child.exits, 1);
}

TEST(a_child_that_a_signal_has_ended_says_which)
{
    CHECK_INT(child_shell(&child, test_loop_open(), "kill -9 $$"),
              KOLK_PROCESS_SIGNALED + SIGKILL);
}

TEST(arguments_arrive_as_they_are)
{
    static const char *const argv[] = {"printf", "[%s]",  "a b",  "",
                                       "*",      "$HOME", "\"q'", NULL};

    kolk_process_options options = {.argv = argv};
    CHECK_INT(child_run(&child, test_loop_open(), &options), 0);
    CHECK_STR(child.output, "[a b][][*][$HOME][\"q']");
}

TEST(the_file_may_be_another_than_argv_says)
{
    static const char *const argv[] = {"other", "-c", "echo $0", NULL};

    kolk_process_options options = {.argv = argv, .file = "sh"};
    CHECK_INT(child_run(&child, test_loop_open(), &options), 0);
    CHECK_STR(child.output, "other\n");
}

TEST(a_shell_gets_its_text_and_further_arguments)
{
    static const char *const argv[] = {"zero", "one", NULL};
    kolk_process_options options = {.argv = argv, .shell = "echo $0 $1 $2."};
    kolk_loop *loop = test_loop_open();

    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK_STR(child.output, "zero one .\n");
    options = (kolk_process_options){.shell = "echo $# | cat; exit 3"};
    CHECK_INT(child_run(&child, loop, &options), 3);
    CHECK_STR(child.output, "0\n");
}

TEST(what_makes_no_sense_is_refused)
{
    static const char *const none[] = {NULL}, *const argv[] = {"true", NULL};
    static const char *const odd[] = {"A=1", "B", NULL};
    static const int standard[] = {2}, negative[] = {-1}, closed[] = {999};
    kolk_loop *loop = test_loop_open();

#define REFUSED(error, ...)                                                    \
    CHECK_ERR(child_try(&child, loop, &(kolk_process_options){__VA_ARGS__}),   \
              (error))
    REFUSED(-EINVAL, .file = "true");
    REFUSED(-EINVAL, .argv = none);
    REFUSED(-EINVAL, .argv = argv, .environment = odd);
    REFUSED(-EINVAL, .argv = argv, .input = {KOLK_STDIO_OUTPUT, 0});
    REFUSED(-EINVAL, .argv = argv, .output = {KOLK_STDIO_OUTPUT, 0});
    REFUSED(-EINVAL, .argv = argv, .output = {(kolk_stdio_kind)17, 0});
    REFUSED(-EBADF, .argv = argv, .output = {KOLK_STDIO_FD, -1});
    REFUSED(-EBADF, .argv = argv, .output = {KOLK_STDIO_FD, 999});
    REFUSED(-EINVAL, .argv = argv, .fds = standard, .fd_count = 1);
    REFUSED(-EBADF, .argv = argv, .fds = negative, .fd_count = 1);
    REFUSED(-EBADF, .argv = argv, .fds = closed, .fd_count = 1);
#undef REFUSED
    CHECK_PTR(child.process, NULL);
}

/* ---- where programs are ---- */

static char place[64]; /* a folder of the test's */

static void
place_remove(void *object)
{
    char command[128];

    (void)snprintf(command, sizeof command, "rm -r %s", (const char *)object);
    CHECK_INT(system(command), 0);
}

static void
place_make(void)
{
    (void)snprintf(place, sizeof place, "/tmp/kolk-process-XXXXXX");
    CHECK(mkdtemp(place) != NULL);
    test_later(place_remove, place);
}

/* Writes a file in a folder that is made for it. */
static void
place_write(const char *folder, const char *name, const char *text, int mode)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", place, folder);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/%s/%s", place, folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK_INT(fclose(file), 0);
    CHECK_INT(chmod(path, (mode_t)mode), 0);
}

static char place_path[512];

/* An environment with nothing but this PATH; each % is the folder's name. */
static const char *const *
place_environment(const char *path)
{
    static const char *environment[] = {place_path, NULL};
    size_t at = 0;

    at += (size_t)snprintf(place_path, sizeof place_path, "PATH=");
    for (; *path != '\0'; path++) {
        if (*path == '%') {
            at += (size_t)snprintf(place_path + at, sizeof place_path - at,
                                   "%s", place);
        } else {
            place_path[at++] = *path;
        }
    }
    place_path[at] = '\0';
    return environment;
}

static const char *const mine[] = {"mine", NULL};

TEST(a_program_is_looked_for_in_the_path_that_the_child_gets)
{
    kolk_loop *loop = test_loop_open();
    kolk_process_options options = {.argv = mine};

    place_make();
    place_write("one", "mine", "#!/bin/sh\necho one\n", 0644);
    place_write("two", "mine", "#!/bin/sh\necho two $PATH\n", 0755);
    place_write("three", "mine", "#!/bin/sh\necho three\n", 0755);
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);

    /* The first that can be run, past those that are not there or may not. */
    options.environment = place_environment("%/no:%/one:%/one/mine:%/two:%");
    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK(strncmp(child.output, "two /tmp", 8) == 0);
    options.environment = place_environment("%/three:%/two");
    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK_STR(child.output, "three\n");
    options.environment = place_environment("%/no:%/one:%/no");
    CHECK_ERR(child_try(&child, loop, &options), -EACCES);
    options.environment = place_environment("");
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
}

TEST(an_empty_folder_of_the_path_is_where_the_child_starts)
{
    static const char *const paths[] = {"", ":", "%/no:", ":%/no", "%/no::%"};
    char folder[128];
    kolk_loop *loop = test_loop_open();
    kolk_process_options options = {.argv = mine, .folder = folder};

    place_make();
    place_write("one", "mine", "#!/bin/sh\necho one\n", 0755);
    (void)snprintf(folder, sizeof folder, "%s/one", place);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        options.environment = place_environment(paths[i]);
        CHECK_INT(child_run(&child, loop, &options), 0);
        CHECK_STR(child.output, "one\n");
    }
}

TEST(without_a_path_there_is_a_default)
{
    static const char *const argv[] = {"sh", "-c", "echo $A", NULL};
    static const char *const environment[] = {"A=b", NULL};
    kolk_process_options options = {.argv = argv, .environment = environment};

    CHECK_INT(child_run(&child, test_loop_open(), &options), 0);
    CHECK_STR(child.output, "b\n");
}

TEST(a_name_with_a_slash_is_relative_to_the_folder)
{
    static const char *const argv[] = {"one/mine", NULL};
    kolk_loop *loop = test_loop_open();

    place_make();
    place_write("one", "mine", "#!/bin/sh\npwd\n", 0755);
    kolk_process_options options = {.argv = argv, .folder = place};
    CHECK_INT(child_run(&child, loop, &options), 0);
    child.output[strlen(place)] = '\0';
    CHECK_STR(child.output, place);
    options.environment = place_environment("%");
    options.folder = "/";
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
}

TEST(what_cannot_be_run_is_an_error_of_the_call)
{
    static const char *argv[] = {"./mine", NULL};
    kolk_loop *loop = test_loop_open();
    kolk_process_options options = {.argv = argv, .folder = place};

    place_make();
    place_write(".", "mine", "echo no program\n", 0755);
    CHECK_ERR(child_try(&child, loop, &options), -ENOEXEC);
    place_write(".", "mine", "#!/no/such/interpreter\n", 0755);
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
    place_write(".", "mine", "#!/bin/sh\n", 0644);
    CHECK_ERR(child_try(&child, loop, &options), -EACCES);
    argv[0] = "./other";
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
    argv[0] = "";
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
    argv[0] = "/";
    CHECK_ERR(child_try(&child, loop, &options), -EACCES);
    argv[0] = "true";
    options.folder = "/no/such/folder";
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
    options.folder = "/dev/null";
    CHECK_ERR(child_try(&child, loop, &options), -ENOTDIR);
}

TEST(an_environment_that_is_too_long_is_an_error)
{
    static char text[256 * 1024] = "A=";
    static const char *const argv[] = {"true", NULL};
    static const char *const environment[] = {text, NULL};
    kolk_process_options options = {.argv = argv, .environment = environment};

    memset(text + 2, 'x', sizeof text - 3);
    CHECK_ERR(child_try(&child, test_loop_open(), &options), -E2BIG);
}

TEST(a_child_gets_the_environment_that_it_is_given_and_no_other)
{
    static const char *const argv[] = {"env", NULL};
    static const char *const none[] = {NULL}, *const two[] = {"A=1",
                                                              "B=", NULL};
    kolk_loop *loop = test_loop_open();
    kolk_process_options options = {.argv = argv, .environment = two};

    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK_STR(child.output, "A=1\nB=\n");
    options.environment = none;
    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK_STR(child.output, "");
    CHECK_INT(setenv("KOLK_TEST_VARIABLE", "ours", 1), 0);
    CHECK_INT(child_shell(&child, loop, "echo $KOLK_TEST_VARIABLE"), 0);
    CHECK_STR(child.output, "ours\n");
}

/* ---- sessions, groups, masks ---- */

/* What the shell's `pid pgrp session` are. */
static void
read_groups(long numbers[3])
{
    CHECK_INT(sscanf(child.output, "%ld %ld %ld", &numbers[0], &numbers[1],
                     &numbers[2]),
              3);
}

TEST(a_child_may_have_a_session_or_a_group_of_its_own)
{
    kolk_loop *loop = test_loop_open();
    long numbers[3] = {0};
    kolk_process_options options = {
        .shell = "cut -d' ' -f1,5,6 </proc/$$/stat; exit 0"};

    CHECK_INT(child_run(&child, loop, &options), 0);
    read_groups(numbers);
    CHECK_INT(numbers[1], getpgrp());
    CHECK_INT(numbers[2], getsid(0));
    options.new_group = true;
    CHECK_INT(child_run(&child, loop, &options), 0);
    read_groups(numbers);
    CHECK_INT(numbers[0], kolk_process_pid(child.process));
    CHECK_INT(numbers[1], numbers[0]);
    CHECK_INT(numbers[2], getsid(0));
    options.new_session = true;
    CHECK_INT(child_run(&child, loop, &options), 0);
    read_groups(numbers);
    CHECK_INT(numbers[1], numbers[0]);
    CHECK_INT(numbers[2], numbers[0]);
}

static volatile sig_atomic_t handled;

static void
handle(int signum)
{
    (void)signum;
    handled++;
}

static unsigned long long
read_mask(const char *name)
{
    const char *at = strstr(child.output, name);

    CHECK(at != NULL);
    return at != NULL ? strtoull(at + strlen(name), NULL, 16) : 0;
}

static unsigned long long
bit_of(int signum)
{
    return 1ULL << (signum - 1);
}

TEST(a_child_begins_with_our_mask_and_without_our_handlers)
{
    static const char *const argv[] = {"grep", "^Sig", "/proc/self/status",
                                       NULL};
    kolk_process_options options = {.argv = argv};
    sigset_t blocked, before, after;

    CHECK(signal(SIGUSR1, handle) != SIG_ERR);
    CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGHUP);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
    CHECK_INT(child_run(&child, test_loop_open(), &options), 0);
    CHECK_INT(pthread_sigmask(SIG_SETMASK, &before, &after), 0);
    CHECK_INT(sigismember(&after, SIGHUP), 1);
    CHECK_INT(sigismember(&after, SIGTERM), 0);
    CHECK_INT(read_mask("SigBlk:"), bit_of(SIGHUP));
    CHECK_INT(read_mask("SigCgt:") & bit_of(SIGUSR1), 0);
    CHECK_INT(read_mask("SigIgn:") & bit_of(SIGUSR2), bit_of(SIGUSR2));
    CHECK_INT(read_mask("SigIgn:") & bit_of(SIGUSR1), 0);
    CHECK_INT(handled, 0);
}

/* ---- systems that lack something ---- */

static void
spawn_by(enum child_way way)
{
    static const char *argv[] = {"sh", "-c", "echo hello; exit 5", NULL};
    kolk_process_options options = {.argv = argv};
    kolk_loop *loop = test_loop_open();

    child_set_way(way);
    CHECK_INT(child_run(&child, loop, &options), 5);
    CHECK_STR(child.output, "hello\n");
    argv[0] = "/no/such/program";
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
    argv[0] = "sh";
    options.folder = "/no/such/folder";
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
    options.folder = "/";
    CHECK_INT(child_run(&child, loop, &options), 5);
}

TEST(where_a_child_does_not_share_our_memory_its_error_arrives)
{
    spawn_by(CHILD_COPIED);
}

TEST(where_a_child_cannot_be_cloned_it_is_forked)
{
    spawn_by(CHILD_FORKED);
}

static int
fail_pidfd_open(pid_t pid, unsigned flags)
{
    (void)pid, (void)flags;
    errno = EMFILE;
    return -1;
}

TEST(a_forked_child_without_a_pidfd_never_becomes_the_program)
{
    char path[128];
    kolk_loop *loop = test_loop_open();
    kolk_process_options options = {.shell = "echo >ran", .folder = place};

    place_make();
    child_set_way(CHILD_FORKED);
    kolk__sys.pidfd_open = fail_pidfd_open;
    CHECK_ERR(child_try(&child, loop, &options), -EMFILE);
    (void)snprintf(path, sizeof path, "%s/ran", place);
    CHECK_INT(access(path, F_OK), -1);
}

static int
old_waitid(idtype_t type, id_t id, siginfo_t *out, int options)
{
    if (type != P_PID && type != P_ALL) {
        errno = EINVAL;
        return -1;
    }
    return waitid(type, id, out, options);
}

TEST(a_kernel_that_cannot_wait_by_pidfd_is_refused)
{
    kolk__sys.waitid = old_waitid;
    CHECK_ERR(child_try(&child, test_loop_open(),
                        &(kolk_process_options){.shell = "exit 0"}),
              -ENOSYS);
}
