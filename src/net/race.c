/* race.c - attempts to connect: happy eyeballs.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each address has an attempt, a socket and an operation, and several may be
 * under way. The next one starts when the newest has failed, or has not
 * answered within the delay.
 *
 * The race is over as soon as an attempt has connected, none is left, or
 * somebody ends it. Its result is settled then, and the race's call is queued
 * when the last socket is closed: an operation that the kernel's ring has is
 * cancelled, and comes to its end before the number of its descriptor is given
 * back.
 *
 * The socket that wins is one that the loop knows nothing of, so that whoever
 * gets it may close it as he likes.
 */
#include "net/race.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/sys.h"
#include "loop/op.h"
#include "net/lookup.h"

enum {
    RACE_PAUSE_MS = 1, /* before a full Unix socket is tried again, at first */
    RACE_PAUSE_MAX_MS = 100,
    RACE_FAMILIES_MAX = 8, /* that take turns */
};

/* ---- the end ---- */

/* Queues the call that tells, once nothing is under way any more. */
static void
race_settle(kolk__race *race)
{
    if (race->open == 0 && !kolk_call_is_pending(&race->call)) {
        kolk__ready_push(race->loop, &race->call);
    }
}

/* Ends the operation, if that has not happened, and closes the socket. */
static void
try_close(struct kolk__try *try)
{
    kolk_loop *loop = try->race->loop;

    kolk_timer_stop(loop, &try->timer);
    kolk_forget(loop, try->fd);
    kolk_call_cancel(loop, &try->op.call);
    (void)kolk__sys.close(try->fd); /* nothing was written to it */
    try->fd = -1;
    try->race->open--;
}

void
kolk__race_end(kolk__race *race, int result)
{
    race->is_over = true;
    race->result = result;
    kolk_timer_stop(race->loop, &race->timer);
    kolk__lookup_forget(race->loop, &race->lookup);
    kolk__lookup_forget(race->loop, &race->local_lookup);
    for (size_t i = 0; i < race->next; i++) {
        struct kolk__try *try = &race->tries[i];

        if (try->fd >= 0 && try->op.state == KOLK__OP_IN_RING) {
            kolk_op_cancel(race->loop, &try->op); /* try_ended() closes it */
        } else if (try->fd >= 0) {
            try_close(try);
        }
    }
    race_settle(race);
}

void
kolk__race_close(kolk__race *race)
{
    kolk_timer_stop(race->loop, &race->timer);
    kolk_call_cancel(race->loop, &race->call);
    for (size_t i = 0; i < race->next; i++) {
        if (race->tries[i].fd >= 0) {
            try_close(&race->tries[i]);
        }
    }
    if (race->is_over && race->result >= 0) {
        (void)kolk__sys.close(race->result); /* nothing was written to it */
    }
}

/* ---- attempts ---- */

static void
race_note(kolk__race *race, const kolk_address *address, int error,
          bool is_local)
{
    race->attempts[race->attempt_count++] = (kolk_attempt){
        .address = *address, .error = error, .is_local = is_local};
}

/* Binds to the first local address of the family that works. */
static int
try_bind(struct kolk__try *try)
{
    kolk__race *race = try->race;
    size_t noted = race->attempt_count;
    int err = -EADDRNOTAVAIL;

    for (size_t i = 0; i < race->local_count; i++) {
        const kolk_address *local = &race->local[i];

        if (local->storage.ss_family != try->address.storage.ss_family) {
            continue;
        }
        if (kolk__sys.bind(try->fd, (const struct sockaddr *)&local->storage,
                           local->size)
            == 0) {
            return 0;
        }
        err = -errno;
        race_note(race, local, err, true);
    }
    if (race->attempt_count == noted) {
        race_note(race, &try->address, err, false); /* none of its family */
    }
    return err;
}

