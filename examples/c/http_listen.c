/* http_listen.c - a socket that waits for connections from this machine.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

int
http_listen(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(*port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *name = (struct sockaddr *)&address;
    socklen_t size = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* A connection inherits TCP_NODELAY: the last part of a file must not wait
     * until the peer has acknowledged what came before. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0
        || bind(fd, name, size) < 0 || listen(fd, SOMAXCONN) < 0
        || getsockname(fd, name, &size) < 0) {
        int err = -errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return err;
    }
    *port = ntohs(address.sin_port);
    return fd;
}
