/* base_sys.c - the table of system calls keeps the real calls' conventions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

TEST_ONCE(no_entry_is_empty)
{
    static const char zero[sizeof(void *)];
    const char *entry = (const char *)&kolk__sys;

    for (size_t at = 0; at < sizeof kolk__sys; at += sizeof(void *)) {
        CHECK(memcmp(entry + at, zero, sizeof zero) != 0);
    }
}

TEST_ONCE(a_system_call_that_fails_says_so_in_errno)
{
    char byte;

    CHECK_INT(kolk__sys.read(-1, &byte, 1), -1);
    CHECK_INT(errno, EBADF);
}

TEST_ONCE(fcntl_and_open_pass_their_last_argument)
{
    int fds[2];

    test_pipe(fds);
    CHECK_INT(kolk__sys.fcntl(fds[0], F_SETFD, 0), 0);
    CHECK_INT(kolk__sys.fcntl(fds[0], F_GETFD, 0), 0);
    CHECK_INT(kolk__sys.fcntl(fds[0], F_SETFD, FD_CLOEXEC), 0);
    CHECK_INT(kolk__sys.fcntl(fds[0], F_GETFD, 0), FD_CLOEXEC);
}

TEST_ONCE(epoll_pwait2_waits_or_is_missing)
{
    struct timespec soon = {.tv_nsec = 1000};
    struct epoll_event event;
    int epfd = kolk__sys.epoll_create1(EPOLL_CLOEXEC);

    CHECK_OK(epfd);
    int result = kolk__sys.epoll_pwait2(epfd, &event, 1, &soon, NULL);
    int err = errno;
    CHECK_INT(kolk__sys.close(epfd), 0);
    CHECK(result == 0 || (result == -1 && err == ENOSYS));
}

TEST_ONCE(memory_is_given_back)
{
    char *block = kolk__sys.malloc(10);

    CHECK(block != NULL);
    block[9] = 'x';
    char *larger = kolk__sys.realloc(block, 1000);
    if (larger == NULL) {
        kolk__sys.free(block); /* which it has left alone */
    }
    CHECK(larger != NULL);
    CHECK_INT(larger[9], 'x');
    kolk__sys.free(larger);
    kolk__sys.free(NULL);
}
