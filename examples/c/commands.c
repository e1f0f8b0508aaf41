/* commands.c - several programs at once, with what they print gathered.
 *
 * Each is a task that runs its program to the end. The slow one is given up
 * when its time is over, and with it the program.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <kolk.h>
#include <stdio.h>

struct command {
    const char *shell;
    kolk_output output;
    int err;
};

static int
command_run(void *arg)
{
    struct command *command = arg;
    kolk_process_options options = {
        .shell = command->shell,
        .input = {.kind = KOLK_STDIO_NULL},
        .output = {.kind = KOLK_STDIO_PIPE},
        .error = {.kind = KOLK_STDIO_OUTPUT},
    };
    KOLK_TIMEOUT(timeout, KOLK_S(1));
    int err = kolk_process_run(&options, NULL, 0, 1 << 20, &command->output);
    command->err = kolk_timeout_end(&timeout, err);
    return 0; /* one that fails does not end the others */
}

static int
commands_run(void *arg)
{
    struct command *command = arg;
    int err = 0;
    KOLK_GROUP(group);
    for (; command->shell != NULL && err == 0; command++) {
        err = kolk_group_spawn(&group, command_run, command, NULL);
    }
    return kolk_group_end(&group, err);
}

int
main(void)
{
    struct command commands[] = {
        {.shell = "echo one; echo two >&2"},
        {.shell = "seq 1 100000 | wc -l"},
        {.shell = "exit 3"},
        {.shell = "kill -TERM $$"},
        {.shell = "sleep 60"},
        {.shell = NULL},
    };
    int err = kolk_run(commands_run, commands);
    for (struct command *command = commands; command->shell != NULL;
         command++) {
        kolk_output *output = &command->output;
        if (command->err < 0) {
            (void)printf("%s: %s\n", command->shell,
                         kolk_strerror(command->err));
        } else if (output->status >= KOLK_PROCESS_SIGNALED) {
            (void)printf("%s: signal %d\n", command->shell,
                         output->status - KOLK_PROCESS_SIGNALED);
        } else {
            (void)printf("%s: status %d\n%.*s", command->shell, output->status,
                         (int)output->output_size, output->output);
        }
        kolk_output_fini(output);
    }
    if (err < 0) {
        (void)fprintf(stderr, "commands: %s\n", kolk_strerror(err));
    }
    return err < 0;
}
