"""Asks a CyberSolve service: `Client`, or `AsyncClient` for asyncio, which does the same."""

from cybersolve_client.answers import Answer, Generation, Info, Model, Problem
from cybersolve_client.asynchronous import AsyncClient, AsyncStream
from cybersolve_client.clock import Clock
from cybersolve_client.errors import (
    ConnectionFailed,
    ConnectionRefused,
    CyberSolveError,
    DeadlineExceeded,
    InvalidRequest,
    NotUnderstood,
    Overloaded,
    ServerError,
    Unauthorized,
    Unavailable,
)
from cybersolve_client.retries import Retries
from cybersolve_client.synchronous import Client, Stream

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "Client",
    "Clock",
    "ConnectionFailed",
    "ConnectionRefused",
    "CyberSolveError",
    "DeadlineExceeded",
    "Generation",
    "Info",
    "InvalidRequest",
    "Model",
    "NotUnderstood",
    "Overloaded",
    "Problem",
    "Retries",
    "ServerError",
    "Stream",
    "Unauthorized",
    "Unavailable",
]
