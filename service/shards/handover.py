"""Hand connections from the process that accepts them to those that serve them (unix(7))."""

from __future__ import annotations

import socket
from collections.abc import Iterator

_MARK = b"c"  # a message with a file descriptor must not be empty


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a socket that carries one connection in each message.

    Neither end blocks, nor does a process that inherits one. (`socket.send_fds` and `recv_fds`
    ignore their flags, at least up to Python 3.13.0, so `MSG_DONTWAIT` would not do.)
    """
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def hand_over(way: socket.socket, connection: socket.socket) -> bool:
    """Send `connection` without waiting; return whether it is on its way.

    The caller still closes its own copy.
    """
    try:
        socket.send_fds(way, [_MARK], [connection.fileno()])
    except OSError:  # the way is full, or the process at its end is gone
        return False
    return True


def handed_over(way: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that have arrived, without waiting."""
    while True:
        try:
            mark, handles, _, _ = socket.recv_fds(way, len(_MARK), 1)
        except (BlockingIOError, ConnectionResetError):
            return
        if not mark:
            return  # the other end is closed
        for handle in handles:
            connection = socket.socket(fileno=handle)
            connection.setblocking(False)
            yield connection
