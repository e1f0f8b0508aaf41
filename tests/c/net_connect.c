/* net_connect.c - connecting to the address that answers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "names.h"
#include "op_kit.h"
#include "places.h"

#include <sys/wait.h>

#include <kolk/connect.h>

/* A connector that remembers how it ended. */
struct dial {
    kolk_connector connector;
    kolk_loop *loop;
    int runs, drops;
    int result; /* a socket is closed at the end of the test */
    kolk_time when;
    kolk_attempt attempts[8];
    size_t attempt_count;
    const kolk_address *then_to; /* connects to that when it ends, once */
    kolk_timer patience;
};

static void
dial_ended(kolk_connector *connector)
{
    struct dial *self = KOLK_CONTAINER_OF(connector, struct dial, connector);
    const kolk_address *next = self->then_to;

    CHECK(!kolk_connector_is_pending(connector));
    self->result = place_own(connector->result);
    self->when = kolk_now(self->loop);
    self->runs++;
    self->attempt_count = connector->attempt_count;
    for (size_t i = 0; i < self->attempt_count && i < 8; i++) {
        self->attempts[i] = connector->attempts[i];
    }
    if (next != NULL) {
        self->then_to = NULL;
        CHECK_OK(kolk_connector_start_to(self->loop, connector, next, 1, NULL));
    } else {
        kolk_connector_fini(connector);
        kolk_loop_stop(self->loop);
    }
}

static void
dial_dropped(kolk_connector *connector)
{
    struct dial *self = KOLK_CONTAINER_OF(connector, struct dial, connector);

    CHECK(!kolk_connector_is_pending(connector));
    self->drops++;
}

static void
dial_init(struct dial *self, kolk_loop *loop)
{
    *self = (struct dial){.loop = loop};
    kolk_connector_init(&self->connector, dial_ended, dial_dropped);
}

static void
dial_to(struct dial *self, kolk_loop *loop, const kolk_address *addresses,
        size_t count, const kolk_connect_options *options)
{
    dial_init(self, loop);
    CHECK_OK(kolk_connector_start_to(loop, &self->connector, addresses, count,
                                     options));
    CHECK_INT(self->runs, 0);
    CHECK(kolk_connector_is_pending(&self->connector));
}

static void
dial_name(struct dial *self, kolk_loop *loop, const char *host, uint16_t port,
          const kolk_connect_options *options)
{
    char service[8];

    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    dial_init(self, loop);
    CHECK_OK(
        kolk_connector_start(loop, &self->connector, host, service, options));
}

static void
dial_give_up(kolk_timer *timer)
{
    struct dial *self = KOLK_CONTAINER_OF(timer, struct dial, patience);

    kolk_connector_cancel(self->loop, &self->connector);
}

/* Runs the loop until `self` has ended; its result. Where calls fail, only
 * silent places may be left, so patience has an end. */
static int
dial_wait(struct dial *self)
{
    kolk_timer_init(&self->patience, dial_give_up, NULL);
    CHECK_OK(kolk_call_later(self->loop, &self->patience,
                             test_is_hard() ? KOLK_S(15) : KOLK_NEVER));
    while (kolk_connector_is_pending(&self->connector)) {
        if (kolk_run_forever(self->loop) < 0 || kit_failures() > 0) {
            kolk_timer_stop(self->loop, &self->patience);
            return -ECHILD; /* no result of any test here */
        }
    }
    kolk_timer_stop(self->loop, &self->patience);
    CHECK_INT(self->runs, 1);
    return self->result;
}

/* Is attempt number `i` the one to `address`, and has it come to `error`? */
static void
dial_check(const struct dial *self, size_t i, const kolk_address *address,
           int error)
{
    CHECK(i < self->attempt_count);
    const kolk_attempt *attempt = &self->attempts[i];
    CHECK(kolk_address_equal(&attempt->address, address));
    CHECK_INT(attempt->error, error);
}

/* ---- sockets ---- */

TEST(the_socket_is_connected_and_ready_for_use)
{
    kolk_loop *loop = test_loop_open();
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    struct dial self;
    int nodelay = 0;
    socklen_t size = sizeof nodelay;
    kolk_address peer = {.size = sizeof peer.storage};

    place_watch_closes();
    dial_to(&self, loop, &good, 1, NULL);
    int fd = dial_wait(&self);
    CHECK_OK(fd);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_INT(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size), 0);
    CHECK(nodelay != 0);
    CHECK_INT(getpeername(fd, (struct sockaddr *)&peer.storage, &peer.size), 0);
    CHECK(kolk_address_equal(&peer, &good));
    CHECK(kolk_address_equal(&self.connector.peer, &good));
    CHECK_INT(self.attempt_count, 0);
}

