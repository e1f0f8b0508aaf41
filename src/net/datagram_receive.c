/* datagram_receive.c - datagrams that come in, and errors. See net/datagram.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A datagram is received into the buffer that all connections of a loop share,
 * and handed over from there. Any datagram of IP fits, and of Unix sockets what
 * the kernel lets everybody send.
 *
 * How many datagrams to ask for in one turn follows how many there were. One
 * at a time it costs no call that finds nothing, since the loop looks again
 * anyway; where more come than turns pass, up to 32 are taken in each.
 *
 * What ICMP says waits in the socket's error queue. The kernel tells of it by
 * an error of the next call, or, if that was something else's, only by waking
 * the loop when nothing has come.
 */
#include <errno.h>
#include <netinet/in.h>

#include "base/sys.h"
#include "net/datagram.h"
#include "net/net.h" /* memory to receive into */

enum {
    RECEIVE_BATCH_MAX = 32,
    RECEIVE_STREAK = 8,   /* full batches until a larger one is tried */
    RECEIVE_FAILURES = 3, /* in a row, until a pause is made */
};

/* ---- errors ---- */

/* The kernel's struct sock_extended_err; not every C library comes with
 * linux/errqueue.h. */
struct receive_error {
    uint32_t error;
    uint8_t origin;
    uint8_t type, code, pad;
    uint32_t info, data;
};

enum { RECEIVE_ORIGIN_ICMP = 2, RECEIVE_ORIGIN_ICMP6 = 3 };

void
kolk__datagram_push_error(kolk_datagram *self, int error)
{
    if (self->error_count < KOLK__DATAGRAM_ERRORS) {
        unsigned place = self->error_first + self->error_count++;

        self->errors[place % KOLK__DATAGRAM_ERRORS] = error;
        return;
    }
    if (!self->is_overflown) {
        self->is_overflown = true;
        kolk__report(self->loop, error, NULL,
                     "errors of a datagram socket that nobody asks for");
    }
}

int
kolk__datagram_take_error(kolk_datagram *self)
{
    if (self->error_count == 0) {
        return 0;
    }
    int error = self->errors[self->error_first];

    self->error_first = (self->error_first + 1) % KOLK__DATAGRAM_ERRORS;
    self->error_count--;
    self->is_overflown = false;
    kolk__datagram_update(self); /* it may have been full */
    return error;
}

/* Tells one; returns whether there was one, and somebody to tell. */
static bool
receive_tell_one(kolk_datagram *self)
{
    kolk_datagram_protocol *protocol = self->protocol;

    if (!kolk__datagram_is_alive(self) || self->error_count == 0) {
        return false;
    }
    if (protocol == NULL) {
        if (self->reader != NULL) {
            self->reader->ops->failed(self->reader);
        }
        return false;
    }
    int error = kolk__datagram_take_error(self);
    if (protocol->ops->error_received != NULL) {
        protocol->ops->error_received(protocol, self, error);
    }
    return true;
}

/* A protocol that sends again what could not be sent has its next error in a
 * later turn. */
void
kolk__datagram_tell(kolk_datagram *self)
{
    int left = KOLK__DATAGRAM_ERRORS;

    if (self->is_telling || self->error_count == 0) {
        return;
    }
    self->is_telling = true;
    kolk_datagram_ref(self);
    while (left > 0 && receive_tell_one(self)) {
        left--;
    }
    self->is_telling = false;
    if (left == 0 && kolk__datagram_is_alive(self)
        && !kolk_call_is_pending(&self->later)) {
        kolk__ready_push(self->loop, &self->later);
    }
    kolk_datagram_unref(self);
}

/* What a message of the error queue says; 0 for what was no error of another
 * host's: of our own the call itself has told. */
static int
receive_error_of(struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        bool is_ip =
            part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR;
        bool is_ipv6 =
            part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR;
        const struct receive_error *error =
            (const struct receive_error *)(void *)CMSG_DATA(part);

        if ((is_ip || is_ipv6)
            && (error->origin == RECEIVE_ORIGIN_ICMP
                || error->origin == RECEIVE_ORIGIN_ICMP6)) {
            return -(int)error->error;
        }
    }
    return 0;
}

