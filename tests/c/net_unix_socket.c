/* net_unix_socket.c - the files of Unix sockets: whose they are.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/sys.h"
#include "folder.h"
#include "net/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/un.h>

/* A socket that is not bound yet. */
static int
file_socket(int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    test_own(fd);
    return fd;
}

static kolk_address
file_name(const char *path)
{
    kolk_address name = {0};

    CHECK_OK(kolk_address_unix(path, strlen(path), &name));
    return name;
}

TEST_ONCE(a_bound_socket_has_a_file_with_its_mode)
{
    folder_open();
    kolk_address name = file_name(folder_path("a"));
    kolk__unix_file file;
    struct stat info;
    int fd = file_socket(SOCK_STREAM);
    mode_t before = umask(077);

    int err = kolk__unix_bind(fd, &name, 0666, &file);
    (void)umask(before);
    CHECK_OK(err);
    CHECK_INT(stat(folder_path("a"), &info), 0);
    CHECK_INT(info.st_mode & 0777, 0666);
    kolk__unix_remove(&file);
    CHECK(!folder_has("a"));
    kolk__unix_remove(&file); /* a no-op */
}

TEST_ONCE(an_abstract_name_has_no_file)
{
    kolk_address name;
    kolk__unix_file file;
    char path[] = "\0kolk-XXXXXXXX";

    (void)snprintf(path + 6, 9, "%08lx", (unsigned long)getpid());
    CHECK_OK(kolk_address_unix(path, sizeof path - 1, &name));
    CHECK_OK(kolk__unix_bind(file_socket(SOCK_STREAM), &name, 0600, &file));
    CHECK_STR(file.path, "");
    CHECK_ERR(kolk__unix_bind(file_socket(SOCK_STREAM), &name, 0, &file),
              -EADDRINUSE);
    kolk__unix_remove(&file);
}

static void
file_take_over(int dead, int type)
{
    kolk_address name = file_name(folder_path("a"));
    kolk__unix_file file;
    int old = file_socket(dead), fd = file_socket(type);

    CHECK_OK(kolk__unix_bind(old, &name, 0, &file));
    CHECK_ERR(kolk__unix_bind(fd, &name, 0, &file), -EADDRINUSE);
    CHECK(folder_has("a"));
    test_close(old);
    CHECK_OK(kolk__unix_bind(fd, &name, 0, &file));
    kolk__unix_remove(&file);
    CHECK_INT(folder_count(), 0); /* nothing was left aside */
    test_close(fd);
}

TEST_ONCE(a_dead_socket_of_each_type_is_taken_over_by_each)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

    folder_open();
    for (int i = 0; i < 9; i++) {
        file_take_over(types[i / 3], types[i % 3]);
    }
}

/* It will listen in a moment; and once it does, nobody has knocked. */
TEST_ONCE(a_server_that_does_not_listen_yet_is_alive)
{
    folder_open();
    kolk_address name = file_name(folder_path("a"));
    kolk__unix_file file, other;
    int fd = file_socket(SOCK_STREAM | SOCK_NONBLOCK);

    CHECK_OK(kolk__unix_bind(fd, &name, 0, &file));
    CHECK_ERR(kolk__unix_bind(file_socket(SOCK_STREAM), &name, 0, &other),
              -EADDRINUSE);
    CHECK_INT(listen(fd, 1), 0);
    CHECK_ERR(kolk__unix_bind(file_socket(SOCK_STREAM), &name, 0, &other),
              -EADDRINUSE);
    CHECK_INT(accept4(fd, NULL, NULL, SOCK_CLOEXEC), -1);
    CHECK_INT(errno, EAGAIN);
    kolk__unix_remove(&file);
}

