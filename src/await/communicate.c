/* communicate.c - what a child is told, and what it answers: all at once.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each pipe has a task of its own, in one group, so none waits for another and
 * no order of reading and writing can block the child. The task that asks waits
 * for the child's end meanwhile.
 *
 * When the child has ended, everything it has said is in the pipes. Somebody
 * else may still hold them, and go on: so each reader then takes as many bytes
 * as there are, and no more.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <kolk/group.h>

#include "base/sys.h"
#include "net/transport.h" /* writing without SIGPIPE */
#include "process/process.h"
#include "task/park.h"

enum {
    TALK_FIRST = 4096, /* bytes that are read at first; then the double */
    TALK_ROOM = 65536, /* as much as a pipe holds most often */
};

struct talk;

/* What is read from a pipe. */
struct talk_answer {
    struct talk *talk;
    int number;
    char *data; /* with room for a zero behind */
    size_t size, capacity;
    size_t last; /* once the child has ended: how much is taken at most */
};

struct talk {
    kolk_process *process;
    const char *input;
    size_t size;
    size_t limit;
    bool has_ended; /* the child */
    struct talk_answer answers[2];
};

/* ---- reading ---- */

/* How much may be read next, with room for it; 0: enough; or an error. */
static ssize_t
talk_reserve(struct talk_answer *answer)
{
    const struct talk *talk = answer->talk;
    size_t most = talk->has_ended ? answer->last : SIZE_MAX;

    if (answer->size > talk->limit) {
        answer->size = talk->limit;
        return -KOLK_ELIMIT;
    }
    if (answer->size >= most) {
        return 0;
    }
    if (answer->capacity - answer->size < TALK_FIRST / 2) {
        size_t capacity = answer->capacity * 2 + TALK_FIRST;
        char *data = kolk__sys.realloc(answer->data, capacity + 1);

        if (data == NULL) {
            return -ENOMEM;
        }
        answer->data = data;
        answer->capacity = capacity;
    }
    size_t room = answer->capacity - answer->size;
    size_t left = most - answer->size;
    size_t allowed = talk->limit - answer->size; /* and one, to find out */

    room = room < left ? room : left;
    return (ssize_t)(room <= allowed ? room : allowed + 1);
}

/* The body of a reader's task. */
static int
talk_read(void *arg)
{
    struct talk_answer *answer = arg;
    const struct talk *talk = answer->talk;
    kolk_process *process = talk->process;
    ssize_t room;
    int count = 0;

    while ((room = talk_reserve(answer)) > 0) {
        bool had_ended = talk->has_ended;

        count = kolk_read(process->pipes[answer->number],
                          answer->data + answer->size, (size_t)room);
        if (count > 0) {
            answer->size += (size_t)count;
        } else if (count == -ECANCELED && talk->has_ended && !had_ended) {
            continue; /* once more, now that nothing else will come */
        } else {
            break;
        }
    }
    if (room < 0) {
        return (int)room;
    }
    if (count == -ECANCELED && !talk->has_ended) {
        return count; /* another call may go on */
    }
    kolk__process_close_pipe(process, answer->number);
    return count == -ECANCELED || count > 0 ? 0 : count;
}

/* How much the child, which has ended, has left in a pipe. */
static void
talk_bound(struct talk_answer *answer)
{
    int fd = answer->talk->process->pipes[answer->number];
    int left = 0;

    if (fd >= 0 && kolk__sys.ioctl(fd, FIONREAD, &left) < 0) {
        left = TALK_ROOM;
    }
    answer->last = answer->size + (size_t)left;
}

/* ---- writing ---- */

/* Writes what is left of the input. Returns 0 or an error. A child that does
 * not want all of it is none. */
static int
talk_write_all(struct talk *talk, int fd)
{
    kolk_process *process = talk->process;

    while (process->input_sent < talk->size) {
        union {
            const char *from;
            void *to;
        } place = {.from = talk->input + process->input_sent};
        struct iovec piece = {.iov_base = place.to,
                              .iov_len = talk->size - process->input_sent};
        ssize_t count = kolk__writev_quietly(fd, &piece, 1);

        if (count >= 0) {
            process->input_sent += (size_t)count;
            kolk__be_fair(kolk__current_coro());
        } else if (errno == EAGAIN) {
            int err = kolk_poll(fd, KOLK_WRITABLE);
            if (err < 0) {
                return err;
            }
        } else if (errno != EINTR) {
            return errno == EPIPE ? 0 : -errno;
        }
    }
    return 0;
}

