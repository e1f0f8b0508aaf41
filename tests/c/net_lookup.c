/* net_lookup.c - names are looked up beside the loop, and nothing is lost.
 *
 * SPDX-License-Identifier: MIT
 */
#include "names.h"

#include <sys/wait.h>

#include <kolk/lookup.h>
#include <kolk/op.h>
#include <kolk/pool.h>

static const struct name table[] = {
    {.host = "one", .addresses = {"192.0.2.1"}},
    {.host = "two", .addresses = {"2001:db8::1", "192.0.2.2"}},
    {.host = "slow", .addresses = {"192.0.2.3"}, .is_slow = true},
    {.host = "noname", .code = EAI_NONAME},
    {.host = "again", .code = EAI_AGAIN},
    {.host = "memory", .code = EAI_MEMORY},
    {.host = "system", .code = EAI_SYSTEM, .system = EMFILE},
    {.host = "nothing", .code = EAI_SYSTEM},
    {0},
};

/* A lookup that remembers how it ended. */
struct find {
    kolk_lookup lookup;
    kolk_loop *loop;
    int runs, drops;
    int result;
    char found[256];          /* addresses, a space after each */
    struct find *then_cancel; /* when it ends */
    const char *then_find;    /* looks that up when it ends, once */
};

static void
find_list(struct find *self)
{
    const struct addrinfo *info = self->lookup.addresses;

    self->found[0] = '\0';
    for (; info != NULL; info = info->ai_next) {
        char text[KOLK_ADDRESS_TEXT_MAX];
        kolk_address address;
        size_t used = strlen(self->found);

        CHECK_OK(kolk_address_copy(info->ai_addr, info->ai_addrlen, &address));
        (void)snprintf(self->found + used, sizeof self->found - used, "%s ",
                       kolk_address_format(&address, text, sizeof text));
    }
    if (self->lookup.addresses != NULL) {
        kolk__sys.freeaddrinfo(self->lookup.addresses);
    }
}

static void
find_ended(kolk_lookup *lookup)
{
    struct find *self = KOLK_CONTAINER_OF(lookup, struct find, lookup);
    const char *next = self->then_find;

    CHECK(!kolk_lookup_is_pending(lookup));
    CHECK((lookup->result < 0) == (lookup->addresses == NULL));
    self->result = lookup->result;
    self->runs++;
    find_list(self);
    if (self->then_cancel != NULL) {
        kolk_lookup_cancel(self->loop, &self->then_cancel->lookup);
    }
    if (next != NULL) {
        self->then_find = NULL;
        CHECK_OK(kolk_lookup_start(self->loop, lookup, next, "1", NULL));
    } else {
        kolk_loop_stop(self->loop);
    }
}

static void
find_dropped(kolk_lookup *lookup)
{
    struct find *self = KOLK_CONTAINER_OF(lookup, struct find, lookup);

    CHECK(!kolk_lookup_is_pending(lookup));
    self->drops++;
}

static void
find_init(struct find *self, kolk_loop *loop)
{
    *self = (struct find){.loop = loop};
    kolk_lookup_init(&self->lookup, find_ended, find_dropped);
}

static void
find_start(struct find *self, kolk_loop *loop, const char *host)
{
    find_init(self, loop);
    CHECK_OK(kolk_lookup_start(loop, &self->lookup, host, "80", NULL));
}

/* Runs the loop until `self` has ended; its result. */
static int
find_wait(struct find *self)
{
    while (kolk_lookup_is_pending(&self->lookup)) {
        if (kolk_run_forever(self->loop) < 0 || kit_failures() > 0) {
            return -ECHILD; /* no result of any test here */
        }
    }
    return self->result;
}

static int
find(kolk_loop *loop, const char *host)
{
    struct find self;

    find_start(&self, loop, host);
    return find_wait(&self);
}

/* Runs the loop until nothing is left of its lookups. */
static void
find_settle(kolk_loop *loop)
{
    CHECK_OK(kolk_loop_close_pool(loop, KOLK_NEVER));
    while (kolk_run_once(loop) > 0) {
    }
}

