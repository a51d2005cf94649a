"""What an engine's host does all day: prompts join, each step moves all of them on, some finish.

The same code runs in a thread and in a process; how orders come and reports go is theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import NamedTuple

from engine.contracts import Engine, Hypothesis, Prompt
from service.batching.policy import BatchLimits, joining
from service.contracts import Finished, Join, Joined, Order, Report

_LOG = logging.getLogger(__name__)
_TOGETHER_S = 0.002  # of answers that are reported together
_SILENCE_S = 0.1  # a busy engine reports at least so often, unless a single step takes longer


class _Row(NamedTuple):
    """A prompt under way."""

    joined_s: float
    encoded_s: float
    row_s_before: float  # `DecodeLoop._row_s` when it joined


class DecodeLoop:
    """Keeps `engine` busy until there are no more orders.

    `receive(wait)` gives the orders that have come, with `wait` at least one, and `None` once there
    will be none; `report` takes what somebody waits for at once, and the rest now and then.
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
        self._receive = receive
        self._tell = report
        self._clock = clock
        self._waiting: dict[int, Prompt] = {}
        self._under_way: dict[int, _Row] = {}
        # Engine time of a row that were there from the first step on: of each step, its time
        # divided by the rows in it. The engine time of any row is a difference of two values.
        self._row_s = 0.0
        self._streaming: set[int] = set()
        self._report = Report()
        self._reported_s = clock()

    def run(self) -> None:
        while True:
            orders = self._receive(not self._waiting and not self._under_way)
            if orders is None:
                return
            for order in orders:
                self._take(order)
            if self._waiting or self._under_way:
                self._round()
            now_s = self._clock()
            if self._owes_report(now_s - self._reported_s):
                report, self._report = self._report, Report()
                self._reported_s = now_s
                self._tell(report)

    def _owes_report(self, silence_s: float) -> bool:
        if self._report.urgent:
            # With a backlog here answers travel in company: to send and to hear them one by one
            # costs as much as to decode a row, and who waits behind them waits longer than this.
            return not self._waiting or silence_s > _TOGETHER_S
        # An engine that comes to rest reports before: nobody may think that it hangs.
        return not (self._under_way or self._waiting) or silence_s > _SILENCE_S

    def _take(self, order: Order) -> None:
        if isinstance(order, Join):
            self._waiting[order.key] = order.prompt
            if order.streaming:
                self._streaming.add(order.key)
        else:
            self._waiting.pop(order.key, None)
            self._streaming.discard(order.key)
            if (row := self._under_way.pop(order.key, None)) is not None:
                self._engine.leave([order.key])
                self._report.withdrawn_s.append(self._row_s - row.row_s_before)

    def _round(self) -> None:
        """Some join, and all make one step. Whatever the engine raises fails its rows alone."""
        started_s = self._clock()
        try:
            self._join(started_s)
            rows = len(self._under_way)
            finished = self._engine.step() if rows else {}
            now_s = self._clock()
            self._row_s += (now_s - started_s) / rows if rows else 0.0
            for key, hypothesis in finished.items():
                self._finish(key, hypothesis, now_s)
            for key in self._streaming & self._under_way.keys():
                self._report.written[key] = self._engine.written(key)
        except Exception:
            _LOG.exception("the engine failed on %d rows", len(self._under_way))
            self._report.failed += self._under_way
            self._streaming -= self._under_way.keys()
            self._under_way.clear()
            self._engine.clear()
            return
        self._report.steps.append((rows, now_s - started_s))

    def _join(self, now_s: float) -> None:
        lengths = [len(prompt.source) for prompt in self._waiting.values()]
        free = self._engine.rows - self._engine.active
        chosen = list(islice(self._waiting, joining(lengths, free, self._limits)))
        if not chosen:
            return
        prompts: dict[Hashable, Prompt] = {key: self._waiting.pop(key) for key in chosen}
        # First, so that they fail with the rest should the engine raise.
        self._under_way |= dict.fromkeys(chosen, _Row(now_s, now_s, self._row_s))
        self._report.joined.append(
            Joined(chosen, [len(prompt.source) for prompt in prompts.values()], now_s)
        )
        self._engine.join(prompts)
        self._under_way |= dict.fromkeys(chosen, _Row(now_s, self._clock(), self._row_s))

    def _finish(self, key: object, hypothesis: Hypothesis, now_s: float) -> None:
        assert isinstance(key, int), "a row that nobody gave"
        row = self._under_way.pop(key)
        self._streaming.discard(key)
        engine_s = self._row_s - row.row_s_before
        self._report.finished.append(
            Finished(key, hypothesis, row.joined_s, row.encoded_s, now_s, engine_s)
        )