TEST(unix_sockets_are_connected_too)
{
    kolk_loop *loop = test_loop_open();
    kolk_address name = place_unix_name("unix");
    struct dial self;

    CHECK_INT(listen(place_bind(&name), 1), 0);
    dial_to(&self, loop, &name, 1, NULL);
    CHECK_OK(dial_wait(&self));
    CHECK(kolk_address_equal(&self.connector.peer, &name));
}

/* ---- happy eyeballs ---- */

TEST(what_refuses_is_passed_at_once)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_bad("127.0.0.2", 0),
        place_bad("127.0.0.3", 0),
        place_good("127.0.0.1", 0, NULL),
        place_bad("127.0.0.4", 0),
    };
    struct dial self;

    place_watch_closes();
    dial_to(&self, loop, addresses, 4, NULL);
    CHECK_OK(dial_wait(&self));
    CHECK_INT(self.when, 0);
    CHECK(kolk_address_equal(&self.connector.peer, &addresses[2]));
    CHECK_INT(self.attempt_count, 2);
    dial_check(&self, 0, &addresses[0], -ECONNREFUSED);
    dial_check(&self, 1, &addresses[1], -ECONNREFUSED);
}

TEST(what_is_silent_is_passed_after_the_delay)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_silent("127.0.0.2", 0),
        place_good("127.0.0.1", 0, NULL),
    };
    int count = place_count_sockets();
    struct dial self;

    place_watch_closes();
    dial_to(&self, loop, addresses, 2, NULL);
    CHECK_OK(dial_wait(&self));
    CHECK_INT(self.when, KOLK_MS(250));
    CHECK_INT(self.attempt_count, 0);
    CHECK_INT(place_count_sockets(), count + 1); /* the silent one is closed */
}

TEST(each_attempt_has_its_delay)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_silent("127.0.0.2", 0),
        place_silent("127.0.0.3", 0),
        place_bad("127.0.0.4", 0),
        place_good("127.0.0.1", 0, NULL),
    };
    const kolk_connect_options options = {.delay = KOLK_MS(100)};
    struct dial self;

    place_watch_closes();
    dial_to(&self, loop, addresses, 4, &options);
    CHECK_OK(dial_wait(&self));
    CHECK_INT(self.when, KOLK_MS(200));
    CHECK(kolk_address_equal(&self.connector.peer, &addresses[3]));
    CHECK_INT(self.attempt_count, 1);
    dial_check(&self, 0, &addresses[2], -ECONNREFUSED);
}

TEST(without_a_delay_each_attempt_waits_for_the_one_before)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_bad("127.0.0.3", 0),
        place_silent("127.0.0.2", 0),
        place_good("127.0.0.1", 0, NULL),
    };
    const kolk_connect_options options = {.delay = KOLK_NEVER};
    struct dial self;

    dial_to(&self, loop, addresses, 3, &options);
    test_advance(loop, KOLK_S(10));
    CHECK(kolk_connector_is_pending(&self.connector));
    CHECK_INT(self.runs, 0);
    kolk_connector_cancel(loop, &self.connector);
    CHECK_INT(dial_wait(&self), -ECANCELED);
    CHECK_INT(self.attempt_count, 1);
}

TEST(when_all_fail_the_last_error_is_the_result)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_bad("127.0.0.2", 0),
        place_unix_name("nobody"),
        {.size = 2, .storage = {.ss_family = AF_MAX}},
        place_bad("127.0.0.4", 0),
    };
    struct dial self;

    place_watch_closes();
    dial_to(&self, loop, addresses, 4, NULL);
    CHECK_INT(dial_wait(&self), -ECONNREFUSED);
    CHECK_INT(self.when, 0);
    CHECK_INT(self.attempt_count, 4);
    dial_check(&self, 0, &addresses[0], -ECONNREFUSED);
    dial_check(&self, 1, &addresses[1], -ECONNREFUSED);
    dial_check(&self, 2, &addresses[2], -EAFNOSUPPORT);
    dial_check(&self, 3, &addresses[3], -ECONNREFUSED);
    CHECK_INT(self.connector.attempt_count, 0);
    kolk_connector_fini(&self.connector);
}

