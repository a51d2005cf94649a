"""Sockets that listen, bound before anything is loaded or started."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from service.settings import SettingsError


def bound_sockets(host: str, port: int, knob: str) -> list[socket.socket]:
    """Return a bound socket for each address of `host`; a `port` of 0 is one that is free.

    Raises `SettingsError` that says why there is none; `knob` is the variable that sets the port.
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
