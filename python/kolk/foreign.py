"""Transports of sockets that only their own methods know how to use.

asyncio's read and write by whatever recv() and send() the object has, and ask
the loop only to watch a descriptor. Only repr() looks into a selector, which
this loop has none of.
"""

from asyncio import selector_events

_READABLE = 1
_WRITABLE = 2


class _Foreign:
    def __repr__(self):
        info = [self.__class__.__name__]
        if self._sock is None:
            info.append("closed")
        elif self._closing:
            info.append("closing")
        info.append(f"fd={self._sock_fd}")
        if self._loop is not None and not self._loop.is_closed():
            # Once it is closed, the number may be another's.
            watched = (self._loop._watched(self._sock_fd)
                       if self._sock is not None else 0)
            read, write = ("polling" if watched & events else "idle"
                           for events in (_READABLE, _WRITABLE))
            info.append(f"read={read}")
            size = self.get_write_buffer_size()
            info.append(f"write=<{write}, bufsize={size}>")
        return f"<{' '.join(info)}>"


class ForeignTransport(_Foreign, selector_events._SelectorSocketTransport):
    """A connection: an asyncio.Transport of asyncio's own."""


class ForeignDatagramTransport(_Foreign,
                               selector_events._SelectorDatagramTransport):
    """An endpoint: an asyncio.DatagramTransport of asyncio's own."""
