/* lookup.c - getaddrinfo(3) without blocking the loop. See kolk/lookup.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A lookup has a job, in memory of the library's. The user's node is known to
 * the job only as long as it is pending, so a cancelled one is the user's again
 * at once, and the thread goes on with what is in the job. Whichever of the two
 * is the last, the node's function or the thread's end, frees the job.
 *
 * Until then the job is one of the handles of the loop: so a visitor is shown
 * the node, and a loop that is closed gives it back. It is told by a call of
 * the job's.
 *
 * What needs no name service is asked for right away. The list is still made
 * by getaddrinfo(3), since only that one knows how freeaddrinfo(3) frees it.
 */
#include "net/lookup.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "loop/handle.h"

struct lookup_job {
    kolk__handle handle;
    kolk_loop *loop;
    kolk_lookup *lookup; /* NULL: nobody is to be told any more */
    kolk_call call;      /* tells the lookup */
    int result;          /* that it is told; once `call` is queued */
    bool is_working;     /* the pool has `op`, or the ready queue still */

    /* the thread's while it works */
    kolk_op op;
    struct addrinfo *found;
    const char *host, *service; /* in `text`, or NULL */
    const struct addrinfo *hints;
    struct addrinfo hints_copy;
    char text[];
};

/* ---- errors ---- */

int
kolk__resolve_error(int code, int system)
{
    switch (code) {
    case 0:
        return 0;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        if (system > 0) {
            return -system;
        }
        break;
    default:
        break;
    }
    return code - KOLK_ERESOLVE;
}

int
kolk_resolve_code(int error)
{
    const int last = 200; /* the C libraries have codes up to -105 */
    int code = error + KOLK_ERESOLVE;

    return code < 0 && code > -last ? code : 0;
}

/* ---- the job ---- */

static void
job_free(struct lookup_job *job)
{
    if (job->found != NULL) {
        kolk__sys.freeaddrinfo(job->found);
    }
    kolk__sys.free(job);
}

/* The resolver's answer; in a thread. */
static int
job_work(void *arg)
{
    struct lookup_job *job = arg;

    errno = 0;
    int code =
        kolk__sys.getaddrinfo(job->host, job->service, job->hints, &job->found);
    if (code != 0) {
        job->found = NULL;
    }
    return kolk__resolve_error(code, errno);
}

/* Frees the job unless the lookup or the thread still need it. */
static void
job_leave(struct lookup_job *job)
{
    if (job->lookup == NULL && !job->is_working) {
        kolk__handle_close(&job->handle);
        job_free(job);
    }
}

/* Ends the lookup: from now on it knows nothing of the job. */
static kolk_lookup *
job_part(struct lookup_job *job)
{
    kolk_lookup *lookup = job->lookup;

    job->lookup = NULL;
    lookup->job = NULL;
    kolk_call_cancel(job->loop, &job->call);
    return lookup;
}

static void
job_tell(kolk_call *call)
{
    struct lookup_job *job = KOLK_CONTAINER_OF(call, struct lookup_job, call);
    kolk_lookup *lookup = job_part(job);

    lookup->result = job->result;
    lookup->addresses = NULL;
    if (job->result >= 0) {
        lookup->addresses = job->found;
        job->found = NULL;
    }
    job_leave(job);
    lookup->fn(lookup);
}

/* The thread has ended its work, or has not begun and will not. */
static void
job_worked(kolk_op *op)
{
    struct lookup_job *job = KOLK_CONTAINER_OF(op, struct lookup_job, op);

    job->is_working = false;
    if (job->lookup != NULL && !kolk_call_is_pending(&job->call)) {
        job->result = op->result;
        job_tell(&job->call);
    } else {
        job_leave(job);
    }
}

/* ---- a loop that is closed ---- */

static void
job_dropped(kolk_op *op)
{
    job_free(KOLK_CONTAINER_OF(op, struct lookup_job, op));
}

static void *
job_node(kolk__handle *handle)
{
    return KOLK_CONTAINER_OF(handle, struct lookup_job, handle)->lookup;
}

/* Is the job with a thread of the process that this one was forked from? */
static bool
job_is_parents(const struct lookup_job *job)
{
    return job->is_working && job->loop->generation != kolk__generation
           && !kolk_call_is_pending(&job->op.call);
}

/* A job that was with the pool comes back through the inbox, and is freed when
 * that drops it. In a child of the loop's process none comes back that had not
 * before. */
static void
job_drop(kolk_loop *loop, kolk__handle *handle)
{
    struct lookup_job *job =
        KOLK_CONTAINER_OF(handle, struct lookup_job, handle);
    kolk_lookup *lookup = job->lookup != NULL ? job_part(job) : NULL;

    (void)loop;
    kolk__handle_close(handle);
    if (job_is_parents(job)) {
        kolk__ring_unlink(&job->op.link); /* others go after it */
        job->is_working = false;
    }
    if (!job->is_working) {
        job_free(job);
    }
    if (lookup != NULL && lookup->dropped != NULL) {
        lookup->dropped(lookup);
    }
}

