"""What the rooms of the service say to each other. Standard library only."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.contracts import Hypothesis, Prompt


@dataclass(frozen=True)
class Timings:
    """Seconds that a request waited in the queue, and from leaving it to its last token."""

    queue_s: float
    inference_s: float
    encode_s: float = 0.0  # of the latter, until its source had been read

    def __add__(self, later: Timings) -> Timings:
        return Timings(
            self.queue_s + later.queue_s,
            self.inference_s + later.inference_s,
            self.encode_s + later.encode_s,
        )

    @property
    def total_s(self) -> float:
        return self.queue_s + self.inference_s


@dataclass(frozen=True)
class Answered:
    """What was written for one job, and when."""

    hypothesis: Hypothesis
    timings: Timings


class Submit(Protocol):
    """The batcher's `submit`, for those who know nothing of batching."""

    def __call__(
        self, prompt: Prompt, timeout_s: float, *, wait: bool = False
    ) -> Awaitable[Answered]: ...


@dataclass(eq=False)
class Job:
    """One prompt under way and its callers: one, or several that sent the same prompt."""

    key: int
    prompt: Prompt
    replies: list[asyncio.Future[Answered]]  # settled exactly once, each
    enqueued_s: float  # on the batcher's clock
    on_tokens: Callable[[list[int]], None] | None = None  # called with the tokens written so far

    @property
    def length(self) -> int:
        return len(self.prompt.source)

    @property
    def abandoned(self) -> bool:
        """Return whether no caller waits any more: all were answered, disconnected or timed out.

        It stays so: no caller joins an abandoned job.
        """
        return all(reply.done() for reply in self.replies)


# -- between a batcher and the host of an engine ---------------------------------------------------


@dataclass(frozen=True)
class Join:
    """Begin with a prompt as soon as a row is free; `streaming`: report its tokens step by step."""

    key: int
    prompt: Prompt
    streaming: bool


@dataclass(frozen=True)
class Leave:
    """Forget a prompt, under way or not; nobody waits for it."""

    key: int


Order = Join | Leave


@dataclass(frozen=True)
class Joined:
    """Prompts that joined together, and when. Times are of `time.monotonic`, which all processes
    of a machine share.
    """

    keys: list[int]
    lengths: list[int]
    at_s: float


@dataclass(frozen=True)
class Finished:
    key: int
    hypothesis: Hypothesis
    joined_s: float
    encoded_s: float
    finished_s: float
    engine_s: float  # its share of the engine's time: each step's time divided by the rows in it


@dataclass
class Report:
    """What an engine has done since its last report."""

    joined: list[Joined] = field(default_factory=list)
    steps: list[tuple[int, float]] = field(default_factory=list)  # (rows, seconds)
    written: dict[int, list[int]] = field(default_factory=dict)  # whole so far, of streaming rows
    finished: list[Finished] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)  # the engine raised while they were under way
    withdrawn_s: list[float] = field(default_factory=list)  # engine time of rows that left

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self.finished or self.failed or self.written)


@dataclass(frozen=True)
class Started:
    """What a host says of its engine once it takes prompts."""

    rows: int
    provider: str  # ONNX Runtime's name
    kernels: str = "none"  # the level of the CPU kernels that the engine runs, or none


@dataclass(frozen=True)
class EngineExit:
    """How an engine ended, as far as its host can tell."""

    pid: int | None = None  # None: it had no process of its own
    status: int | None = None  # of the process; negative: the signal that killed it
    out_of_memory: bool = False  # the kernel killed it to free memory

    def __str__(self) -> str:
        if self.pid is None or self.status is None:
            return "its thread ended"
        if self.status >= 0:
            return f"pid {self.pid} exited with status {self.status}"
        reason = ", out of memory" if self.out_of_memory else ""
        return f"pid {self.pid} was killed by {_signal_name(-self.status)}{reason}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have numbers only
        return f"signal {number}"


class Host(Protocol):
    """Runs one engine apart from the event loop. Methods belong to the loop."""

    @property
    def live_pid(self) -> int | None:
        """The engine's process; None where it has none of its own, or none now."""
        ...

    async def start(self, told: Callable[[Report], None]) -> Started:
        """Start the engine, or start it again after `ended`; `told` is called in the loop.

        Raises `EngineRefused` where no further attempt can help, and `EngineNotStarted` or an
        `OSError` otherwise.
        """
        ...

    def order(self, orders: Sequence[Order]) -> None:
        """Send orders; they are dropped where the engine has ended."""
        ...

    async def ended(self) -> EngineExit:
        """Return once the engine reports no more: it crashed, was killed or was closed."""
        ...

    def kill(self) -> None:
        """End the engine at once, even if it hangs."""
        ...

    async def close(self) -> None:
        """End the engine between two steps, or kill it if it does not come to that."""
        ...


class Observer(Protocol):
    """Receives what the batcher does; `service.metrics` counts it."""

    def queued(self, depth: int) -> None: ...

    def refused(self, reason: str) -> None: ...

    def abandoned(self, reason: str) -> None: ...  # a caller disconnected, a deadline passed

    def reused(self, how: str) -> None: ...  # an answer that was not computed: shared, cached

    def joined(self, waits_s: list[float], lengths: list[int]) -> None: ...

    def stepped(self, rows: int, busy_s: float) -> None: ...

    def finished(self, encode_s: float, decode_s: float, tokens: int) -> None: ...

    def engine_ended(self, reason: str) -> None: ...  # crashed, out_of_memory, hung