TEST(the_last_one_is_waited_for)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_bad("127.0.0.2", 0),
        place_silent("127.0.0.3", 0),
    };
    struct dial self;

    dial_to(&self, loop, addresses, 2, NULL);
    test_advance(loop, KOLK_S(10));
    CHECK(kolk_connector_is_pending(&self.connector));
    kolk_connector_cancel(loop, &self.connector);
    CHECK_INT(dial_wait(&self), -ECANCELED);
}

/* A full Unix socket is an attempt whose end the test has in its hands. */
TEST(an_older_attempt_that_fails_starts_nothing)
{
    kolk_loop *loop = test_loop_open();
    int listener;
    const kolk_address addresses[] = {
        place_full("older", &listener),
        place_silent("127.0.0.2", 0),
        place_good("127.0.0.1", 0, NULL),
    };
    struct dial self;

    place_watch_closes();
    dial_to(&self, loop, addresses, 3, NULL);
    test_advance(loop, KOLK_MS(300));
    test_close(listener);
    test_advance(loop, KOLK_MS(499));
    CHECK_INT(self.runs, 0);
    CHECK_OK(dial_wait(&self));
    CHECK_INT(self.when, KOLK_MS(500));
    CHECK(kolk_address_equal(&self.connector.peer, &addresses[2]));
    CHECK_INT(self.attempt_count, 1);
    dial_check(&self, 0, &addresses[0], -ECONNREFUSED);
}

TEST(an_older_attempt_may_win)
{
    kolk_loop *loop = test_loop_open();
    int listener;
    const kolk_address addresses[] = {
        place_full("late", &listener),
        place_silent("127.0.0.2", 0),
        place_silent("127.0.0.3", 0),
        place_good("127.0.0.1", 0, NULL),
    };
    int count = place_count_sockets();
    struct dial self;

    place_watch_closes();
    dial_to(&self, loop, addresses, 4, NULL);
    test_advance(loop, KOLK_MS(510));
    CHECK_INT(self.runs, 0);
    (void)place_accept(listener);
    CHECK_OK(dial_wait(&self));
    CHECK(self.when < KOLK_MS(750));
    CHECK(kolk_address_equal(&self.connector.peer, &addresses[0]));
    CHECK_INT(place_count_sockets(), count + 2);
}

/* When all have failed but an older one, that one decides. */
TEST(the_oldest_may_be_the_last_to_fail)
{
    kolk_loop *loop = test_loop_open();
    int listener;
    const kolk_address addresses[] = {
        place_full("oldest", &listener),
        place_bad("127.0.0.2", 0),
        place_bad("127.0.0.3", 0),
    };
    struct dial self;

    dial_to(&self, loop, addresses, 3, NULL);
    test_advance(loop, KOLK_MS(1000));
    CHECK_INT(self.runs, 0);
    test_close(listener);
    CHECK_INT(dial_wait(&self), -ECONNREFUSED);
    CHECK_INT(self.attempt_count, 3);
    dial_check(&self, 0, &addresses[1], -ECONNREFUSED);
    dial_check(&self, 1, &addresses[2], -ECONNREFUSED);
    dial_check(&self, 2, &addresses[0], -ECONNREFUSED);
}

TEST(a_full_unix_socket_is_tried_again_until_there_is_room)
{
    kolk_loop *loop = test_loop_open();
    int listener;
    kolk_address full = place_full("full", &listener);
    struct dial self;

    place_watch_closes();
    dial_to(&self, loop, &full, 1, NULL);
    test_advance(loop, KOLK_S(5));
    CHECK_INT(self.runs, 0);
    (void)place_accept(listener);
    CHECK_OK(dial_wait(&self));
    CHECK(self.when <= KOLK_MS(5100));
    CHECK_INT(self.attempt_count, 0);
}

/* ---- order ---- */