static const kolk__handle_ops job_handle_ops = {
    .kind = KOLK_NODE_LOOKUP,
    .node = job_node,
    .drop = job_drop,
};

/* ---- starting ---- */

static bool
lookup_is_number(const char *service)
{
    return service == NULL
           || (*service != '\0'
               && strspn(service, "0123456789") == strlen(service));
}

/* Can the resolver answer without asking anybody? */
static bool
lookup_is_literal(const char *host, const char *service)
{
    kolk_address address;

    return lookup_is_number(service)
           && (host == NULL
               || kolk_address_parse(host, 0, &address) != -EINVAL);
}

/* The flags keep the resolver from looking further. */
static int
lookup_literal(const char *host, const char *service,
               const struct addrinfo *hints, struct addrinfo **out)
{
    struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};

    if (hints != NULL) {
        numeric.ai_flags |= hints->ai_flags;
        numeric.ai_family = hints->ai_family;
        numeric.ai_socktype = hints->ai_socktype;
        numeric.ai_protocol = hints->ai_protocol;
    }
    errno = 0;
    int code = kolk__sys.getaddrinfo(host, service, &numeric, out);
    return kolk__resolve_error(code, errno);
}

bool
kolk__lookup_at_once(const char *host, const char *service,
                     const struct addrinfo *hints, int *result,
                     struct addrinfo **out)
{
    struct addrinfo *found;

    if (!lookup_is_literal(host, service)) {
        return false;
    }
    *result = lookup_literal(host, service, hints, &found);
    if (*result == 0) {
        *out = found;
    }
    return true;
}

static struct lookup_job *
job_new(const char *host, const char *service, const struct addrinfo *hints)
{
    size_t host_size = host != NULL ? strlen(host) + 1 : 0;
    size_t service_size = service != NULL ? strlen(service) + 1 : 0;
    struct lookup_job *job =
        kolk__sys.calloc(1, sizeof *job + host_size + service_size);

    if (job == NULL) {
        return NULL;
    }
    if (host != NULL) {
        job->host = memcpy(job->text, host, host_size);
    }
    if (service != NULL) {
        job->service = memcpy(job->text + host_size, service, service_size);
    }
    if (hints != NULL) {
        job->hints_copy = (struct addrinfo){.ai_flags = hints->ai_flags,
                                            .ai_family = hints->ai_family,
                                            .ai_socktype = hints->ai_socktype,
                                            .ai_protocol = hints->ai_protocol};
        job->hints = &job->hints_copy;
    }
    kolk_call_init(&job->call, job_tell, NULL);
    kolk_op_init(&job->op, job_worked, job_dropped);
    return job;
}

/* Asks right away. */
static void
job_answer(struct lookup_job *job)
{
    job->result =
        lookup_literal(job->host, job->service, job->hints, &job->found);
    if (job->result < 0) {
        job->found = NULL;
    }
    kolk__ready_push(job->loop, &job->call);
}

void
kolk_lookup_init(kolk_lookup *lookup, kolk_lookup_fn *fn,
                 kolk_lookup_fn *dropped)
{
    *lookup = (kolk_lookup){.fn = fn, .dropped = dropped};
}

int
kolk_lookup_start(kolk_loop *loop, kolk_lookup *lookup, const char *host,
                  const char *service, const struct addrinfo *hints)
{
    int err = kolk__loop_check(loop, "kolk_lookup_start()");

    if (err < 0) {
        return err;
    }
    if (lookup->job != NULL) {
        return -EALREADY;
    }
    struct lookup_job *job = job_new(host, service, hints);
    if (job == NULL) {
        return -ENOMEM;
    }
    job->loop = loop;
    if (lookup_is_literal(host, service)) {
        job_answer(job);
    } else {
        err = kolk_op_work(loop, &job->op, NULL, job_work, job);
        if (err < 0) {
            job_free(job);
            return err;
        }
        job->is_working = true;
    }
    job->lookup = lookup;
    lookup->job = job;
    kolk__handle_open(loop, &job->handle, &job_handle_ops);
    return 0;
}

/* ---- ending early ---- */

void
kolk_lookup_cancel(kolk_loop *loop, kolk_lookup *lookup)
{
    struct lookup_job *job = lookup->job;

    if (job == NULL || kolk_call_is_pending(&job->call)
        || kolk__loop_check(loop, "kolk_lookup_cancel()") < 0) {
        return;
    }
    if (kolk_call_is_pending(&job->op.call)) {
        return; /* it has ended: the result is on its way */
    }
    job->result = -ECANCELED;
    kolk__ready_push(loop, &job->call);
    kolk_op_cancel(loop, &job->op);
}

void
kolk__lookup_forget(kolk_loop *loop, kolk_lookup *lookup)
{
    struct lookup_job *job = lookup->job;

    if (job == NULL) {
        return;
    }
    (void)job_part(job);
    if (job->is_working) {
        kolk_op_cancel(loop, &job->op);
    }
    job_leave(job);
}

bool
kolk_lookup_is_pending(const kolk_lookup *lookup)
{
    return lookup->job != NULL;
}