TEST(a_name_has_the_addresses_that_the_resolver_says)
{
    kolk_loop *loop = test_real_loop_open();
    struct find self;

    names_begin(table);
    find_start(&self, loop, "two");
    CHECK(kolk_lookup_is_pending(&self.lookup));
    CHECK_INT(self.runs, 0);
    CHECK_INT(find_wait(&self), 0);
    CHECK_STR(self.found, "[2001:db8::1]:80 192.0.2.2:80 ");
    CHECK_INT(self.runs, 1);
    CHECK_INT(self.drops, 0);
    CHECK_INT(names.here, 0);
}

TEST(the_arguments_are_the_callers_again_at_once)
{
    kolk_loop *loop = test_real_loop_open();
    char host[] = "two", service[] = "443";
    struct addrinfo hints = {.ai_flags = AI_CANONNAME,
                             .ai_family = AF_INET6,
                             .ai_socktype = SOCK_STREAM,
                             .ai_protocol = IPPROTO_TCP};
    struct find self;

    names_begin(table);
    find_init(&self, loop);
    CHECK_OK(kolk_lookup_start(loop, &self.lookup, host, service, &hints));
    memset(host, 'x', sizeof host - 1);
    memset(service, 'x', sizeof service - 1);
    memset(&hints, 0, sizeof hints);
    CHECK_INT(find_wait(&self), 0);
    CHECK_STR(self.found, "[2001:db8::1]:443 ");
    CHECK_INT(names.hints.ai_flags, AI_CANONNAME);
    CHECK_INT(names.hints.ai_family, AF_INET6);
    CHECK_INT(names.hints.ai_socktype, SOCK_STREAM);
    CHECK_INT(names.hints.ai_protocol, IPPROTO_TCP);
}

static int
no_thread(pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *),
          void *arg)
{
    (void)out, (void)attr, (void)fn, (void)arg;
    return EAGAIN;
}

/* The real resolver, here. */
TEST(what_is_an_address_needs_no_thread)
{
    static const struct {
        const char *host, *service, *found;
    } rows[] = {
        {"127.0.0.1", "80", "127.0.0.1:80 "},
        {"::1", "443", "[::1]:443 "},
        {"fe80::1%lo", "1", "[fe80::1%lo]:1 "},
        {"192.0.2.1", NULL, "192.0.2.1:0 "},
    };
    kolk_loop *loop = test_real_loop_open();
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct find self;

    kolk__sys.pthread_create = no_thread;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        find_init(&self, loop);
        CHECK_OK(kolk_lookup_start(loop, &self.lookup, rows[i].host,
                                   rows[i].service, &hints));
        CHECK_INT(self.runs, 0);
        CHECK(kolk_lookup_is_pending(&self.lookup));
        CHECK_INT(find_wait(&self), 0);
        CHECK_STR(self.found, rows[i].found);
    }
    find_init(&self, loop);
    CHECK_OK(kolk_lookup_start(loop, &self.lookup, NULL, "80", &hints));
    CHECK_INT(find_wait(&self), 0);
    CHECK(strstr(self.found, ":80 ") != NULL);
    find_start(&self, loop, "fe80::1%nonesuch");
    CHECK_INT(kolk_resolve_code(find_wait(&self)), EAI_NONAME);
    find_init(&self, loop);
    CHECK_ERR(kolk_lookup_start(loop, &self.lookup, "127.0.0.1", "http", NULL),
              -EAGAIN);
    CHECK(!kolk_lookup_is_pending(&self.lookup));
}

TEST_TIME(the_systems_resolver_knows_this_machine)
{
    kolk_loop *loop = test_real_loop_open();
    struct find self;

    find_start(&self, loop, "localhost");
    CHECK_INT(find_wait(&self), 0);
    CHECK(strstr(self.found, "127.0.0.1:80 ") != NULL
          || strstr(self.found, "[::1]:80 ") != NULL);
}

TEST(errors_of_the_resolver_have_names)
{
    kolk_loop *loop = test_real_loop_open();

    names_begin(table);
    int result = find(loop, "noname");
    CHECK_INT(result, EAI_NONAME - KOLK_ERESOLVE);
    CHECK_INT(kolk_resolve_code(result), EAI_NONAME);
    CHECK_STR(kolk_error_name(result), "EAI_NONAME");
    CHECK_STR(kolk_strerror(result), "name or service not known");
    result = find(loop, "again");
    CHECK_INT(kolk_resolve_code(result), EAI_AGAIN);
    CHECK_STR(kolk_error_name(result), "EAI_AGAIN");
    CHECK_INT(find(loop, "memory"), -ENOMEM);
    CHECK_INT(find(loop, "system"), -EMFILE);
    result = find(loop, "nothing");
    CHECK_INT(kolk_resolve_code(result), EAI_SYSTEM);
    CHECK_STR(kolk_error_name(result), "EAI_SYSTEM");
}