/* The ports of refused attempts, in their order. */
static void
check_order(const kolk_connect_options *options, const char *expected)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_bad("::1", 0),       place_bad("::1", 0),
        place_bad("::1", 0),       place_bad("127.0.0.1", 0),
        place_bad("::1", 0),       place_bad("127.0.0.1", 0),
        place_unix_name("nobody"),
    };
    const size_t count = sizeof addresses / sizeof *addresses;
    struct dial self;
    char order[16] = "";

    dial_to(&self, loop, addresses, count, options);
    CHECK_INT(dial_wait(&self), -ECONNREFUSED);
    CHECK_INT(self.attempt_count, count);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            if (kolk_address_equal(&self.attempts[i].address, &addresses[j])) {
                order[i] = (char)('0' + j);
            }
        }
    }
    CHECK_STR(order, expected);
}

TEST(families_take_turns)
{
    check_order(NULL, "0361524");
}

TEST(the_first_family_may_be_ahead)
{
    check_order(&(kolk_connect_options){.interleave = 2}, "0136254");
}

TEST(a_family_cannot_be_ahead_by_more_than_it_has)
{
    check_order(&(kolk_connect_options){.interleave = 9}, "0124365");
}

TEST(families_take_no_turns_in_order)
{
    check_order(&(kolk_connect_options){.in_order = true, .interleave = 2},
                "0123456");
}

/* ---- local addresses ---- */

TEST(the_socket_is_bound_to_the_first_local_address_that_works)
{
    kolk_loop *loop = test_loop_open();
    int listener;
    kolk_address good = place_good("127.0.0.1", 0, &listener);
    const kolk_address local[] = {
        place_parse("::1", 0),
        place_parse("203.0.113.1", 0), /* nobody has it */
        place_parse("127.0.0.5", 0),
        place_parse("127.0.0.6", 0),
    };
    const kolk_connect_options options = {.local = local, .local_count = 4};
    kolk_address peer = {.size = sizeof peer.storage};
    struct dial self;
    char text[KOLK_ADDRESS_TEXT_MAX];

    dial_init(&self, loop);
    CHECK_OK(
        kolk_connector_start_to(loop, &self.connector, &good, 1, &options));
    CHECK_OK(dial_wait(&self));
    CHECK_INT(self.attempt_count, 1);
    dial_check(&self, 0, &local[1], -EADDRNOTAVAIL);
    CHECK(self.attempts[0].is_local);
    CHECK_INT(getpeername(place_accept(listener),
                          (struct sockaddr *)&peer.storage, &peer.size),
              0);
    (void)kolk_address_format(&peer, text, sizeof text);
    CHECK(strncmp(text, "127.0.0.5:", 10) == 0);
}

TEST(an_address_without_a_local_one_is_passed)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_bad("::1", 0),
        place_good("127.0.0.1", 0, NULL),
    };
    const kolk_address local[] = {place_parse("203.0.113.1", 0),
                                  place_parse("203.0.113.2", 0)};
    const kolk_connect_options options = {.local = local, .local_count = 2};
    struct dial self;

    place_watch_closes();
    dial_init(&self, loop);
    CHECK_OK(
        kolk_connector_start_to(loop, &self.connector, addresses, 2, &options));
    CHECK_INT(dial_wait(&self), -EADDRNOTAVAIL);
    CHECK_INT(self.attempt_count, 3);
    dial_check(&self, 0, &addresses[0], -EADDRNOTAVAIL);
    CHECK(!self.attempts[0].is_local);
    dial_check(&self, 1, &local[0], -EADDRNOTAVAIL);
    dial_check(&self, 2, &local[1], -EADDRNOTAVAIL);
    CHECK(self.attempts[2].is_local);
}

/* ---- names ---- */

static const struct name table[] = {
    {.host = "mixed", .addresses = {"::1", "127.0.0.2", "127.0.0.1"}},
    {.host = "local", .addresses = {"127.0.0.5"}},
    {.host = "slow", .addresses = {"127.0.0.1"}, .is_slow = true},
    {.host = "noname", .code = EAI_NONAME},
    {0},
};

TEST(a_name_is_looked_up_and_its_addresses_tried)
{
    kolk_loop *loop = test_loop_open();
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    uint16_t port = kolk_address_port(&good);
    kolk_address first = place_bad("127.0.0.2", port);
    kolk_address six = place_bad("::1", port);
    struct dial self;

    names_begin(table);
    dial_name(&self, loop, "mixed", port, NULL);
    CHECK_OK(dial_wait(&self));
    CHECK(kolk_address_equal(&self.connector.peer, &good));
    CHECK_INT(self.attempt_count, 2);
    dial_check(&self, 0, &six, -ECONNREFUSED);
    dial_check(&self, 1, &first, -ECONNREFUSED);
    CHECK_INT(names.hints.ai_socktype, SOCK_STREAM);
}

