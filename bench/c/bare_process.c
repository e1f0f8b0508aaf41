/* bare_process.c - what does a child cost, and what goes through its pipes?
 *
 * SPDX-License-Identifier: MIT
 *
 * posix_spawn(3) and waitpid(2), one child after another; and a child that
 * copies its input to its output, with poll(2), read(2) and write(2) on both
 * pipes, and one buffer that doubles for all that comes back.
 */
#include "bench.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void
process_spawn(void)
{
    char *argv[] = {"/bin/true", NULL};
    int64_t cpu = bench_cpu(), wall = bench_wall();

    for (int i = 0; i < BENCH_CHILDREN; i++) {
        pid_t pid;
        int err = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);

        if (err != 0) {
            bench_die("posix_spawn", err);
        }
        bench_check("waitpid", waitpid(pid, NULL, 0));
    }
    bench_print("process_spawn", 1,
                (double)(bench_cpu() - cpu) / BENCH_CHILDREN);
    bench_print("process_spawn_wall", 1,
                (double)(bench_wall() - wall) / BENCH_CHILDREN);
}

/* Starts cat; `to` and `from` are the ends of its pipes on this side. */
static pid_t
process_start_cat(int *to, int *from)
{
    char *argv[] = {"/bin/cat", NULL};
    posix_spawn_file_actions_t actions;
    int input[2], output[2];
    pid_t pid;

    bench_check("pipe2", pipe2(input, O_CLOEXEC));
    bench_check("pipe2", pipe2(output, O_CLOEXEC));
    (void)posix_spawn_file_actions_init(&actions); /* cannot fail on Linux */
    (void)posix_spawn_file_actions_adddup2(&actions, input[0], 0);
    (void)posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    int err = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    if (err != 0) {
        bench_die("posix_spawn", err);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(input[0]);
    (void)close(output[1]);
    *to = input[1];
    *from = output[0];
    bench_check("fcntl", fcntl(*to, F_SETFL, O_NONBLOCK));
    bench_check("fcntl", fcntl(*from, F_SETFL, O_NONBLOCK));
    return pid;
}

struct answer {
    char *data;
    size_t size, capacity;
};

/* Reads what is there; false at the end. */
static bool
process_read(int fd, struct answer *answer)
{
    ssize_t count;

    do {
        if (answer->capacity - answer->size < 2048) {
            answer->capacity = answer->capacity * 2 + 4096;
            answer->data = realloc(answer->data, answer->capacity);
            if (answer->data == NULL) {
                bench_die("realloc", ENOMEM);
            }
        }
        count = read(fd, answer->data + answer->size,
                     answer->capacity - answer->size);
        answer->size += count > 0 ? (size_t)count : 0;
    } while (count > 0);
    return count != 0;
}

static void
process_pipe(void)
{
    struct answer answer = {0};
    char *input = bench_calloc(1, BENCH_PIPE_SIZE);
    size_t sent = 0;
    int to, from;

    memset(input, 'x', BENCH_PIPE_SIZE);
    int64_t cpu = bench_cpu(), wall = bench_wall();
    pid_t pid = process_start_cat(&to, &from);
    for (bool more = true; more;) {
        struct pollfd fds[] = {{.fd = from, .events = POLLIN},
                               {.fd = to, .events = POLLOUT}};

        bench_check("poll", poll(fds, 2, -1));
        if (fds[1].revents != 0) {
            ssize_t count = write(to, input + sent, BENCH_PIPE_SIZE - sent);

            sent += count > 0 ? (size_t)count : 0;
            if (sent == BENCH_PIPE_SIZE) {
                (void)close(to);
                to = -1;
            }
        }
        if (fds[0].revents != 0) {
            more = process_read(from, &answer);
        }
    }
    bench_check("waitpid", waitpid(pid, NULL, 0));
    if (answer.size != BENCH_PIPE_SIZE) {
        bench_die("cat", EIO);
    }
    double mebibytes = BENCH_PIPE_SIZE / 1048576.0;
    bench_print("process_pipe", 1, (double)(bench_cpu() - cpu) / mebibytes);
    bench_print("process_pipe_wall", 1,
                (double)(bench_wall() - wall) / mebibytes);
    (void)close(from);
    free(answer.data);
    free(input);
}

int
main(void)
{
    process_spawn();
    process_pipe();
    return 0;
}
