/* task_pty.c - terminals: the last bytes before a hang-up are read.
 *
 * SPDX-License-Identifier: MIT
 *
 * A terminal that hangs up still holds what was written to it, and then fails
 * with EIO instead of ending. Loops have lost those bytes by taking the hang-up
 * for the end.
 */
#include "tasks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static struct {
    int master, slave;
    char text[64];
    size_t size;
} pty;

static void
pty_close(void *unused)
{
    (void)unused;
    (void)close(pty.master);
    if (pty.slave >= 0) {
        (void)close(pty.slave);
    }
}

static void
pty_open(void)
{
    struct termios raw;

    pty.slave = -1;
    pty.master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    CHECK_OK(pty.master);
    test_later(pty_close, NULL);
    CHECK_INT(grantpt(pty.master), 0);
    CHECK_INT(unlockpt(pty.master), 0);
    pty.slave = open(ptsname(pty.master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK_OK(pty.slave);
    CHECK_INT(tcgetattr(pty.slave, &raw), 0);
    cfmakeraw(&raw);
    CHECK_INT(tcsetattr(pty.slave, TCSANOW, &raw), 0);
}

static int
pty_read(void *unused)
{
    int n;

    (void)unused;
    do { /* in small pieces, so that the hang-up comes in between */
        n = kolk_read(pty.master, pty.text + pty.size, 5);
        pty.size += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    kolk_forget(kolk_current_loop(), pty.master);
    return n;
}

static int
pty_hang_up(void *unused)
{
    static const char bye[] = "the last words";
    kolk_task *reader = tasks_spawn(pty_read, NULL);

    (void)unused;
    if (reader == NULL) {
        return 0;
    }
    tasks_pass(3); /* it waits by now */
    CHECK_INT(write(pty.slave, bye, sizeof bye), sizeof bye);
    CHECK_INT(close(pty.slave), 0);
    pty.slave = -1;
    CHECK_ERR(kolk_await(reader), -EIO);
    CHECK_INT(pty.size, sizeof bye);
    CHECK_STR(pty.text, bye);
    return 0;
}

TEST(the_last_bytes_before_a_terminal_hangs_up_are_read)
{
    pty_open();
    CHECK_OK(tasks_run_real(pty_hang_up, NULL));
}
