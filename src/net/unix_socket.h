/* unix_socket.h - the files of Unix sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <sys/stat.h>

#include <kolk/address.h>

/* The file that a socket is bound to; no path: none. */
typedef struct kolk__unix_file {
    char path[KOLK_ADDRESS_TEXT_MAX];
    dev_t device;
    ino_t inode;
} kolk__unix_file;

/* Binds `fd`, a Unix socket, to `address`. A path that a dead server has left
 * is taken over. `mode` is the file's; 0: as the umask says. Returns 0 or an
 * error, -EADDRINUSE if a live socket or another file has the path. */
int kolk__unix_bind(int fd, const kolk_address *address, mode_t mode,
                    kolk__unix_file *out);

/* Removes the file, unless it has been replaced by another one. The socket is
 * still open. */
void kolk__unix_remove(const kolk__unix_file *file);