static int
try_set_nodelay(const struct kolk__try *try)
{
    static const int one = 1;
    int family = try->address.storage.ss_family;
    int protocol = try->race->options.protocol;

    if ((family != AF_INET && family != AF_INET6)
        || (protocol != 0 && protocol != IPPROTO_TCP)) {
        return 0;
    }
    return kolk__sys.setsockopt(try->fd, IPPROTO_TCP, TCP_NODELAY, &one,
                                sizeof one)
                   < 0
               ? -errno
               : 0;
}

/* Opens the socket. Returns 0 or an error. */
static int
try_open(struct kolk__try *try)
{
    kolk__race *race = try->race;

    try->fd = kolk__sys.socket(try->address.storage.ss_family,
                               SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                               race->options.protocol);
    if (try->fd < 0) {
        return -errno;
    }
    race->open++;
    kolk__descriptor_reset(race->loop, try->fd);
    return try_set_nodelay(try);
}

/* In the loop's own thread, starting a timer cannot fail. */
static void
race_start_timer(kolk__race *race, kolk_timer *timer, kolk_time delay)
{
    (void)!kolk_call_later(race->loop, timer, delay);
}

static void
try_win(struct kolk__try *try)
{
    kolk__race *race = try->race;
    int fd = try->fd;

    kolk_forget(race->loop, fd);
    try->fd = -1;
    race->open--;
    race->peer = try->address;
    kolk__race_end(race, fd);
}

/* The server's queue is full, and nothing tells when it is not. */
static void
try_pause(struct kolk__try *try)
{
    const kolk_time longest = KOLK_MS(RACE_PAUSE_MAX_MS);

    race_start_timer(try->race, &try->timer, try->pause);
    try->pause = 2 * try->pause < longest ? 2 * try->pause : longest;
}

/* A Unix socket is connected at once or not at all. Returns 0 if it is, or will
 * be tried again. */
static int
try_connect_unix(struct kolk__try *try)
{
    int result;

    do {
        result = kolk__sys.connect(
            try->fd, (const struct sockaddr *)&try->address.storage,
            try->address.size);
    } while (result < 0 && errno == EINTR);
    if (result == 0) {
        try_win(try);
    } else if (errno == EAGAIN) {
        try_pause(try);
        result = 0;
    }
    return result < 0 ? -errno : 0;
}

static int
try_connect(struct kolk__try *try)
{
    if (try->address.storage.ss_family == AF_UNIX) {
        return try_connect_unix(try);
    }
    return kolk_op_connect(try->race->loop, &try->op, try->fd,
                           (const struct sockaddr *)&try->address.storage,
                           try->address.size);
}

/* Begins. Returns whether it is under way, or has won; if not, its errors are
 * noted. */
static bool
try_start(struct kolk__try *try)
{
    kolk__race *race = try->race;
    int err = try_open(try);

    if (err == 0 && race->local_count > 0 && try_bind(try) < 0) {
        try_close(try);
        return false;
    }
    if (err == 0) {
        err = try_connect(try);
    }
    if (err < 0) {
        race_note(race, &try->address, err, false);
        if (try->fd >= 0) {
            try_close(try);
        }
    }
    return err == 0;
}

/* Starts attempts until one is under way. */
static void
race_step(kolk__race *race)
{
    kolk_timer_stop(race->loop, &race->timer);
    while (race->next < race->count) {
        if (try_start(&race->tries[race->next++])) {
            if (!race->is_over && race->next < race->count) {
                race_start_timer(race, &race->timer, race->options.delay);
            }
            return;
        }
    }
    if (race->open == 0) {
        kolk__race_end(race, race->attempts[race->attempt_count - 1].error);
    }
}

static void
race_delay_over(kolk_timer *timer)
{
    race_step(KOLK_CONTAINER_OF(timer, kolk__race, timer));
}

static void
try_fail(struct kolk__try *try, int error)
{
    kolk__race *race = try->race;
    bool is_newest = try == &race->tries[race->next - 1];

    race_note(race, &try->address, error, false);
    try_close(try);
    if (is_newest || race->open == 0) {
        race_step(race);
    }
}

