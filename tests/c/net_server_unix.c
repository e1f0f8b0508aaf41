/* net_server_unix.c - the paths of Unix sockets: taken over, never stolen.
 *
 * SPDX-License-Identifier: MIT
 */
#include "hall.h"

#include <sys/stat.h>
#include <sys/wait.h>

static char folder[64];

static void
folder_remove(void *unused)
{
    char command[128];

    (void)unused;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK_INT(system(command), 0); /* NOLINT(cert-env33-c): a path of ours */
}

/* A folder of the test's own, and the address of "s" in it. */
static kolk_address
folder_begin(void)
{
    kolk_address address = {0};
    char path[96];

    (void)snprintf(folder, sizeof folder, "/tmp/kolk-test-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    test_later(folder_remove, NULL);
    (void)snprintf(path, sizeof path, "%s/s", folder);
    CHECK_OK(kolk_address_unix(path, strlen(path), &address));
    return address;
}

static const char *
path_of(const kolk_address *address)
{
    return ((const struct sockaddr_un *)&address->storage)->sun_path;
}

static bool
path_exists(const kolk_address *address)
{
    struct stat info;

    return lstat(path_of(address), &info) == 0;
}

/* How many files there are in the folder. */
static int
folder_count(void)
{
    char command[128];
    int count = -1;

    (void)snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c) */
    CHECK(pipe != NULL);
    CHECK_INT(fscanf(pipe, "%d", &count), 1); /* NOLINT(cert-err34-c) */
    CHECK_INT(pclose(pipe), 0);
    return count;
}

/* Somebody's socket at the path, not the library's. */
static int
squat(const kolk_address *address, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    test_own(fd);
    CHECK_INT(
        bind(fd, (const struct sockaddr *)&address->storage, address->size), 0);
    return fd;
}

/* The path of a server that has died. */
static void
squat_dead(const kolk_address *address)
{
    test_close(squat(address, SOCK_STREAM));
    CHECK(path_exists(address));
}

static void
start_at(struct hall *hall, const kolk_address *address)
{
    CHECK_OK(kolk_server_bind(hall->server, address));
    CHECK_OK(kolk_server_start(hall->server));
}

TEST(a_path_is_there_while_the_server_is)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();

    start_at(hall, &address);
    (void)hall_knock(&address);
    hall_wait(hall, 1);
    CHECK(path_exists(&address));
    kolk_server_close(hall->server);
    CHECK(!path_exists(&address));
    CHECK_INT(folder_count(), 0);
}

TEST(an_abstract_name_has_no_file)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    struct hall *second = hall_new(1, loop, NULL);
    kolk_address address = place_unix_name("hall");
    char text[KOLK_ADDRESS_TEXT_MAX];

    start_at(hall, &address);
    (void)hall_knock(&address);
    hall_wait(hall, 1);
    CHECK_STR(kolk_address_format(&hall->peer, text, sizeof text), "unnamed");
    CHECK_ERR(kolk_server_bind(second->server, &address), -EADDRINUSE);
    kolk_server_close(hall->server);
    start_at(second, &address);
}

TEST(a_path_may_be_kept)
{
    kolk_loop *loop = test_loop_open();
    const kolk_server_options options = {.keep_path = true};
    struct hall *hall = hall_new(0, loop, &options);
    kolk_address address = folder_begin();

    start_at(hall, &address);
    kolk_server_close(hall->server);
    CHECK(path_exists(&address));
}

/* ---- taking over ---- */

TEST(what_a_dead_server_has_left_is_taken_over)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();

    squat_dead(&address);
    start_at(hall, &address);
    (void)hall_knock(&address);
    hall_wait(hall, 1);
    CHECK_INT(folder_count(), 1);
    kolk_server_close(hall->server);
    CHECK_INT(folder_count(), 0);
}

/* Is the path refused, and left as it was? */
static void
check_refused(struct hall *hall, const kolk_address *address)
{
    struct stat before, after;
    int count = folder_count();
    int sockets = place_count_sockets();

    CHECK_INT(lstat(path_of(address), &before), 0);
    CHECK_ERR(kolk_server_bind(hall->server, address), -EADDRINUSE);
    CHECK_INT(lstat(path_of(address), &after), 0);
    CHECK_INT(after.st_ino, before.st_ino);
    CHECK_INT(folder_count(), count);
    CHECK_INT(place_count_sockets(), sockets);
}

/* asyncio steals it. */
TEST(a_live_server_keeps_its_path_and_notices_nothing)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    struct hall *second = hall_new(1, loop, NULL);
    kolk_address address = folder_begin();

    start_at(hall, &address);
    check_refused(second, &address);
    test_settle(loop);
    CHECK_INT(hall->came, 0); /* nobody has knocked to find out */
    (void)hall_knock(&address);
    hall_wait(hall, 1);
}

TEST(a_server_that_does_not_listen_yet_keeps_its_path)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    struct hall *second = hall_new(1, loop, NULL);
    kolk_address address = folder_begin();

    CHECK_OK(kolk_server_bind(hall->server, &address));
    check_refused(second, &address);
    CHECK_OK(kolk_server_start(hall->server));
    (void)hall_knock(&address);
    hall_wait(hall, 1);
}

TEST(a_server_whose_queue_is_full_keeps_its_path)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();

    place_fill(squat(&address, SOCK_STREAM), &address);
    check_refused(hall, &address);
}