/* Takes one message out of the error queue. Returns false if there is none. */
static bool
receive_error_next(kolk_datagram *self, int *error)
{
    union {
        struct cmsghdr align;
        char bytes[512];
    } control;
    struct msghdr message;
    ssize_t result;

    do {
        message = (struct msghdr){.msg_control = &control,
                                  .msg_controllen = sizeof control};
        result = kolk__sys.recvmsg(self->watch.fd, &message,
                                   MSG_ERRQUEUE | MSG_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    if (result < 0 || (message.msg_flags & MSG_ERRQUEUE) == 0) {
        return false; /* an emulator may say success, and mean nothing */
    }
    *error = receive_error_of(&message);
    return true;
}

bool
kolk__datagram_read_errors(kolk_datagram *self)
{
    bool found = false;
    int error;

    if (self->family == AF_UNIX) {
        return false;
    }
    while (self->error_count < KOLK__DATAGRAM_ERRORS
           && receive_error_next(self, &error)) {
        found = true;
        if (error < 0) {
            kolk__datagram_push_error(self, error);
        }
    }
    return found;
}

/* ---- receiving ---- */

bool
kolk__datagram_receives(const kolk_datagram *self)
{
    if (self->state != KOLK__DATAGRAM_OPEN || self->is_deaf
        || self->loop->generation != kolk__generation) {
        return false;
    }
    if (self->protocol != NULL) {
        return true;
    }
    return self->reader != NULL && !self->reader->is_full
           && self->error_count < KOLK__DATAGRAM_ERRORS;
}

/* Nothing was found, although there should be something. After some times the
 * loop is asked no more for a while, or it would ask in every turn. */
static void
receive_in_vain(kolk_datagram *self)
{
    self->is_deaf = ++self->failures >= RECEIVE_FAILURES;
    if (self->is_deaf) {
        kolk__datagram_retry(self, KOLK_S(1));
    }
}

/* Receiving has failed with `error`. Returns whether to go on. */
static bool
receive_failed(kolk_datagram *self, int error)
{
    if (!kolk__datagram_check_fd(self, error)) {
        return false;
    }
    unsigned before = self->error_count;
    bool found = kolk__datagram_read_errors(self);

    if (self->error_count == before) {
        kolk__datagram_push_error(self, error);
    }
    if (!found) {
        receive_in_vain(self);
    }
    kolk__datagram_tell(self);
    return true;
}

static void
receive_hand_over(kolk_datagram *self, const char *bytes, size_t size,
                  kolk_address *from)
{
    kolk_datagram_protocol *protocol = self->protocol;

    if (from->size == 0) { /* an unbound Unix socket */
        from->size = sizeof from->storage.ss_family;
        from->storage.ss_family = (sa_family_t)self->family;
    }
    if (protocol == NULL) {
        self->reader->ops->received(self->reader, bytes, size, from);
    } else if (protocol->ops->datagram_received != NULL) {
        protocol->ops->datagram_received(protocol, self, bytes, size, from);
    }
}

/* Receives one and hands it over. Returns false if there is none. */
static bool
receive_one(kolk_datagram *self, char *buffer)
{
    kolk_address from;
    ssize_t size;

    do {
        from.size = sizeof from.storage;
        size = kolk__sys.recvfrom(self->watch.fd, buffer, KOLK__READ_SIZE,
                                  MSG_DONTWAIT | MSG_TRUNC,
                                  (struct sockaddr *)&from.storage, &from.size);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        return errno != EAGAIN && receive_failed(self, -errno);
    }
    if (self->failures > 0) {
        self->failures = 0;
        self->delay = 0;
    }
    if (size > KOLK__READ_SIZE) { /* it was cut */
        kolk__datagram_push_error(self, -EMSGSIZE);
        kolk__datagram_tell(self);
    } else {
        receive_hand_over(self, buffer, (size_t)size, &from);
    }
    return true;
}

/* `count` datagrams have come; `is_drained`: and there were no more. */
static void
receive_adapt(kolk_datagram *self, unsigned count, bool is_drained)
{
    if (is_drained) {
        self->batch = count > 0 ? count : 1;
        self->streak = 0;
    } else if (count == self->batch && ++self->streak == RECEIVE_STREAK) {
        self->streak = 0;
        self->batch =
            2 * count < RECEIVE_BATCH_MAX ? 2 * count : RECEIVE_BATCH_MAX;
    }
}

void
kolk__datagram_receive(kolk_datagram *self, size_t expected)
{
    kolk__net *net = self->loop->net;
    void *buffer = kolk__net_take_buffer(net);
    unsigned count = 0;
    bool is_drained = false;

    if (buffer == NULL) {
        (void)receive_failed(self, -ENOMEM); /* tried again anyway */
        kolk__datagram_update(self);
        return;
    }
    while (self->batch < expected && self->batch < RECEIVE_BATCH_MAX) {
        self->batch++;
    }
    kolk_datagram_ref(self);
    while (count < self->batch && !is_drained
           && kolk__datagram_receives(self)) {
        is_drained = !receive_one(self, buffer);
        count += !is_drained;
    }
    kolk__net_give_buffer(net, buffer);
    if (is_drained && count == 0 && kolk__datagram_is_alive(self)) {
        if (!kolk__datagram_read_errors(self)) { /* what else has woken it? */
            receive_in_vain(self);
        }
        kolk__datagram_tell(self);
    }
    receive_adapt(self, count, is_drained);
    kolk__datagram_update(self);
    kolk_datagram_unref(self);
}
