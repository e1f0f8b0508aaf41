/* open_connection.c - streams to somewhere else. See kolk/stream.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "await/stream.h"

#include <errno.h>

#include "base/sys.h"

/* Makes a stream of a socket that is connected, which is owned from here on,
 * with TLS if `tls` is not NULL. */
static int
open_connection_over(int fd, const kolk_tls_client *tls, const char *host,
                     kolk_stream **out)
{
    kolk_stream *stream;
    int err = kolk_stream_open(fd, NULL, &stream);

    if (err < 0) {
        (void)kolk__sys.close(fd); /* nothing was written to it */
        return err;
    }
    if (tls != NULL) {
        err = kolk__stream_start_client(stream, tls, host);
        if (err < 0) {
            kolk_stream_abort(stream);
            return err;
        }
    }
    *out = stream;
    return 0;
}

int
kolk_open_connection(const char *host, const char *service,
                     const kolk_connect_options *options,
                     const kolk_tls_client *tls, kolk_stream **out)
{
    int fd = kolk_connect_to(host, service, options);

    return fd < 0 ? fd : open_connection_over(fd, tls, host, out);
}

int
kolk_open_unix_connection(const char *path, size_t size,
                          const kolk_tls_client *tls, kolk_stream **out)
{
    int fd = kolk_connect_unix(path, size);

    return fd < 0 ? fd : open_connection_over(fd, tls, NULL, out);
}