/* The body of the writer's task. */
static int
talk_write(void *arg)
{
    struct talk *talk = arg;
    kolk_process *process = talk->process;
    int err = talk_write_all(talk, process->pipes[0]);

    if (err == -ECANCELED && !talk->has_ended) {
        return err; /* another call may go on */
    }
    kolk__process_close_pipe(process, 0);
    return err == -ECANCELED ? 0 : err;
}

/* ---- both ---- */

static int
talk_spawn(struct talk *talk, kolk_group *group)
{
    const int *pipes = talk->process->pipes;
    int err = 0;

    if (pipes[0] >= 0) {
        err = kolk_group_spawn(group, talk_write, talk, NULL);
    }
    for (int i = 0; i < 2 && err == 0; i++) {
        struct talk_answer *answer = &talk->answers[i];

        if (pipes[answer->number] >= 0) {
            err = kolk_group_spawn(group, talk_read, answer, NULL);
        }
    }
    return err;
}

/* Returns 0 or an error; what was read is there in any case. */
static int
talk_run(struct talk *talk)
{
    kolk_process *process = talk->process;
    kolk_group group;
    int err = kolk_group_begin(&group);

    if (err == 0) {
        err = talk_spawn(talk, &group);
        if (err == 0) {
            err = kolk_process_wait(process);
        }
        if (process->status != -EAGAIN) {
            talk_bound(&talk->answers[0]);
            talk_bound(&talk->answers[1]);
            talk->has_ended = true;
            err = 0;
            kolk_group_cancel(&group);
        }
        err = kolk_group_end(&group, err);
    }
    if (err == -KOLK_ELIMIT) {
        (void)!kolk_process_kill(process); /* -ESRCH: it has ended already */
    }
    return err;
}

/* Gives the memory of an answer away, as a string. One that there was no pipe
 * for, or no memory, is none. */
static void
talk_take(struct talk_answer *answer, char **data, size_t *size)
{
    *data = answer->data;
    *size = answer->size;
    if (answer->data != NULL) {
        answer->data[answer->size] = '\0';
    }
}

int
kolk_process_communicate(kolk_process *process, const void *input, size_t size,
                         size_t limit, kolk_output *out)
{
    kolk__coro *coro =
        kolk__coro_or_misuse("kolk_process_communicate() outside a task");

    *out = (kolk_output){.status = process->status};
    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (process->is_talking) {
        return -EBUSY;
    }
    struct talk talk = {
        .process = kolk_process_ref(process),
        .input = input,
        .size = size,
        .limit = limit != 0 ? limit : SIZE_MAX,
        .answers = {{.talk = &talk, .number = 1}, {.talk = &talk, .number = 2}},
    };
    process->is_talking = true;
    int err = talk_run(&talk);
    process->is_talking = false;
    talk_take(&talk.answers[0], &out->output, &out->output_size);
    talk_take(&talk.answers[1], &out->error, &out->error_size);
    out->status = process->status;
    kolk_process_unref(process);
    return err;
}

void
kolk_output_fini(kolk_output *output)
{
    kolk__sys.free(output->output);
    kolk__sys.free(output->error);
    *output = (kolk_output){0};
}

/* ---- whole runs ---- */

/* Ends the child, whatever the task is asked meanwhile. Returns its status. One
 * that has become somebody else's (setuid) may not be killed: nobody waits for
 * it, since that could not be cancelled. */
static int
run_kill(kolk_process *process)
{
    kolk_shield shield;
    int err = kolk_process_kill(process);

    if (err < 0 && err != -ESRCH) {
        return kolk_process_status(process);
    }
    err = kolk_shield_begin(&shield);
    if (err == 0) {
        err = kolk_process_wait(process);
        (void)kolk_shield_end(&shield); /* it is the innermost */
    }
    return err;
}

int
kolk_process_run(const kolk_process_options *options, const void *input,
                 size_t size, size_t limit, kolk_output *out)
{
    kolk__coro *coro =
        kolk__coro_or_misuse("kolk_process_run() outside a task");
    kolk_process_options mine = *options;
    kolk_process *process;

    *out = (kolk_output){.status = -EAGAIN};
    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    if (input != NULL && mine.input.kind == KOLK_STDIO_INHERIT) {
        mine.input.kind = KOLK_STDIO_PIPE;
    }
    int err = kolk_process_spawn(coro->loop, &mine, NULL, NULL, &process);
    if (err < 0) {
        return err;
    }
    err = kolk_process_communicate(process, input, size, limit, out);
    if (err < 0) {
        out->status = run_kill(process);
    }
    kolk_process_unref(process);
    return err;
}
