/* net_transport_terminal.c - transports over terminals.
 *
 * SPDX-License-Identifier: MIT
 *
 * A terminal that hangs up still holds what was written to it, and then fails
 * with EIO instead of ending. Loops have lost those bytes by taking the hang-up
 * for the end.
 */
#include "talker.h"

#include <termios.h>

/* Opens a terminal in raw mode, both of its ends the test's. */
static void
terminal_open(int *master, int *slave)
{
    struct termios raw;

    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK_OK(*master);
    test_own(*master);
    CHECK_INT(grantpt(*master), 0);
    CHECK_INT(unlockpt(*master), 0);
    *slave = open(ptsname(*master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK_OK(*slave);
    test_own(*slave);
    CHECK_INT(tcgetattr(*slave, &raw), 0);
    cfmakeraw(&raw);
    CHECK_INT(tcsetattr(*slave, TCSANOW, &raw), 0);
}

TEST(the_last_bytes_before_a_terminal_hangs_up_are_told)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    static char words[3000];
    int master, slave;

    memset(words, 'w', sizeof words);
    terminal_open(&master, &slave);
    CHECK_OK(talker_open(talker, master, NULL));
    talker_pass(talker, 3);
    /* Some kernels have room for less. */
    ssize_t size = write(slave, words, sizeof words);
    CHECK(size > 0);
    test_close(slave);
    CHECK_INT(talker_wait(talker), 0); /* EIO is its end */
    CHECK_INT(talker->size, size);
    CHECK(memcmp(talker->got, words, talker->size) == 0);
    CHECK_STR(talker->trace, "del");
}

TEST(a_terminal_carries_bytes_both_ways)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[8] = "";
    int master, slave;

    terminal_open(&master, &slave);
    CHECK_OK(talker_open(talker, slave, NULL));
    CHECK_INT(write(master, "typed", 5), 5);
    CHECK(talker_wait_size(talker, 5));
    CHECK_OK(kolk_transport_write(talker->transport, "shown", 5));
    CHECK_INT(fcntl(master, F_SETFL, O_NONBLOCK), 0);
    CHECK_INT(read(master, got, sizeof got), 5);
    CHECK_STR(got, "shown");
    CHECK(!kolk_transport_can_write_eof(talker->transport));
    CHECK_ERR(kolk_transport_write_eof(talker->transport), -EOPNOTSUPP);
    CHECK_INT(talker->losses, 0);
}

/* What is typed is not a terminal's that is only written to. */
TEST(a_terminal_that_is_only_written_to_is_not_read)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_transport_options options = {.write_only = true};
    char got[8] = "";
    int master, slave;

    terminal_open(&master, &slave);
    int other = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    test_own(other);
    CHECK_OK(talker_open(talker, slave, &options));
    CHECK_INT(write(master, "typed", 5), 5);
    talker_pass(talker, 5);
    CHECK_OK(kolk_transport_write(talker->transport, "shown", 5));
    CHECK_INT(read(other, got, sizeof got), 5);
    CHECK_STR(got, "typed");
    CHECK_STR(talker->trace, "");
}
