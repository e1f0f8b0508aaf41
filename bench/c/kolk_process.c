/* kolk_process.c - what does a child cost, and what goes through its pipes?
 *
 * SPDX-License-Identifier: MIT
 *
 * One child after another, spawned and awaited by a task; and a whole
 * conversation with a child that copies its input to its output.
 */
#include "bench_kolk.h"

static void
process_spawn(void)
{
    static const char *const argv[] = {"/bin/true", NULL};
    const kolk_process_options options = {.argv = argv};
    int64_t cpu = bench_cpu(), wall = bench_wall();

    for (int i = 0; i < BENCH_CHILDREN; i++) {
        kolk_process *process;

        bench_ok("kolk_process_spawn",
                 kolk_process_spawn(kolk_current_loop(), &options, NULL, NULL,
                                    &process));
        bench_ok("kolk_process_wait", kolk_process_wait(process));
        kolk_process_unref(process);
    }
    bench_print("process_spawn", 1,
                (double)(bench_cpu() - cpu) / BENCH_CHILDREN);
    bench_print("process_spawn_wall", 1,
                (double)(bench_wall() - wall) / BENCH_CHILDREN);
}

static void
process_pipe(void)
{
    static const char *const argv[] = {"/bin/cat", NULL};
    const kolk_process_options options = {.argv = argv,
                                          .output = {KOLK_STDIO_PIPE, 0}};
    char *input = bench_calloc(1, BENCH_PIPE_SIZE);
    kolk_output output;

    memset(input, 'x', BENCH_PIPE_SIZE);
    int64_t cpu = bench_cpu(), wall = bench_wall();
    bench_ok("kolk_process_run",
             kolk_process_run(&options, input, BENCH_PIPE_SIZE, 0, &output));
    if (output.output_size != BENCH_PIPE_SIZE) {
        bench_die("cat", EIO);
    }
    double mebibytes = BENCH_PIPE_SIZE / 1048576.0;
    bench_print("process_pipe", 1, (double)(bench_cpu() - cpu) / mebibytes);
    bench_print("process_pipe_wall", 1,
                (double)(bench_wall() - wall) / mebibytes);
    kolk_output_fini(&output);
    free(input);
}

static int
process_main(void *arg)
{
    (void)arg;
    process_spawn();
    process_pipe();
    return 0;
}

int
main(void)
{
    bench_ok("kolk_run", kolk_run(process_main, NULL));
    return 0;
}
