"""The open groups while a sum is read: one for each bracket, and one for the whole side."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from equations.reading.arithmetic import Operand
from equations.reading.tokens import Token


class Role(Enum):
    SIDE = auto()
    BRACKET = auto()
    NUMERATOR = auto()
    DENOMINATOR = auto()
    ROOT = auto()


@dataclass(slots=True)
class Group:
    """One open bracket, or a whole side: finished terms and the product being read."""

    role: Role
    opened: Token | None = None
    numerator: Operand | None = None
    terms: list[Operand] = field(default_factory=list)
    product: Operand | None = None
    negative: bool = False  # the operand to come is subtracted or negated
    divides: bool = False  # the operand to come is a divisor
    divided: bool = False  # the operand just read was one
    explicit: bool = False  # there is a sign between the product and the operand to come

    def close_term(self) -> None:
        if self.product is not None:
            self.terms.append(self.product)
        self.product = None
        self.divided = False
