"""Listeners that close without a loss."""

from __future__ import annotations

import socket

import pytest

from service.listening import accepted_last, bound_sockets


def test_a_listener_that_closes_accepts_its_backlog() -> None:
    (listener,) = bound_sockets("127.0.0.1", 0, "PORT")
    listener.listen(16)
    address = listener.getsockname()
    clients = [socket.create_connection(address) for _ in range(10)]
    connections = accepted_last(listener)
    peers = [connection.getpeername() for connection in connections]
    assert peers == [client.getsockname() for client in clients]
    assert listener.fileno() == -1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for each in (*clients, *connections):
        each.close()


def test_an_empty_backlog_is_not_waited_for() -> None:
    (listener,) = bound_sockets("127.0.0.1", 0, "PORT")
    listener.listen(16)
    assert accepted_last(listener) == []
