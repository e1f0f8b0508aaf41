/* kolk/process.h - running other programs.
 *
 * SPDX-License-Identifier: MIT
 *
 * A child is known by its pidfd, so no call ever reaches another process that
 * got its number. The program's handling of SIGCHLD is not touched. Of the
 * parent's descriptors a child gets those that it is given, and no other.
 */
#pragma once

#include <signal.h>

#include <kolk/loop.h>
#include <kolk/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_process kolk_process;

/* Where a standard stream of a child leads. */
typedef enum kolk_stdio_kind {
    KOLK_STDIO_INHERIT, /* the parent's */
    KOLK_STDIO_PIPE,    /* a pipe to this program */
    KOLK_STDIO_NULL,    /* /dev/null */
    KOLK_STDIO_FD,      /* `fd`, borrowed for the call */
    KOLK_STDIO_OUTPUT,  /* of the error stream: where the output goes */
} kolk_stdio_kind;

typedef struct kolk_stdio {
    kolk_stdio_kind kind;
    int fd;
} kolk_stdio;

typedef struct kolk_process_options {
    const char *const *argv; /* ended by NULL; argv[0] is looked up in PATH
                              * unless `file` is set */
    const char *file;        /* what to run, looked up in PATH if it has no
                              * slash; NULL: argv[0]. PATH is that of
                              * `environment`, or /bin:/usr/bin */
    const char *shell;       /* run this by /bin/sh -c; then argv is NULL, or
                              * further arguments: $0, $1... */
    const char *const *environment; /* "NAME=value", ended by NULL; NULL: this
                                     * program's */
    const char *folder;             /* to start in; NULL: this program's */
    kolk_stdio input;
    kolk_stdio output;
    kolk_stdio error;
    const int *fds; /* further descriptors that the child gets, same numbers,
                     * all above 2 */
    size_t fd_count;
    bool new_session;  /* setsid(2) */
    bool new_group;    /* setpgid(0, 0) */
    bool kill_with_us; /* SIGKILL when the thread that spawns it ends */
    size_t limit;      /* kolk_stream_options.limit of its pipes */
} kolk_process_options;

/* ---- callbacks ---- */

typedef struct kolk_process_ops {
    /* It has ended; kolk_process_status() says how. Once, from the loop, also
     * if the handle was given up before. */
    void (*exited)(kolk_process *process);
    /* The loop was closed before: the child goes on, if it has not ended, and
     * nobody reaps it. May be NULL. */
    void (*dropped)(kolk_process *process);
} kolk_process_ops;

/* Starts a program. `ops` may be NULL. Blocks until the kernel has loaded the
 * program, well below a millisecond. `*out` is a reference, yours to give up
 * with kolk_process_unref(); a child that runs goes on then, and is reaped when
 * it ends and the loop runs. A relative name with a slash is relative to
 * `folder`. The child begins with the signal mask of this thread; signals that
 * are ignored stay so, others have their default effect.
 *
 * Returns 0; -ENOENT, -EACCES, -ENOEXEC (no shell is tried)... of the program
 * or folder; -E2BIG; -EINVAL for no argv, or an environment entry without '=';
 * -EBADF; -EMFILE, -ENFILE, -EAGAIN, -ENOMEM, -ENOSPC; -ENOSYS before Linux
 * 5.4; -KOLK_EMISUSE, -KOLK_EFORK. Then nothing is left. */
KOLK_API KOLK_MUST_CHECK int
kolk_process_spawn(kolk_loop *loop, const kolk_process_options *options,
                   const kolk_process_ops *ops, void *owner,
                   kolk_process **out);

KOLK_API kolk_process *kolk_process_ref(kolk_process *process);
KOLK_API void kolk_process_unref(kolk_process *process);
KOLK_API void *kolk_process_owner(const kolk_process *process);

/* Was it made with `ops`? So a visitor knows whose the owner is. */
KOLK_API bool kolk_process_has_ops(const kolk_process *process,
                                   const kolk_process_ops *ops);