TEST(the_lookup_is_as_the_options_say)
{
    kolk_loop *loop = test_loop_open();
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    uint16_t port = kolk_address_port(&good);
    const kolk_connect_options options = {
        .family = AF_INET, .flags = AI_ADDRCONFIG, .protocol = IPPROTO_TCP};
    struct dial self;

    (void)place_bad("127.0.0.2", port);
    names_begin(table);
    dial_name(&self, loop, "mixed", port, &options);
    CHECK_OK(dial_wait(&self));
    CHECK_INT(self.attempt_count, 1);
    CHECK_INT(names.hints.ai_family, AF_INET);
    CHECK_INT(names.hints.ai_flags, AI_ADDRCONFIG);
    CHECK_INT(names.hints.ai_protocol, IPPROTO_TCP);
}

TEST(an_address_needs_no_lookup_in_a_thread)
{
    kolk_loop *loop = test_loop_open();
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    struct dial self;

    dial_name(&self, loop, "127.0.0.1", kolk_address_port(&good), NULL);
    CHECK_OK(dial_wait(&self));
    CHECK(kolk_address_equal(&self.connector.peer, &good));
}

TEST(a_name_that_nobody_knows_is_an_error)
{
    kolk_loop *loop = test_loop_open();
    struct dial self;

    names_begin(table);
    dial_name(&self, loop, "noname", 1, NULL);
    CHECK_INT(kolk_resolve_code(dial_wait(&self)), EAI_NONAME);
    CHECK_INT(self.attempt_count, 0);
}

TEST(local_names_are_looked_up_beside)
{
    kolk_loop *loop = test_loop_open();
    int listener;
    kolk_address good = place_good("127.0.0.1", 0, &listener);
    uint16_t port = kolk_address_port(&good);
    char host[] = "local";
    const kolk_connect_options options = {.family = AF_INET,
                                          .local_host = host};
    kolk_address peer = {.size = sizeof peer.storage};
    struct dial self;

    (void)place_bad("127.0.0.2", port);
    names_begin(table);
    dial_name(&self, loop, "mixed", port, &options);
    memset(host, 'x', sizeof host - 1);
    CHECK_OK(dial_wait(&self));
    CHECK_INT(getpeername(place_accept(listener),
                          (struct sockaddr *)&peer.storage, &peer.size),
              0);
    char text[KOLK_ADDRESS_TEXT_MAX];
    (void)kolk_address_format(&peer, text, sizeof text);
    CHECK(strncmp(text, "127.0.0.5:", 10) == 0);
}

TEST(one_lookup_that_fails_ends_both)
{
    kolk_loop *loop = test_real_loop_open();
    const kolk_connect_options options = {.local_host = "noname"};
    struct dial self;

    names_begin(table);
    dial_name(&self, loop, "slow", 1, &options);
    CHECK_INT(kolk_resolve_code(dial_wait(&self)), EAI_NONAME);
    names_open(NULL);
}

/* ---- starting ---- */

static int
no_thread(pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *),
          void *arg)
{
    (void)out, (void)attr, (void)fn, (void)arg;
    return EAGAIN;
}

TEST(a_connector_that_cannot_start_never_runs)
{
    kolk_loop *loop = test_loop_open();
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    kolk_address silent = place_silent("127.0.0.2", 0);
    const kolk_connect_options options = {.local_host = "noname"};
    struct dial self;

    dial_init(&self, loop);
    CHECK_ERR(kolk_connector_start_to(loop, &self.connector, &good, 0, NULL),
              -EINVAL);
    kolk__sys.pthread_create = no_thread;
    CHECK_ERR(kolk_connector_start(loop, &self.connector, "some", "1", NULL),
              -EAGAIN);
    CHECK_ERR(kolk_connector_start(loop, &self.connector, "::1", "1", &options),
              -EAGAIN);
    CHECK(!kolk_connector_is_pending(&self.connector));
    test_settle(loop);
    CHECK_INT(self.runs, 0);

    dial_to(&self, loop, &silent, 1, NULL);
    CHECK_ERR(kolk_connector_start_to(loop, &self.connector, &good, 1, NULL),
              -EALREADY);
    CHECK_ERR(kolk_connector_start(loop, &self.connector, "::1", "1", NULL),
              -EALREADY);
    kolk_connector_cancel(loop, &self.connector);
    CHECK_INT(dial_wait(&self), -ECANCELED);
}