TEST_ONCE(other_errors_are_none_of_the_resolver)
{
    CHECK_INT(kolk_resolve_code(0), 0);
    CHECK_INT(kolk_resolve_code(7), 0);
    CHECK_INT(kolk_resolve_code(-ENOMEM), 0);
    CHECK_INT(kolk_resolve_code(-KOLK_ETLS), 0);
    CHECK_INT(kolk_resolve_code(-KOLK_ERESOLVE), 0);
    CHECK_INT(kolk_resolve_code(-KOLK_ERESOLVE - 200), 0);
    CHECK_INT(kolk_resolve_code(-KOLK_ERESOLVE - 4), -4);
}

/* ---- starting ---- */

TEST(a_lookup_that_cannot_start_never_runs)
{
    kolk_loop *loop = test_real_loop_open();
    struct find self;

    names_begin(table);
    find_start(&self, loop, "one");
    CHECK_ERR(kolk_lookup_start(loop, &self.lookup, "two", NULL, NULL),
              -EALREADY);
    CHECK_INT(find_wait(&self), 0);
    CHECK_STR(self.found, "192.0.2.1:80 ");
    CHECK_OK(kolk_loop_close_pool(loop, KOLK_NEVER));

    kolk__sys.pthread_create = no_thread;
    CHECK_ERR(kolk_lookup_start(loop, &self.lookup, "two", NULL, NULL),
              -EAGAIN);
    test_settle(loop);
    CHECK_INT(self.runs, 1);
    CHECK(!kolk_lookup_is_pending(&self.lookup));
}

TEST(a_lookup_may_be_started_again_by_its_function)
{
    kolk_loop *loop = test_real_loop_open();
    struct find self;

    names_begin(table);
    find_init(&self, loop);
    self.then_find = "noname";
    CHECK_OK(kolk_lookup_start(loop, &self.lookup, "one", "1", NULL));
    CHECK(find_wait(&self) < 0);
    CHECK_INT(self.runs, 2);
    CHECK_STR(self.found, "");
}

static void
find_free(kolk_lookup *lookup)
{
    struct find *self = KOLK_CONTAINER_OF(lookup, struct find, lookup);

    kolk_loop_stop(self->loop);
    if (lookup->addresses != NULL) {
        kolk__sys.freeaddrinfo(lookup->addresses);
    }
    kolk__sys.free(self);
}

TEST(a_lookup_may_be_freed_by_its_function)
{
    kolk_loop *loop = test_real_loop_open();
    struct find *self = kolk__sys.malloc(sizeof *self);

    names_begin(table);
    CHECK(self != NULL);
    find_init(self, loop);
    kolk_lookup_init(&self->lookup, find_free, find_free);
    CHECK_OK(kolk_lookup_start(loop, &self->lookup, "one", NULL, NULL));
    CHECK_OK(kolk_run_forever(loop));
}

/* ---- cancelling ---- */

TEST(a_cancelled_lookup_ends_while_its_thread_goes_on)
{
    kolk_loop *loop = test_real_loop_open();
    struct find self;

    names_begin(table);
    find_start(&self, loop, "slow");
    names_wait(&names.begun, 1);
    kolk_lookup_cancel(loop, &self.lookup);
    kolk_lookup_cancel(loop, &self.lookup);
    CHECK_INT(self.runs, 0);
    CHECK(kolk_lookup_is_pending(&self.lookup));
    CHECK_INT(find_wait(&self), -ECANCELED);
    CHECK_INT(self.runs, 1);

    /* The node is free for another one; the first is still at its gate. */
    CHECK_OK(kolk_lookup_start(loop, &self.lookup, "one", "81", NULL));
    CHECK_INT(find_wait(&self), 0);
    CHECK_STR(self.found, "192.0.2.1:81 ");
    CHECK_INT(names_get(&names.answered), 1);
    names_open(NULL);
    find_settle(loop);
    CHECK_INT(names_get(&names.answered), 2);
    CHECK_INT(self.runs, 2);
}

