/* net_transport.c - the life of a transport.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"

TEST(bytes_go_both_ways)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char answer[8] = "";
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "hello", 5), 5);
    CHECK(talker_wait_size(talker, 5));
    CHECK_STR(talker->got, "hello");
    CHECK_OK(kolk_transport_write(talker->transport, "you", 3));
    CHECK_INT(read(fds[1], answer, sizeof answer), 3);
    CHECK_STR(answer, "you");
    test_close(fds[1]);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->trace, "del");
}