TEST(a_connector_may_be_started_again_by_its_function)
{
    kolk_loop *loop = test_loop_open();
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    kolk_address bad = place_bad("127.0.0.2", 0);
    struct dial self;

    dial_to(&self, loop, &bad, 1, NULL);
    self.then_to = &good;
    CHECK_OK(kolk_run_forever(loop));
    CHECK_INT(self.runs, 2);
    CHECK_OK(self.result);
    CHECK_INT(self.attempt_count, 0);
}

static void
dial_free(kolk_connector *connector)
{
    struct dial *self = KOLK_CONTAINER_OF(connector, struct dial, connector);

    (void)place_own(connector->result);
    kolk_loop_stop(self->loop);
    kolk_connector_fini(connector);
    kolk__sys.free(self);
}

TEST(a_connector_may_be_freed_by_its_function)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_bad("127.0.0.2", 0),
        place_good("127.0.0.1", 0, NULL),
    };
    struct dial *self = kolk__sys.calloc(1, sizeof *self);

    CHECK(self != NULL);
    self->loop = loop;
    kolk_connector_init(&self->connector, dial_free, dial_free);
    CHECK_OK(
        kolk_connector_start_to(loop, &self->connector, addresses, 2, NULL));
    CHECK_OK(kolk_run_forever(loop));
}

static int
no_socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    errno = EMFILE;
    return -1;
}

TEST(without_a_free_descriptor_each_address_says_so)
{
    kolk_loop *loop = test_loop_open();
    const kolk_address addresses[] = {
        place_good("127.0.0.2", 0, NULL),
        place_good("127.0.0.1", 0, NULL),
    };
    struct dial self;

    kolk__sys.socket = no_socket;
    dial_to(&self, loop, addresses, 2, NULL);
    CHECK_INT(dial_wait(&self), -EMFILE);
    CHECK_INT(self.attempt_count, 2);
    dial_check(&self, 0, &addresses[0], -EMFILE);
    dial_check(&self, 1, &addresses[1], -EMFILE);
}

/* ---- cancelling ---- */

struct hang_up {
    kolk_call call;
    struct dial *dial;
};

static void
hang_up(kolk_call *call)
{
    struct dial *dial = KOLK_CONTAINER_OF(call, struct hang_up, call)->dial;

    kolk_connector_cancel(dial->loop, &dial->connector);
}

TEST(what_has_connected_first_is_not_cancelled)
{
    kolk_loop *loop = test_loop_open();
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    kolk_address name = place_unix_name("first");
    struct dial self;
    struct hang_up late = {.dial = &self};

    CHECK_INT(listen(place_bind(&name), 4), 0);
    dial_to(&self, loop, &name, 1, NULL); /* connected already */
    kolk_connector_cancel(loop, &self.connector);
    CHECK_OK(dial_wait(&self));
    kolk_connector_cancel(loop, &self.connector);

    /* The kernel has connected it, and the call comes before that is told. */
    dial_to(&self, loop, &good, 1, NULL);
    (void)usleep(2000);
    kolk_call_init(&late.call, hang_up, NULL);
    CHECK_OK(kolk_call_soon(loop, &late.call));
    int result = dial_wait(&self);
    CHECK(result >= 0
          || (result == -ECANCELED
              && strcmp(kolk_loop_backend(loop, NULL), "epoll") != 0));
}

TEST(cancelling_while_names_are_looked_up_ends_at_once)
{
    kolk_loop *loop = test_real_loop_open();
    const kolk_connect_options options = {.local_host = "slow"};
    struct dial self;

    names_begin(table);
    dial_name(&self, loop, "slow", 1, &options);
    kolk_connector_cancel(loop, &self.connector);
    kolk_connector_cancel(loop, &self.connector);
    CHECK_INT(self.runs, 0);
    CHECK_INT(dial_wait(&self), -ECANCELED);
    names_open(NULL);
}