TEST(sockets_of_other_kinds_keep_their_paths)
{
    static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();

    for (int i = 0; i < 2; i++) {
        int fd = squat(&address, types[i]);

        check_refused(hall, &address);
        test_close(fd);
        CHECK_INT(unlink(path_of(&address)), 0);
    }
}

TEST(files_that_are_no_sockets_are_never_removed)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();
    char other[128];

    int fd = open(path_of(&address), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    test_own(fd);
    check_refused(hall, &address);
    CHECK_INT(unlink(path_of(&address)), 0);

    CHECK_INT(mkdir(path_of(&address), 0700), 0);
    check_refused(hall, &address);
    CHECK_INT(rmdir(path_of(&address)), 0);

    /* Not even a link to a dead socket. */
    (void)snprintf(other, sizeof other, "%s/dead", folder);
    squat_dead(&address);
    CHECK_INT(rename(path_of(&address), other), 0);
    CHECK_INT(symlink(other, path_of(&address)), 0);
    check_refused(hall, &address);
}

/* ---- at the same time as others ---- */

static const kolk_address *rival_address;
static int (*real_rename)(const char *from, const char *to);
static int rival_fd = -1;

/* Another server takes the path over, right before the library does. */
static int
rename_late(const char *from, const char *to)
{
    kolk__sys.rename = real_rename;
    CHECK_INT(unlink(path_of(rival_address)), 0);
    rival_fd = squat(rival_address, SOCK_STREAM);
    CHECK_INT(listen(rival_fd, 4), 0);
    return real_rename(from, to);
}

TEST(a_path_that_comes_alive_meanwhile_is_given_back)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();

    squat_dead(&address);
    rival_address = &address;
    real_rename = kolk__sys.rename;
    kolk__sys.rename = rename_late;
    CHECK_ERR(kolk_server_bind(hall->server, &address), -EADDRINUSE);
    CHECK(rival_fd >= 0);
    CHECK_INT(folder_count(), 1);
    (void)hall_knock(&address);
    (void)place_accept(rival_fd);
}

/* It is gone before the library looks. */
static int
rename_nothing(const char *from, const char *to)
{
    kolk__sys.rename = real_rename;
    CHECK_INT(unlink(from), 0);
    return real_rename(from, to);
}

TEST(a_path_that_goes_meanwhile_is_free)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();

    squat_dead(&address);
    real_rename = kolk__sys.rename;
    kolk__sys.rename = rename_nothing;
    start_at(hall, &address);
    (void)hall_knock(&address);
    hall_wait(hall, 1);
}

TEST(a_path_that_was_replaced_is_not_removed)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();

    start_at(hall, &address);
    CHECK_INT(unlink(path_of(&address)), 0);
    int fd = squat(&address, SOCK_STREAM);
    CHECK_INT(listen(fd, 4), 0);
    kolk_server_close(hall->server);
    CHECK(path_exists(&address));
    (void)hall_knock(&address);
    (void)place_accept(fd);
}

TEST(a_child_of_the_loops_process_leaves_the_path)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();
    int status = 0;

    start_at(hall, &address);
    pid_t child = fork();
    if (child == 0) {
        kolk_server_close(hall->server);
        _exit(kolk_loop_close(loop) == 0 ? 0 : 1);
    }
    CHECK(child > 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK(path_exists(&address));
    (void)hall_knock(&address);
    hall_wait(hall, 1);
}

/* ---- the mode ---- */

static void
umask_restore(void *unused)
{
    (void)unused;
    (void)umask(022);
}

TEST(the_mode_of_a_path_is_what_was_asked_for)
{
    static const mode_t modes[] = {0600, 0660, 0666, 0777};
    static const mode_t masks[] = {0, 022, 077};
    kolk_loop *loop = test_loop_open();
    kolk_address address = folder_begin();
    struct stat info;

    test_later(umask_restore, NULL);
    for (int i = 0; i < 12; i++) {
        const kolk_server_options options = {.mode = modes[i % 4]};
        kolk_server *server;

        (void)umask(masks[i / 4]);
        CHECK_OK(kolk_server_new(loop, &options, &hall_ops, NULL, &server));
        int fd = kolk_server_bind(server, &address);
        int found = stat(path_of(&address), &info);
        kolk_server_unref(server);
        CHECK_OK(fd);
        CHECK_INT(found, 0);
        CHECK_INT(info.st_mode & 07777, modes[i % 4]);
        CHECK(!path_exists(&address));
    }
}

TEST(without_a_mode_the_umask_decides)
{
    kolk_loop *loop = test_loop_open();
    struct hall *hall = hall_new(0, loop, NULL);
    kolk_address address = folder_begin();
    struct stat info;

    test_later(umask_restore, NULL);
    (void)umask(027);
    CHECK_OK(kolk_server_bind(hall->server, &address));
    CHECK_INT(stat(path_of(&address), &info), 0);
    CHECK_INT(info.st_mode & 07777, 0750);
}

static int
no_chmod(const char *path, mode_t mode)
{
    (void)path, (void)mode;
    errno = EPERM;
    return -1;
}

TEST(a_path_whose_mode_cannot_be_set_does_not_stay)
{
    kolk_loop *loop = test_loop_open();
    const kolk_server_options options = {.mode = 0666};
    struct hall *hall = hall_new(0, loop, &options);
    kolk_address address = folder_begin();

    test_later(umask_restore, NULL);
    (void)umask(077);
    kolk__sys.chmod = no_chmod;
    CHECK_ERR(kolk_server_bind(hall->server, &address), -EPERM);
    CHECK(!path_exists(&address));
    CHECK_INT(kolk_server_fds(hall->server, NULL, 0), 0);
}
