/* unix_socket.c - the files of Unix sockets: bound to, taken over, removed.
 *
 * SPDX-License-Identifier: MIT
 *
 * The file of a socket stays when its server dies, and nobody can bind to its
 * path any more. Whether anybody is behind it is asked of the kernel, by a
 * datagram socket that connects to it: a stream socket, listening or not yet,
 * refuses that as one of the wrong type, and notices nothing; no socket at all
 * refuses the connection.
 *
 * Between that answer and the removal, another server may have done the same.
 * So the dead file is held open, which keeps its inode from being used again;
 * what stands at the path is moved aside; and it is removed only if it is the
 * dead one, else put back.
 */
#include "net/unix_socket.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sys.h"

enum {
    UNIX_TRIES = 3, /* to bind, while others take the path over too */
    UNIX_ASIDE_MAX = KOLK_ADDRESS_TEXT_MAX + 64,
};

/* The path of `address`; NULL if it has none, as an abstract name. */
static const char *
unix_path(const kolk_address *address)
{
    const struct sockaddr_un *un =
        (const struct sockaddr_un *)&address->storage;

    return address->size > offsetof(struct sockaddr_un, sun_path)
                   && un->sun_path[0] != '\0'
               ? un->sun_path
               : NULL;
}

static int
unix_bind(int fd, const kolk_address *address)
{
    return kolk__sys.bind(fd, (const struct sockaddr *)&address->storage,
                          address->size)
                   < 0
               ? -errno
               : 0;
}

static bool
unix_is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* ---- taking over ---- */

/* Is there certainly no socket behind the path? */
static bool
unix_is_dead(const kolk_address *address)
{
    int fd =
        kolk__sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return false;
    }
    bool is_dead =
        kolk__sys.connect(fd, (const struct sockaddr *)&address->storage,
                          address->size)
            < 0
        && errno == ECONNREFUSED;
    (void)kolk__sys.close(fd); /* nothing was written to it */
    return is_dead;
}

/* It is not the one that is dead. If somebody else has the path by now, it has
 * lost it; where there are no links, there is no way to know. */
static void
unix_put_back(const char *aside, const char *path)
{
    if (kolk__sys.link(aside, path) == 0 || errno == EEXIST) {
        (void)kolk__sys.unlink(aside); /* a second name does no harm */
    } else {
        (void)kolk__sys.rename(aside, path);
    }
}

/* Removes what stands at `path` if it is the file `dead`. */
static int
unix_remove_dead(const char *path, const struct stat *dead)
{
    static atomic_uint counter;
    char aside[UNIX_ASIDE_MAX];
    struct stat info;

    (void)snprintf(aside, sizeof aside, "%s.%ld-%u", path, (long)getpid(),
                   atomic_fetch_add(&counter, 1));
    if (kolk__sys.rename(path, aside) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (kolk__sys.lstat(aside, &info) == 0 && unix_is_same(&info, dead)) {
        return kolk__sys.unlink(aside) < 0 ? -errno : 0;
    }
    unix_put_back(aside, path);
    return -EADDRINUSE;
}

/* Sees to it that the path is free. Returns 0 if it is, or was just now. */
static int
unix_take_over(const kolk_address *address)
{
    const char *path = unix_path(address);
    struct stat info;
    int err = -EADDRINUSE;
    int fd = kolk__sys.open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);

    if (fd < 0) {
        return errno == ENOENT ? 0 : -EADDRINUSE;
    }
    if (kolk__sys.fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode)
        && unix_is_dead(address)) {
        err = unix_remove_dead(path, &info);
    }
    (void)kolk__sys.close(fd); /* nothing can be written to it */
    return err;
}

/* ---- the mode ---- */

/* Gives the file the bits that the umask took from it. By an open file, for the
 * path may be somebody else's by now. */
static int
unix_set_mode(const kolk__unix_file *file, mode_t mode)
{
    char path[32];
    struct stat info;
    int err = 0;
    int fd = kolk__sys.open(file->path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (kolk__sys.fstat(fd, &info) < 0) {
        err = -errno;
    } else if (info.st_ino != file->inode || info.st_dev != file->device) {
        err = -EADDRINUSE;
    } else if ((info.st_mode & 07777) != mode) {
        err = kolk__sys.chmod(path, mode) < 0 ? -errno : 0;
    }
    (void)kolk__sys.close(fd); /* nothing can be written to it */
    return err;
}

/* Remembers which file it is, and makes it ready. */
static int
unix_adopt(const char *path, mode_t mode, kolk__unix_file *out)
{
    struct stat info;
    int err = 0;

    if (kolk__sys.lstat(path, &info) < 0) {
        err = -errno;
    } else {
        (void)snprintf(out->path, sizeof out->path, "%s", path);
        out->device = info.st_dev;
        out->inode = info.st_ino;
        err = mode != 0 ? unix_set_mode(out, mode) : 0;
    }
    if (err < 0) {
        (void)kolk__sys.unlink(path); /* it stays, if even that fails */
        out->path[0] = '\0';
    }
    return err;
}

int
kolk__unix_bind(int fd, const kolk_address *address, mode_t mode,
                kolk__unix_file *out)
{
    const char *path = unix_path(address);

    *out = (kolk__unix_file){.path = ""};
    if (path == NULL) {
        return unix_bind(fd, address);
    }
    /* The file will have these bits, less the umask's, so that it never has
     * more than it should. */
    if (mode != 0 && kolk__sys.fchmod(fd, mode) < 0) {
        return -errno;
    }
    int err = unix_bind(fd, address);
    for (int i = 1; err == -EADDRINUSE && i < UNIX_TRIES; i++) {
        err = unix_take_over(address);
        if (err < 0) {
            break;
        }
        err = unix_bind(fd, address);
    }
    return err < 0 ? err : unix_adopt(path, mode, out);
}

void
kolk__unix_remove(const kolk__unix_file *file)
{
    struct stat info;

    if (file->path[0] != '\0' && kolk__sys.lstat(file->path, &info) == 0
        && info.st_ino == file->inode && info.st_dev == file->device) {
        (void)kolk__sys.unlink(file->path); /* the directory may be closed */
    }
}
