"""Messages between the supervisor and an HTTP process, over a socket that no other can reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Metric

from service.shards.share import Share

# -- to the process --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """Serve, with this share. The first message."""

    share: Share


@dataclass(frozen=True)
class Collect:
    """Report at once, with this number."""

    number: int


@dataclass(frozen=True)
class Exposition:
    """The metrics of the service, as the scrape of this number has asked."""

    number: int
    text: bytes


@dataclass(frozen=True)
class AllReady:
    """Tell whether every process of the service is ready."""

    ready: bool


@dataclass(frozen=True)
class Announce:
    """Be unready, but answer what is asked."""


@dataclass(frozen=True)
class ShutDown:
    """Drain; a second one ends the drain."""


@dataclass(frozen=True)
class NoMoreConnections:
    """No connection follows those that were handed over before."""


Order = Collect | Exposition | AllReady | Announce | ShutDown | NoMoreConnections

# -- to the supervisor -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """The state of a process; sent every second, when `ready` changes, and when asked."""

    ready: bool
    families: Sequence[Metric]
    number: int | None = None  # of the `Collect` that it answers


@dataclass(frozen=True)
class Connections:
    """The connections of the process; sent when they change, ten times a second at most."""

    held: int  # open now
    received: int  # since its start


@dataclass(frozen=True)
class Served:
    """The process's model and limits; sent before the first report, and once an engine is up."""

    info: Mapping[str, Any]  # the fields of `GET /info`


@dataclass(frozen=True)
class Scrape:
    """Send the metrics of the service with this number."""

    number: int


@dataclass(frozen=True)
class Drained:
    """Every accepted request is answered."""


@dataclass(frozen=True)
class Refused:
    """The process cannot serve with these settings; says why, in one line."""

    reason: str


News = Connections | Report | Served | Scrape | Drained | Refused
