"""Generate requests: single questions of every length, batches, and mistakes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

SOLVE, BATCH = "/solve", "/solve/batch"
OK, NOT_UNDERSTOOD = 200, 422
# Shares of requests. Most have one question; some questions cannot be parsed.
_BATCHES, _MISTAKES = 0.05, 0.05
_LARGEST_BATCH = 16
_MISTYPED = ("3x + = 20", "what is x?", "x^2 = 4", "x > 3", "7")


@dataclass(frozen=True)
class Ask:
    """One request and the status that a working service answers."""

    path: str
    body: dict[str, Any]
    expected: int

    @property
    def questions(self) -> int:
        return len(self.body["questions"]) if self.path == BATCH else 1


def asks(seed: int) -> Iterator[Ask]:
    """Yield endless requests, the same for the same seed."""
    random = Random(seed)
    while True:
        kind = random.random()
        if kind < _BATCHES:
            questions = [question(random) for _ in range(random.randint(2, _LARGEST_BATCH))]
            yield Ask(BATCH, {"questions": questions}, OK)
        elif kind < _BATCHES + _MISTAKES:
            yield Ask(SOLVE, {"question": random.choice(_MISTYPED)}, NOT_UNDERSTOOD)
        else:
            yield Ask(SOLVE, {"question": question(random)}, OK)


def question(random: Random) -> str:
    """Return a linear equation with an integer solution, short or as long as in the dataset."""
    name, solution = random.choice("abcdhjknqrstuvwxyz"), random.randint(-60, 60)
    size = 10 ** random.randint(1, 4)
    left, right = random.sample(range(-size, size), 2)
    constant = random.randint(-size, size)
    total = (left - right) * solution + constant
    if random.random() < 0.2:
        return f"{left - right}{name} + {constant} = {total}".replace("+ -", "- ")
    split = random.randint(-size, size)
    sides = [
        f"{left}*{name} + {constant - split} + {split}",
        f"{right}*{name} + {total}",
    ]
    random.shuffle(sides)
    return f"Solve {' = '.join(sides)} for {name}.".replace("+ -", "- ")
