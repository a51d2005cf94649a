"""The decode loop: prompts join the engine, each step decodes a token of every row, rows finish.

The same loop runs in a thread and in a process; each host passes orders and reports in its own way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from engine.contracts import Answer, Engine, OutOfMemory, Prompt
from service.batching.policy import BatchLimits, Size, joining, steps_between_messages
from service.contracts import Finished, Join, Joined, Order, Report
from service.hosting.room import Room

_LOG = logging.getLogger(__name__)
# The longest that an answer waits to be reported with others, and an order to be read with others.
_TOGETHER_S = 0.002
_SILENCE_S = 0.1  # a busy engine reports at least this often, unless one step takes longer


class _Row(NamedTuple):
    """A prompt under way."""

    joined_s: float
    encoded_s: float
    row_s_before: float  # `DecodeLoop._row_s` when it joined


class DecodeLoop:
    """Run `engine` until `receive` returns `None`.

    `receive(wait)` returns the orders that have arrived, with `wait` at least one, and `None` once
    there will be no more. It is called every few steps (`policy.steps_between_messages`), of a slow
    model and for a caller that reads along every step. `report` is called then too: at once for
    results that callers wait for, and for the rest at intervals.
    """

    def __init__(
        self,
        engine: Engine,
        limits: BatchLimits,
        *,
        receive: Callable[[bool], Sequence[Order] | None],
        report: Callable[[Report], None],
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._room = Room(engine.rows)
        self._receive = receive
        self._tell = report
        self._clock = clock
        self._waiting: dict[int, Prompt] = {}
        self._under_way: dict[int, _Row] = {}
        # The engine time of a hypothetical row that was in every step: the sum of each step's time
        # divided by its rows. The engine time of a real row is the difference of two values.
        self._row_s = 0.0
        self._streaming: dict[int, int] = {}  # the tokens that were reported, by key
        self._report = Report()
        self._reported_s = clock()

    def run(self) -> None:
        while True:
            orders = self._receive(not self._waiting and not self._under_way)
            if orders is None:
                return
            for order in orders:
                self._take(order)
            now_s = self._steps()
            if self._report_due(now_s - self._reported_s):
                report, self._report = self._report, Report()
                self._reported_s = now_s
                self._tell(report)

    def _steps(self) -> float:
        """Make steps until messages are to be exchanged; return the time then."""
        began_s = now_s = self._clock()
        for _ in range(steps_between_messages(self._engine.active)):
            if not (self._waiting or self._under_way):
                break
            self._step()
            now_s = self._clock()
            if self._streaming or now_s - began_s >= _TOGETHER_S:
                break
        return now_s

    def _report_due(self, silence_s: float) -> bool:
        if self._report.urgent:
            # With a backlog, answers are sent in groups. To send and receive them one by one costs
            # as much as to decode a row, and waiting prompts wait longer than this anyway.
            return not self._waiting or silence_s > _TOGETHER_S
        # An engine reports before it becomes idle, or its supervisor would consider it hung.
        return not (self._under_way or self._waiting) or silence_s > _SILENCE_S

    def _take(self, order: Order) -> None:
        if isinstance(order, Join):
            self._waiting[order.key] = order.prompt
            if order.streaming:
                self._streaming[order.key] = 0
        else:
            self._waiting.pop(order.key, None)
            self._streaming.pop(order.key, None)
            if (row := self._under_way.pop(order.key, None)) is not None:
                self._engine.leave([order.key])
                self._report.withdrawn_s.append(self._row_s - row.row_s_before)

    def _step(self) -> None:
        """Let prompts join and run one step. An exception of the engine fails only its rows.

        After `OutOfMemory` fewer rows join.
        """
        started_s = self._clock()
        try:
            self._join(started_s)
            rows = self._engine.active
            finished = self._engine.step() if rows else {}
            now_s = self._clock()
            self._row_s += (now_s - started_s) / rows if rows else 0.0
            for key, answer in finished.items():
                self._finish(key, answer, now_s)
            self._read_along()
        except OutOfMemory as error:
            self._report.crowded += self._lose_all()
            self._room.exceeded()
            _LOG.warning("out of memory (%s); %d rows at once from now on", error, self._room.rows)
            return
        except Exception:
            _LOG.exception("the engine failed on %d rows", len(self._under_way))
            self._report.failed += self._lose_all()
            return
        self._room.sufficed(rows)
        self._report.steps.append((rows, now_s - started_s))

    def _read_along(self) -> None:
        """Report what streaming rows have decoded since the last step."""
        for key in self._streaming.keys() & self._under_way.keys():
            progress = self._engine.written(key, self._streaming[key])
            if progress.tokens:
                self._report.written.append((key, progress))
                self._streaming[key] += len(progress.tokens)

    def _lose_all(self) -> list[int]:
        """Give up all rows; return the keys of their prompts."""
        lost = list(self._under_way)
        for key in lost:
            self._streaming.pop(key, None)
        self._under_way.clear()
        self._engine.clear()
        return lost

    def _join(self, now_s: float) -> None:
        if not self._waiting:
            return
        sizes = [Size(len(prompt.source), prompt.rows) for prompt in self._waiting.values()]
        active = self._engine.active
        # The oldest prompt may have all rows that it needs; it joins once they are free.
        rows = max(self._room.rows, sizes[0].rows)
        limits = replace(self._limits, rows=min(rows, self._limits.rows))
        chosen = list(islice(self._waiting, joining(sizes, rows - active, limits)))
        if not chosen:
            return
        prompts: dict[Hashable, Prompt] = {key: self._waiting.pop(key) for key in chosen}
        # Added first, so that they fail with the other rows if the engine raises.
        self._under_way |= dict.fromkeys(chosen, _Row(now_s, now_s, self._row_s))
        self._report.joined.append(
            Joined(chosen, [len(prompt.source) for prompt in prompts.values()], now_s)
        )
        self._engine.join(prompts)
        self._under_way |= dict.fromkeys(chosen, _Row(now_s, self._clock(), self._row_s))

    def _finish(self, key: object, answer: Answer, now_s: float) -> None:
        assert isinstance(key, int), "a row without a prompt: this is a bug"
        row = self._under_way.pop(key)
        self._streaming.pop(key, None)
        engine_s = self._row_s - row.row_s_before
        self._report.finished.append(
            Finished(key, answer, row.joined_s, row.encoded_s, now_s, engine_s)
        )