/* Bytes go through sockets whose numbers were those of attempts. */
static void
check_numbers(kolk_loop *loop)
{
    enum { PAIRS = 4 };
    struct test_op ops[PAIRS];
    char bytes[PAIRS];
    int fds[PAIRS][2];

    for (int i = 0; i < PAIRS; i++) {
        test_socketpair(fds[i]);
        test_op_init(&ops[i], loop);
        CHECK_OK(kolk_op_recv(loop, &ops[i].op, fds[i][0], &bytes[i], 1, 0));
    }
    test_settle(loop);
    for (int i = 0; i < PAIRS; i++) {
        CHECK(kolk_op_is_pending(&ops[i].op));
        CHECK_INT(write(fds[i][1], "x", 1), 1);
    }
    for (int i = 0; i < PAIRS; i++) {
        CHECK_INT(test_op_wait(&ops[i]), 1);
        kolk_forget(loop, fds[i][0]);
        test_close(fds[i][0]);
        test_close(fds[i][1]);
    }
}

/* Runs a race for so long, and so many turns more, then cancels it. */
static void
cancel_after(kolk_loop *loop, const kolk_address *addresses, size_t count,
             kolk_time delay, int turns)
{
    kolk_time begin = kolk_now(loop);
    int before = place_count_sockets();
    struct dial self;

    dial_to(&self, loop, addresses, count, NULL);
    test_advance(loop, begin + delay);
    for (int i = 0; i < turns; i++) {
        CHECK_OK(kolk_run_once(loop));
    }
    kolk_connector_cancel(loop, &self.connector);
    int result = dial_wait(&self);
    CHECK(result >= 0 || result == -ECANCELED);
    if (result >= 0) {
        test_close(result); /* the loop does not know it */
    }
    CHECK_INT(place_count_sockets(), before);
    check_numbers(loop);
}

TEST(a_race_cancelled_at_any_turn_leaves_its_numbers_to_others)
{
    kolk_loop *loop = test_loop_open();
    int listener;
    const kolk_address addresses[] = {
        place_full("any", &listener),     place_bad("127.0.0.3", 0),
        place_silent("127.0.0.2", 0),     place_bad("127.0.0.4", 0),
        place_good("127.0.0.1", 0, NULL),
    };

    place_watch_closes();
    check_numbers(loop);
    for (kolk_time delay = 0; delay <= KOLK_MS(1000); delay += KOLK_MS(125)) {
        for (int turns = 0; turns < 6; turns++) {
            cancel_after(loop, addresses, 5, delay, turns);
            cancel_after(loop, addresses + 1, 4, delay, turns);
        }
    }
}

/* The winner's number is nobody's in the loop either: close(2) is enough. */
TEST(a_socket_that_is_closed_by_hand_leaves_its_number_to_others)
{
    kolk_loop *loop = test_loop_open();
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    struct dial self;

    for (int i = 0; i < 3; i++) {
        dial_to(&self, loop, &good, 1, NULL);
        CHECK_OK(dial_wait(&self));
        test_close(self.result);
        check_numbers(loop);
    }
}

/* A number that was closed behind the loop's back, with a receive waiting. */
TEST(a_new_socket_hears_nothing_of_the_former_file)
{
    kolk_loop *loop = test_loop_open();
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    struct test_op op;
    struct dial self;
    char byte;
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
    test_settle(loop);
    test_close(fds[1]);
    test_close(fds[0]);
    dial_to(&self, loop, &good, 1, NULL);
    CHECK_OK(dial_wait(&self));
    CHECK(test_op_wait(&op) <= 0);
}

/* ---- showing ---- */

struct dial_visitor {
    kolk_visitor visitor;
    const struct dial *dial;
    int shown, others;
};

static int
dial_visit(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    struct dial_visitor *self =
        KOLK_CONTAINER_OF(visitor, struct dial_visitor, visitor);

    if (kind == KOLK_NODE_CONNECTOR) {
        self->shown += node == &self->dial->connector;
        self->others += node != &self->dial->connector;
    }
    return 0;
}

static int
dial_shown(const struct dial *self)
{
    struct dial_visitor visitor = {.visitor = {dial_visit}, .dial = self};

    CHECK_INT(kolk_loop_visit(self->loop, &visitor.visitor), 0);
    CHECK_INT(visitor.others, 0);
    return visitor.shown;
}

