"""Call a CyberSolve service with `Client`, or with `AsyncClient`, which has the same methods."""

from cybersolve_client.answers import Answer, Generation, Info, Model, Piece, Problem, Text, Token
from cybersolve_client.asynchronous import AsyncClient, AsyncStream
from cybersolve_client.clock import Clock
from cybersolve_client.errors import (
    CannotConnect,
    ConnectionFailed,
    ConnectionRefused,
    CyberSolveError,
    DeadlineExceeded,
    HostNotFound,
    InvalidRequest,
    NotUnderstood,
    Overloaded,
    ServerError,
    TLSFailed,
    TooLongForModel,
    Unauthorized,
    Unavailable,
)
from cybersolve_client.retries import Retries
from cybersolve_client.settings import Settings
from cybersolve_client.synchronous import Client, Stream

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "CannotConnect",
    "Client",
    "Clock",
    "ConnectionFailed",
    "ConnectionRefused",
    "CyberSolveError",
    "DeadlineExceeded",
    "Generation",
    "HostNotFound",
    "Info",
    "InvalidRequest",
    "Model",
    "NotUnderstood",
    "Overloaded",
    "Piece",
    "Problem",
    "Retries",
    "ServerError",
    "Settings",
    "Stream",
    "TLSFailed",
    "Text",
    "Token",
    "TooLongForModel",
    "Unauthorized",
    "Unavailable",
]