TEST(what_has_not_begun_is_never_asked)
{
    kolk_loop *loop = test_real_loop_open();
    struct find first, second;

    names_begin(table);
    CHECK_OK(kolk_loop_set_pool_threads(loop, 1));
    find_start(&first, loop, "slow");
    names_wait(&names.begun, 1);
    find_start(&second, loop, "one");
    kolk_lookup_cancel(loop, &second.lookup);
    CHECK_INT(find_wait(&second), -ECANCELED);
    names_open(NULL);
    CHECK_INT(find_wait(&first), 0);
    find_settle(loop);
    CHECK_INT(names_get(&names.begun), 1);
    CHECK_INT(second.runs, 1);
}

TEST(what_has_ended_is_not_cancelled_any_more)
{
    kolk_loop *loop = test_real_loop_open();
    struct find self, literal;

    names_begin(table);
    find_start(&self, loop, "one");
    CHECK_OK(kolk_loop_close_pool(loop, KOLK_NEVER)); /* it has come back */
    kolk_lookup_cancel(loop, &self.lookup);
    CHECK_INT(find_wait(&self), 0);
    CHECK_STR(self.found, "192.0.2.1:80 ");
    find_start(&literal, loop, "192.0.2.9");
    kolk_lookup_cancel(loop, &literal.lookup);
    CHECK_INT(find_wait(&literal), 0);
    kolk_lookup_cancel(loop, &literal.lookup);
    CHECK_INT(literal.runs, 1);
}

TEST(a_lookup_may_be_cancelled_by_another_ones_function)
{
    kolk_loop *loop = test_real_loop_open();
    struct find first, second;

    names_begin(table);
    find_start(&second, loop, "slow");
    find_start(&first, loop, "one");
    first.then_cancel = &second;
    CHECK_INT(find_wait(&first), 0);
    CHECK_INT(find_wait(&second), -ECANCELED);
    CHECK_INT(second.runs, 1);
    names_open(NULL);
}

TEST(a_crowd_of_lookups_some_cancelled_ends_once_each)
{
    kolk_loop *loop = test_real_loop_open();
    size_t count = test_count(400);
    struct find *finds = kolk__sys.calloc(count, sizeof *finds);

    names_begin(table);
    CHECK(finds != NULL);
    for (size_t i = 0; i < count; i++) {
        find_start(&finds[i], loop, i % 3 == 0 ? "one" : "two");
        if (i % 4 == 0) {
            kolk_lookup_cancel(loop, &finds[i / 2].lookup);
        }
        if (i % 16 == 0) {
            CHECK_OK(kolk_run_once(loop));
        }
    }
    for (size_t i = 0; i < count; i++) {
        int result = find_wait(&finds[i]);

        CHECK(result == 0 || result == -ECANCELED);
        CHECK_INT(finds[i].runs, 1);
    }
    find_settle(loop);
    kolk__sys.free(finds);
}

/* ---- showing ---- */

struct find_visitor {
    kolk_visitor visitor;
    const struct find *find;
    int shown, others;
};

static int
find_visit(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    struct find_visitor *self =
        KOLK_CONTAINER_OF(visitor, struct find_visitor, visitor);

    if (kind == KOLK_NODE_LOOKUP) {
        self->shown += node == &self->find->lookup;
        self->others += node != &self->find->lookup;
    }
    return 0;
}

/* How often the loop shows `self`, and no other. */
static int
find_shown(const struct find *self)
{
    struct find_visitor visitor = {.visitor = {find_visit}, .find = self};

    CHECK_INT(kolk_loop_visit(self->loop, &visitor.visitor), 0);
    CHECK_INT(visitor.others, 0);
    return visitor.shown;
}

TEST(a_lookup_is_shown_once_until_it_has_run)
{
    kolk_loop *loop = test_real_loop_open();
    struct find self;

    names_begin(table);
    find_start(&self, loop, "slow");
    CHECK_INT(find_shown(&self), 1);
    names_wait(&names.begun, 1);
    CHECK_INT(find_shown(&self), 1);
    kolk_lookup_cancel(loop, &self.lookup);
    CHECK_INT(find_shown(&self), 1);
    CHECK_INT(find_wait(&self), -ECANCELED);
    CHECK_INT(find_shown(&self), 0); /* its thread still works */
    names_open(NULL);
    find_settle(loop);

    find_start(&self, loop, "::1");
    CHECK_INT(find_shown(&self), 1);
    CHECK_INT(find_wait(&self), 0);
    CHECK_INT(find_shown(&self), 0);
}

