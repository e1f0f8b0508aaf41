"""The files of Unix sockets: bound to, taken over, removed.

The file of a socket stays when its server dies, and nobody can bind to its
path any more. Whether anybody is behind it is asked of the kernel, by a
datagram socket that connects to it: a stream socket, listening or not yet,
refuses that as one of the wrong type, and notices nothing; no socket at all
refuses the connection. asyncio does not ask, and takes the paths of servers
that live.

Between that answer and the removal, another server may have done the same. So
the dead file is held open, which keeps its inode from being used again; what
stands at the path is moved aside; and it is removed only if it is the dead
one, else put back.
"""

import contextlib
import errno
import itertools
import os
import socket
import stat
from asyncio import unix_events
from asyncio.log import logger

_TRIES = 3  # to bind, while others take the path over too
_counter = itertools.count()


def bind(path):
    """A socket that is bound to `path`, which nobody else is."""
    # By asyncio's name for the module, for those who replace that.
    sock = unix_events.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(sock, path)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            message = f"Address {path!r} is already in use"
            raise OSError(errno.EADDRINUSE, message) from None
        raise
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock, path):
    for tries_left in reversed(range(_TRIES)):
        try:
            sock.bind(path)
            return
        except OSError as error:
            if (error.errno != errno.EADDRINUSE or tries_left == 0
                    or not _take_over(path)):
                raise


# ---- taking over ----

def _take_over(path):
    """Is `path` free now, or was it just before?"""
    if path[0] in (0, "\x00"):
        return False  # such a name goes with its socket
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return (stat.S_ISSOCK(os.stat(path).st_mode) and _is_dead(path)
                    and _remove_dead(path, os.fstat(fd)))
        finally:
            os.close(fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        logger.error("Unable to check or remove stale UNIX socket "
                     "%r: %r", path, error)
        return False


def _is_dead(path):
    """Is there certainly no socket behind the path?"""
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, kind) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _remove_dead(path, dead):
    """Removes what stands at `path` if it is the file `dead`."""
    suffix = f".{os.getpid()}-{next(_counter)}"
    aside = path + (suffix if isinstance(path, str) else suffix.encode())
    os.rename(path, aside)
    if os.path.samestat(os.lstat(aside), dead):
        os.unlink(aside)
        return True
    _put_back(aside, path)
    return False


def _put_back(aside, path):
    """It is not the one that is dead. If somebody else has the path by now, it
    has lost it; where there are no links, there is no way to know."""
    try:
        os.link(aside, path, follow_symlinks=False)
    except FileExistsError:
        pass
    except OSError:
        os.rename(aside, path)
        return
    os.unlink(aside)


# ---- removing ----

def unbind(sock):
    """Undoes bind()."""
    path = sock.getsockname()
    sock.close()
    if path[0] not in (0, "\x00"):
        with contextlib.suppress(OSError):  # it stays, if even that fails
            os.unlink(path)


def remove(path, inode):
    """Removes a Unix socket's file unless another has taken its place."""
    try:
        if os.stat(path).st_ino == inode:
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.error("Unable to clean up listening UNIX socket "
                     "%r: %r", path, error)
