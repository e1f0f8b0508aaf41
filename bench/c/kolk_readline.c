/* kolk_readline.c - how long does a line of a stream take?
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench_kolk.h"
#include "bench_lines.h"

static int
lines_main(void *arg)
{
    long size = *(long *)arg, lines = 0;
    kolk_stream *stream;
    const char *line;
    int result;

    bench_ok("kolk_stream_open",
             kolk_stream_open(bench_lines((size_t)size), NULL, &stream));
    int64_t start = bench_cpu();
    while ((result = kolk_stream_readline(stream, &line)) > 0) {
        lines++;
    }
    bench_ok("kolk_stream_readline", result);
    bench_lines_done(size, lines, bench_cpu() - start);
    return kolk_stream_close(stream);
}

int
main(int argc, char **argv)
{
    long size = bench_size(argc, argv, 1, 64);

    return bench_ok("kolk_run", kolk_run(lines_main, &size));
}
