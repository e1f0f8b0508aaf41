/* stream_write.c - writing to a stream, and waiting until it has been sent.
 * See kolk/stream.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Writing is the transport's. What tasks add is to wait: for the buffer to
 * become shorter, and for a file to have left.
 */
#include "await/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/sys.h"

int
kolk__stream_write_error(const kolk_stream *stream, int err)
{
    int error = kolk__stream_error(stream);

    if (err != -ESHUTDOWN) {
        return err;
    }
    return error < 0 ? error : -EPIPE; /* closed by this side */
}

int
kolk_stream_write(kolk_stream *stream, const void *data, size_t size)
{
    int err = kolk_transport_write(stream->transport, data, size);

    return KOLK_LIKELY(err == 0) ? 0 : kolk__stream_write_error(stream, err);
}

int
kolk_stream_writev(kolk_stream *stream, const struct iovec *pieces, int count)
{
    int err = kolk_transport_writev(stream->transport, pieces, count);

    return KOLK_LIKELY(err == 0) ? 0 : kolk__stream_write_error(stream, err);
}

/* Text that is longer than what is tried first. */
__attribute__((format(printf, 3, 0))) static int
write_long_text(kolk_stream *stream, size_t size, const char *format,
                va_list arguments)
{
    char *text = kolk__sys.malloc(size + 1);

    if (text == NULL) {
        return -ENOMEM;
    }
    (void)vsnprintf(text, size + 1, format, arguments);
    int err = kolk_stream_write(stream, text, size);
    kolk__sys.free(text);
    return err;
}

int
kolk_stream_print(kolk_stream *stream, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0) {
        return -errno; /* of the format: EILSEQ, EOVERFLOW */
    }
    if ((size_t)size < sizeof text) {
        return kolk_stream_write(stream, text, (size_t)size);
    }
    va_start(arguments, format);
    int err = write_long_text(stream, (size_t)size, format, arguments);
    va_end(arguments);
    return err;
}

int
kolk_stream_write_eof(kolk_stream *stream)
{
    int err = kolk_transport_write_eof(stream->transport);

    return KOLK_LIKELY(err == 0) ? 0 : kolk__stream_write_error(stream, err);
}

/* ---- waiting ---- */

int
kolk_stream_drain(kolk_stream *stream)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_stream_drain() outside a "
                                            "task");

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (KOLK_LIKELY(!stream->is_full)) {
        kolk__be_fair(coro);
        return kolk__stream_error(stream);
    }
    if (KOLK_UNLIKELY(coro->is_cancelled)) {
        return kolk__wait_refused(coro);
    }
    kolk__waiters_push(&stream->drainers, coro);
    return kolk__park(coro, "stream drain", kolk__interrupt_wait, NULL);
}

/* ---- files ---- */

struct write_file {
    kolk_sendfile sendfile;
    kolk__coro *coro;
};

static void
write_file_ended(kolk_sendfile *sendfile)
{
    struct write_file *file =
        KOLK_CONTAINER_OF(sendfile, struct write_file, sendfile);

    if (file->coro->is_parked) {
        kolk__wake(file->coro, sendfile->result);
    }
}

/* The file is the kernel's until the piece that is on its way has left. */
static void
write_file_interrupt(kolk__coro *coro)
{
    struct write_file *file = coro->object;

    kolk_sendfile_cancel(&file->sendfile);
}

int
kolk_stream_sendfile(kolk_stream *stream, int fd, int64_t offset,
                     uint64_t count, uint64_t *sent)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_stream_sendfile() outside a "
                                            "task");
    struct write_file file = {.coro = coro};

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (sent != NULL) {
        *sent = 0;
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    kolk_sendfile_init(&file.sendfile, write_file_ended, NULL,
                       write_file_ended);
    int err = kolk_transport_sendfile(stream->transport, &file.sendfile, fd,
                                      offset, count);
    if (err < 0) {
        return kolk__stream_write_error(stream, err);
    }
    int result = kolk__park(coro, "sendfile", write_file_interrupt, &file);
    if (sent != NULL) {
        *sent = file.sendfile.sent;
    }
    return result;
}