/* ---- a loop that is closed ---- */

static void *
open_soon(void *unused)
{
    (void)usleep(2000);
    names_open(unused);
    return NULL;
}

TEST(a_loop_that_is_closed_gives_each_lookup_back_once)
{
    kolk_loop *loop = test_real_loop_open();
    struct find begun, waiting, cancelled, gone, literal;
    pthread_t opener;

    names_begin(table);
    CHECK_OK(kolk_loop_set_pool_threads(loop, 3));
    find_start(&gone, loop, "slow");
    find_start(&cancelled, loop, "slow");
    find_start(&begun, loop, "slow");
    names_wait(&names.begun, 3);
    find_start(&waiting, loop, "one");
    kolk_lookup_cancel(loop, &gone.lookup);
    CHECK_INT(find_wait(&gone), -ECANCELED);
    kolk_lookup_cancel(loop, &cancelled.lookup);
    find_start(&literal, loop, "::1");

    CHECK_INT(pthread_create(&opener, NULL, open_soon, NULL), 0);
    test_loop_close(loop);
    CHECK_INT(pthread_join(opener, NULL), 0);
    CHECK_INT(gone.drops, 0);
    CHECK_INT(gone.runs, 1);
    struct find *dropped[] = {&begun, &waiting, &cancelled, &literal};
    for (int i = 0; i < 4; i++) {
        CHECK_INT(dropped[i]->drops, 1);
        CHECK_INT(dropped[i]->runs, 0);
        CHECK(!kolk_lookup_is_pending(&dropped[i]->lookup));
    }
    CHECK_INT(names_get(&names.answered), 3);
}

TEST(an_answer_that_nobody_has_taken_is_freed_with_the_loop)
{
    kolk_loop *loop = test_real_loop_open();
    struct find self;

    names_begin(table);
    find_start(&self, loop, "two");
    CHECK_OK(kolk_loop_close_pool(loop, KOLK_NEVER));
    test_loop_close(loop);
    CHECK_INT(self.drops, 1);
    CHECK_INT(self.runs, 0);
}

static void
find_restart(kolk_lookup *lookup)
{
    struct find *self = KOLK_CONTAINER_OF(lookup, struct find, lookup);

    if (self->drops++ == 0) {
        CHECK_OK(kolk_lookup_start(self->loop, lookup, "two", NULL, NULL));
    }
}

TEST(what_a_closing_loop_is_asked_for_comes_back_too)
{
    kolk_loop *loop = test_real_loop_open();
    struct find self;

    names_begin(table);
    find_init(&self, loop);
    kolk_lookup_init(&self.lookup, find_ended, find_restart);
    CHECK_OK(kolk_lookup_start(loop, &self.lookup, "one", NULL, NULL));
    test_loop_close(loop);
    CHECK_INT(self.drops, 2);
    CHECK_INT(self.runs, 0);
}

TEST(a_child_of_the_loops_process_gives_lookups_back)
{
    kolk_loop *loop = test_real_loop_open();
    struct find begun, back, literal;
    int status = 0;

    names_begin(table);
    CHECK_OK(kolk_loop_set_pool_threads(loop, 1));
    find_start(&back, loop, "one");
    CHECK_OK(kolk_loop_close_pool(loop, KOLK_NEVER));
    find_start(&begun, loop, "slow");
    names_wait(&names.begun, 2);
    find_start(&literal, loop, "::1");
    pid_t child = fork();
    if (child == 0) {
        kolk_lookup_cancel(loop, &begun.lookup);
        int err = kolk_lookup_start(loop, &begun.lookup, "one", NULL, NULL);
        bool is_refused = err == -KOLK_EFORK;
        err = kolk_loop_close(loop);
        _exit(is_refused && err == 0 && begun.drops == 1 && back.drops == 1
                      && literal.drops == 1 && begun.runs == 0
                  ? 0
                  : 1);
    }
    CHECK(child > 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    names_open(NULL);
    CHECK_INT(find_wait(&begun), 0);
    CHECK_INT(find_wait(&back), 0);
    CHECK_INT(find_wait(&literal), 0);
}