TEST_ONCE(other_files_are_left_alone)
{
    folder_open();
    kolk_address name = file_name(folder_path("a"));
    kolk__unix_file file;

    test_own(open(folder_path("a"), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    CHECK_ERR(kolk__unix_bind(file_socket(SOCK_STREAM), &name, 0, &file),
              -EADDRINUSE);
    CHECK(folder_has("a"));
    CHECK_INT(unlink(folder_path("a")), 0);
    CHECK_INT(symlink("nowhere", folder_path("a")), 0);
    CHECK_ERR(kolk__unix_bind(file_socket(SOCK_STREAM), &name, 0, &file),
              -EADDRINUSE);
    CHECK(folder_has("a"));
    name = file_name(folder_path("no/folder"));
    CHECK_ERR(kolk__unix_bind(file_socket(SOCK_STREAM), &name, 0, &file),
              -ENOENT);
}

TEST_ONCE(the_file_of_somebody_else_is_not_removed)
{
    folder_open();
    kolk_address name = file_name(folder_path("a"));
    kolk__unix_file file, other;
    int fd = file_socket(SOCK_STREAM);

    CHECK_OK(kolk__unix_bind(fd, &name, 0, &file));
    CHECK_INT(unlink(folder_path("a")), 0);
    CHECK_OK(kolk__unix_bind(file_socket(SOCK_STREAM), &name, 0, &other));
    kolk__unix_remove(&file);
    CHECK(folder_has("a"));
    kolk__unix_remove(&other);
    CHECK(!folder_has("a"));
}

/* ---- two that take over at a time ---- */

static struct {
    int (*rename)(const char *from, const char *to);
    int (*link)(const char *from, const char *to);
    int fd; /* of the other */
    kolk_address name;
    int renames;
    int newer; /* a third one, or -1 */
} rival;

/* The other has found the socket dead, too, and is quicker. */
static int
rival_rename(const char *from, const char *to)
{
    if (rival.renames++ == 0) {
        CHECK_INT(unlink(from), 0);
        CHECK_INT(bind(rival.fd, (struct sockaddr *)&rival.name.storage,
                       rival.name.size),
                  0);
    }
    return rival.rename(from, to);
}

static int
rival_link(const char *from, const char *to)
{
    if (rival.newer >= 0) {
        CHECK_INT(bind(rival.newer, (struct sockaddr *)&rival.name.storage,
                       rival.name.size),
                  0);
    }
    return rival.link(from, to);
}

static int
rival_no_link(const char *from, const char *to)
{
    (void)from, (void)to;
    errno = EPERM; /* as some file systems say */
    return -1;
}

static void
rival_begin(void)
{
    folder_open();
    rival.name = file_name(folder_path("a"));
    rival.fd = file_socket(SOCK_DGRAM);
    rival.newer = -1;
    int old = file_socket(SOCK_STREAM);
    CHECK_INT(
        bind(old, (struct sockaddr *)&rival.name.storage, rival.name.size), 0);
    test_close(old);
    rival.rename = kolk__sys.rename;
    rival.link = kolk__sys.link;
    kolk__sys.rename = rival_rename;
}

static void
rival_check(int fd)
{
    kolk__unix_file file;
    char byte;
    int sender = file_socket(SOCK_DGRAM);

    CHECK_ERR(kolk__unix_bind(file_socket(SOCK_STREAM), &rival.name, 0, &file),
              -EADDRINUSE);
    CHECK_INT(sendto(sender, "x", 1, 0, (struct sockaddr *)&rival.name.storage,
                     rival.name.size),
              1);
    CHECK_INT(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
    CHECK_INT(folder_count(), 1);
}

TEST_ONCE(who_was_quicker_keeps_the_path)
{
    rival_begin();
    rival_check(rival.fd);
}

TEST_ONCE(who_was_quicker_keeps_the_path_where_there_are_no_links)
{
    rival_begin();
    kolk__sys.link = rival_no_link;
    rival_check(rival.fd);
}

TEST_ONCE(a_third_one_keeps_the_path_that_it_has_taken_meanwhile)
{
    rival_begin();
    kolk__sys.link = rival_link;
    rival.newer = file_socket(SOCK_DGRAM);
    rival_check(rival.newer);
}
