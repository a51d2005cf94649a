"""Types that the packages of the service share. Standard library only."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.contracts import Answer, Hypothesis, Progress, Prompt


@dataclass(frozen=True)
class Timings:
    """Seconds that a request waited in the queue, and from there to its last token."""

    queue_s: float
    inference_s: float
    encode_s: float = 0.0  # the part of inference until the source was encoded

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
    """The output for one job, with its timings."""

    answer: Answer
    timings: Timings

    @property
    def hypothesis(self) -> Hypothesis:
        """The best hypothesis of the answer."""
        return self.answer.best


class Submit(Protocol):
    """The type of `Batcher.submit`, for modules that do not import batching."""

    def __call__(
        self, prompt: Prompt, timeout_s: float, *, wait: bool = False
    ) -> Awaitable[Answered]: ...


@dataclass(eq=False)
class Job:
    """One prompt under way and its callers: one, or several with the same prompt."""

    key: int
    prompt: Prompt
    replies: list[asyncio.Future[Answered]]  # each settled exactly once
    enqueued_s: float  # on the batcher's clock
    on_progress: Callable[[Progress], None] | None = None  # called with tokens as they are decoded

    @property
    def length(self) -> int:
        return len(self.prompt.source)

    @property
    def rows(self) -> int:
        return self.prompt.rows

    @property
    def abandoned(self) -> bool:
        """Return whether no caller waits any more: all were answered, disconnected or timed out.

        This is final, because no caller joins an abandoned job.
        """
        return all(reply.done() for reply in self.replies)


# -- between a batcher and the host of an engine ---------------------------------------------------


@dataclass(frozen=True)
class Join:
    """Decode a prompt as soon as a row is free; `streaming`: report its tokens step by step."""

    key: int
    prompt: Prompt
    streaming: bool


@dataclass(frozen=True)
class Leave:
    """Discard a prompt, under way or not, because no caller waits for it."""

    key: int


Order = Join | Leave


@dataclass(frozen=True)
class Joined:
    """Prompts that joined together, and when.

    Times are of `time.monotonic`, which all processes of a machine share.
    """

    keys: list[int]
    lengths: list[int]
    at_s: float


@dataclass(frozen=True)
class Finished:
    key: int
    answer: Answer
    joined_s: float
    encoded_s: float
    finished_s: float
    engine_s: float  # its engine time: the time of each of its steps divided by the rows in it


@dataclass
class Report:
    """The work of an engine since its last report."""

    joined: list[Joined] = field(default_factory=list)
    steps: list[tuple[int, float]] = field(default_factory=list)  # (rows, seconds)
    written: list[tuple[int, Progress]] = field(default_factory=list)  # of streaming rows, by key
    finished: list[Finished] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)  # rows under way when the engine raised
    crowded: list[int] = field(default_factory=list)  # rows that its memory does not hold
    withdrawn_s: list[float] = field(default_factory=list)  # engine time of withdrawn rows

    @property
    def urgent(self) -> bool:
        """Return whether a caller waits for it."""
        return bool(self.finished or self.failed or self.crowded or self.written)


@dataclass(frozen=True)
class Started:
    """The properties of an engine, reported once it accepts prompts."""

    rows: int
    provider: str  # ONNX Runtime's name for it
    kernels: str = "none"  # level of the CPU kernels in use, or `none`


@dataclass(frozen=True)
class EngineExit:
    """The end of an engine, as far as its host knows it."""

    pid: int | None = None  # None for an engine without a process of its own
    status: int | None = None  # of the process; a negative one is the signal that killed it
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
    """Run one engine outside the event loop. Call the methods in the loop only."""

    @property
    def live_pid(self) -> int | None:
        """Return the pid of the engine's process; None if it has none of its own, or none now."""
        ...

    async def start(self, on_report: Callable[[Report], None]) -> Started:
        """Start the engine, or restart it after `ended`. Call `on_report` in the loop.

        Raises `EngineRefused` if no further attempt can help, and `EngineNotStarted` or an
        `OSError` otherwise.
        """
        ...

    def order(self, orders: Sequence[Order]) -> None:
        """Send orders; drop them if the engine has ended."""
        ...

    async def ended(self) -> EngineExit:
        """Return once the engine crashed, was killed or was closed, and reports no more."""
        ...

    def kill(self) -> None:
        """End the engine at once, even if it hangs."""
        ...

    async def close(self) -> None:
        """End the engine between two steps, or kill it if it does not respond."""
        ...


class Observer(Protocol):
    """Callbacks for the events of the batcher, which `service.metrics` counts."""

    def queued(self, depth: int) -> None: ...

    def refused(self, reason: str) -> None: ...

    def abandoned(self, reason: str) -> None: ...  # a client disconnected, a deadline passed

    def reused(self, how: str) -> None: ...  # an answer without computation: shared, cached

    def joined(self, waits_s: list[float], lengths: list[int]) -> None: ...

    def stepped(self, rows: int, busy_s: float) -> None: ...

    def finished(self, encode_s: float, decode_s: float, tokens: int) -> None: ...

    def engine_ended(self, reason: str) -> None: ...  # crashed, out_of_memory, hung