/* Its number. To be shown; signals go by kolk_process_signal(). */
KOLK_API pid_t kolk_process_pid(const kolk_process *process);

/* This side of a pipe, taken: the descriptor, non-blocking, yours; -EBADF if
 * there is none or it was taken. `number` is 0, 1 or 2. Those that are not
 * taken are closed when the last handle is given up, or the loop is closed
 * before the child has ended. */
KOLK_API KOLK_MUST_CHECK int kolk_process_take_pipe(kolk_process *process,
                                                    int number);

/* -EAGAIN while it runs; then its exit status, 0 to 255, or, for one that a
 * signal has ended, KOLK_PROCESS_SIGNALED + the signal; -ECHILD if somebody
 * else has reaped it (or SIGCHLD is ignored), and nobody can know; -ESHUTDOWN
 * if it ran when the loop was closed. */
KOLK_API int kolk_process_status(const kolk_process *process);

enum { KOLK_PROCESS_SIGNALED = 1000 };

/* Sends a signal. Returns 0; -ESRCH once it has ended; -EPERM, -EINVAL;
 * -ESHUTDOWN once the loop is closed; -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int kolk_process_signal(kolk_process *process,
                                                 int signum);
/* SIGTERM, and SIGKILL. */
KOLK_API KOLK_MUST_CHECK int kolk_process_terminate(kolk_process *process);
KOLK_API KOLK_MUST_CHECK int kolk_process_kill(kolk_process *process);

/* ---- awaited by the current task ---- */

/* Waits until it has ended: its status. -KOLK_EMISUSE outside of a task of its
 * loop. Cancellation: -ECANCELED; the child goes on. */
KOLK_API KOLK_MUST_CHECK int kolk_process_wait(kolk_process *process);

/* This side of a pipe as a stream, made at the first call, borrowed from the
 * process; NULL if there is no pipe, or it was taken, or no memory. Pass it to
 * kolk_stream_close() to have it closed, once: it is gone then, and this
 * returns NULL. What is left is freed with the last handle of the process. */
KOLK_API kolk_stream *kolk_process_stream(kolk_process *process, int number);

/* What communicate has gathered; free with kolk_output_fini(). */
typedef struct kolk_output {
    char *output; /* ended by a zero that does not count; NULL: no pipe */
    size_t output_size;
    char *error;
    size_t error_size;
    int status; /* as kolk_process_status() */
} kolk_output;

/* Writes `input` and closes that pipe, reads the others to their ends, and
 * waits for the child. `limit` bounds each, in bytes; 0: no bound. A child that
 * does not read all of its input is no error. A daemon that it leaves behind
 * with its pipes is not waited for: what is in them when the child has ended
 * counts. Pipes that were taken, or are streams, are left alone.
 *
 * `out` is filled with what was read whatever the result, for
 * kolk_output_fini(). Returns 0; -KOLK_ELIMIT, and the child is killed; an
 * error of a pipe or of memory; -EBUSY while another task communicates.
 * Cancellation, timeouts too: -ECANCELED; the child runs on. Called again with
 * the same input, it goes on where that was left, and reads what comes then. */
KOLK_API KOLK_MUST_CHECK int kolk_process_communicate(kolk_process *process,
                                                      const void *input,
                                                      size_t size, size_t limit,
                                                      kolk_output *out);
KOLK_API void kolk_output_fini(kolk_output *output);

/* subprocess.run: spawns, communicates, and gives up. With an `input` that is
 * not NULL, the child's is a pipe unless the options say something else. After
 * an error the child is killed, and its end waited for; one that may not be
 * killed runs on, and its status is -EAGAIN. `out` as above.
 * Cancellation: the same, and -ECANCELED. */
KOLK_API KOLK_MUST_CHECK int
kolk_process_run(const kolk_process_options *options, const void *input,
                 size_t size, size_t limit, kolk_output *out);

#ifdef __cplusplus
}
#endif