static void
try_pause_over(kolk_timer *timer)
{
    struct kolk__try *try = KOLK_CONTAINER_OF(timer, struct kolk__try, timer);
    int err = try_connect(try);

    if (err < 0) {
        try_fail(try, err);
    }
}

bool
kolk__race_end_won(kolk__race *race)
{
    for (size_t i = 0; i < race->next; i++) {
        struct kolk__try *try = &race->tries[i];

        if (try->fd >= 0 && kolk_call_is_pending(&try->op.call)
            && try->op.result == 0) {
            kolk_call_cancel(race->loop, &try->op.call);
            try_win(try);
            return true;
        }
    }
    return false;
}

static void
try_ended(kolk_op *op)
{
    struct kolk__try *try = KOLK_CONTAINER_OF(op, struct kolk__try, op);
    kolk__race *race = try->race;

    if (race->is_over) {
        try_close(try);
        race_settle(race);
    } else if (op->result == 0) {
        try_win(try);
    } else {
        try_fail(try, op->result);
    }
}

/* ---- the order of addresses ---- */

/* A family, and where its next address is. */
struct order_turn {
    int family;
    size_t next;
};

/* Where the next address of the family stands, from `at` on; the end if there
 * is none. */
static size_t
order_find(const kolk_address *from, size_t count, size_t at, int family)
{
    while (at < count && from[at].storage.ss_family != family) {
        at++;
    }
    return at;
}

/* The families of `from`, as they appear. Returns how many, or 0 if they are
 * more than anybody has. */
static size_t
order_families(const kolk_address *from, size_t count, struct order_turn *turns)
{
    size_t families = 0;

    for (size_t i = 0; i < count; i++) {
        int family = from[i].storage.ss_family;
        size_t known = 0;

        while (known < families && turns[known].family != family) {
            known++;
        }
        if (known == RACE_FAMILIES_MAX) {
            return 0;
        }
        if (known == families) {
            turns[families++] = (struct order_turn){family, i};
        }
    }
    return families;
}

/* Gives the tries their addresses: families take turns, after so many of the
 * first. */
static void
race_order(kolk__race *race, const kolk_address *from)
{
    struct order_turn turns[RACE_FAMILIES_MAX];
    size_t families =
        race->options.in_order ? 0 : order_families(from, race->count, turns);
    unsigned ahead = race->options.interleave;
    size_t used = 0;

    if (families == 0) {
        for (; used < race->count; used++) {
            race->tries[used].address = from[used];
        }
        return;
    }
    for (size_t turn = 0; used < race->count; turn = (turn + 1) % families) {
        struct order_turn *self = &turns[turn];

        for (; ahead > 0 && self->next < race->count; ahead--) {
            race->tries[used++].address = from[self->next];
            self->next =
                order_find(from, race->count, self->next + 1, self->family);
        }
        ahead = 1;
    }
}

/* ---- addresses that are known ---- */

int
kolk__race_reserve(kolk__race *race, size_t count, size_t local_count)
{
    size_t size = count * sizeof *race->tries
                  + (local_count + count) * sizeof *race->local;

    race->tries = kolk__sys.calloc(1, size);
    race->attempts =
        kolk__sys.calloc(count * (local_count + 1), sizeof *race->attempts);
    if (race->tries == NULL || race->attempts == NULL) {
        return -ENOMEM;
    }
    race->local = (kolk_address *)&race->tries[count];
    race->found_addresses = &race->local[local_count];
    race->count = count;
    race->local_count = local_count;
    return 0;
}

void
kolk__race_begin(kolk__race *race, const kolk_address *from)
{
    kolk_timer_init(&race->timer, race_delay_over, NULL);
    race_order(race, from);
    for (size_t i = 0; i < race->count; i++) {
        struct kolk__try *try = &race->tries[i];

        try->race = race;
        try->fd = -1;
        try->pause = KOLK_MS(RACE_PAUSE_MS);
        kolk_op_init(&try->op, try_ended, NULL);
        kolk_timer_init(&try->timer, try_pause_over, NULL);
    }
    race_step(race);
}