TEST(a_connector_is_shown_once_until_it_has_run)
{
    kolk_loop *loop = test_loop_open();
    kolk_address silent = place_silent("127.0.0.2", 0);
    struct dial self;

    dial_to(&self, loop, &silent, 1, NULL);
    CHECK_INT(dial_shown(&self), 1);
    test_advance(loop, KOLK_S(1));
    CHECK_INT(dial_shown(&self), 1);
    kolk_connector_cancel(loop, &self.connector);
    CHECK_INT(dial_shown(&self), 1);
    CHECK_INT(dial_wait(&self), -ECANCELED);
    CHECK_INT(dial_shown(&self), 0);
}

/* ---- a loop that is closed ---- */

/* Closes a loop after so many turns of a race. */
static void
close_after(const kolk_address *addresses, size_t count, int turns,
            bool cancels)
{
    kolk_loop *loop = test_loop_open();
    struct dial self;

    dial_to(&self, loop, addresses, count, NULL);
    for (int i = 0; i < turns; i++) {
        CHECK_OK(kolk_run_once(loop));
    }
    if (cancels) {
        kolk_connector_cancel(loop, &self.connector);
    }
    test_loop_close(loop);
    CHECK_INT(self.runs + self.drops, 1);
    CHECK(!kolk_connector_is_pending(&self.connector));
    CHECK_INT(self.connector.attempt_count, 0);
}

TEST(a_loop_that_is_closed_gives_each_connector_back_once)
{
    int listener;
    const kolk_address addresses[] = {
        place_bad("127.0.0.3", 0),
        place_full("closed", &listener),
        place_silent("127.0.0.2", 0),
    };
    kolk_address good = place_good("127.0.0.1", 0, NULL);

    place_watch_closes();
    for (int turns = 0; turns < 6; turns++) {
        close_after(addresses, 3, turns, false);
        close_after(addresses, 3, turns, true);
        close_after(addresses + 2, 1, turns, true);
        close_after(&good, 1, turns, false);
        close_after(addresses, 1, turns, false);
    }
}

TEST(a_loop_closed_during_the_lookup_gives_the_connector_back)
{
    kolk_loop *loop = test_real_loop_open();
    const kolk_connect_options options = {.local_host = "local"};
    struct dial self;

    names_begin(table);
    dial_name(&self, loop, "mixed", 1, &options);
    test_loop_close(loop);
    CHECK_INT(self.drops, 1);
    CHECK_INT(self.runs, 0);
}

static void
dial_again(kolk_connector *connector)
{
    struct dial *self = KOLK_CONTAINER_OF(connector, struct dial, connector);

    if (self->drops++ == 0) {
        CHECK_OK(kolk_connector_start_to(self->loop, connector, self->then_to,
                                         1, NULL));
    }
}

TEST(what_a_closing_loop_is_asked_for_comes_back_too)
{
    kolk_loop *loop = test_loop_open();
    kolk_address silent = place_silent("127.0.0.2", 0);
    struct dial self;

    place_watch_closes();
    dial_init(&self, loop);
    kolk_connector_init(&self.connector, dial_ended, dial_again);
    self.then_to = &silent;
    CHECK_OK(kolk_connector_start_to(loop, &self.connector, &silent, 1, NULL));
    test_loop_close(loop);
    CHECK_INT(self.drops, 2);
    CHECK_INT(self.runs, 0);
}

TEST(a_child_of_the_loops_process_gives_connectors_back)
{
    kolk_loop *loop = test_loop_open();
    kolk_address silent = place_silent("127.0.0.2", 0);
    kolk_address good = place_good("127.0.0.1", 0, NULL);
    struct dial waits, over;
    int status = 0;

    place_watch_closes();
    dial_to(&waits, loop, &silent, 1, NULL);
    test_settle(loop);
    dial_to(&over, loop, &good, 1, NULL);
    pid_t child = fork();
    if (child == 0) {
        kolk_connector_cancel(loop, &waits.connector);
        int err =
            kolk_connector_start_to(loop, &waits.connector, &good, 1, NULL);
        bool is_refused = err == -KOLK_EFORK;
        err = kolk_loop_close(loop);
        _exit(is_refused && err == 0 && waits.drops == 1 && over.drops == 1
                      && waits.runs == 0
                  ? 0
                  : 1);
    }
    CHECK(child > 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK_OK(dial_wait(&over));
    kolk_connector_cancel(loop, &waits.connector);
    CHECK_INT(dial_wait(&waits), -ECANCELED);
}
