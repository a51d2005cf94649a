"""Listening sockets: bound before anything is loaded, closed without losing connections."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence

from service.settings import SettingsError

_LOG = logging.getLogger(__name__)


def bound_sockets(host: str, port: int, knob: str) -> list[socket.socket]:
    """Return a bound socket for each address of `host`; a `port` of 0 means any free port.

    Raises `SettingsError` if there is none; `knob` is the variable that sets the port.
    """
    where = f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(f"cannot listen on {where}: {error.strerror}") from error
    sockets: list[socket.socket] = []
    refusal = "no address"
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bound(family, kind, protocol, address))
        except OSError as error:
            refusal = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                _close(sockets)
                raise SettingsError(
                    f"cannot listen on {where}: {refusal}; {knob} names another port"
                ) from error
    if not sockets:
        raise SettingsError(f"cannot listen on {where}: {refusal}")
    return sockets


def accepted_last(listener: socket.socket) -> list[socket.socket]:
    """Close the listener and return the connections of its backlog, without blocking.

    Closing alone would reset them. Now only one that arrives in between can be reset.
    """
    connections: list[socket.socket] = []
    with listener:
        listener.setblocking(False)
        listener.listen(0)  # the kernel accepts no more: a new client is refused when it retries
        while (connection := _accepted(listener)) is not None:
            connections.append(connection)
    return connections


def _accepted(listener: socket.socket) -> socket.socket | None:
    while True:
        try:
            connection, _ = listener.accept()
        except ConnectionAbortedError:  # its client disconnected while it waited
            continue
        except BlockingIOError:
            return None
        except OSError as error:  # such as no file handle free
            _LOG.warning("connections in the backlog are reset: %s", error.strerror)
            return None
        connection.setblocking(False)
        return connection


def _bound(
    family: socket.AddressFamily, kind: socket.SocketKind, protocol: int, address: object
) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)  # type: ignore[arg-type]  # as `getaddrinfo` gave it
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _close(sockets: Sequence[socket.socket]) -> None:
    for listener in sockets:
        listener.close()
