import pytest

from equations.parser import parse
from equations.verify import Verdict, verify


@pytest.mark.parametrize(
    ("question", "answer", "verdict", "reason"),
    [
        ("24 = 1601*c - 1605*c", "-6", Verdict.CORRECT, None),
        ("24 = 1601*c - 1605*c", "6", Verdict.WRONG, None),
        ("2x = 1", "1/2", Verdict.CORRECT, None),
        ("2x = 1", "0.5", Verdict.CORRECT, None),
        ("2x = 1", "+2/4", Verdict.CORRECT, None),
        ("2x = 1", "", Verdict.WRONG, "the answer is not a number"),
        ("2x = 1", "1/0", Verdict.WRONG, "the answer is not a number"),
        ("2x = 1", "9**9**9", Verdict.WRONG, "the answer is not a number"),
        ("2x = 1", "9" * 10_000, Verdict.WRONG, "the answer is not a number"),
        ("x = x", "1", Verdict.UNVERIFIABLE, "infinitely many solutions"),
        ("x = x + 1", "1", Verdict.UNVERIFIABLE, "no solution"),
    ],
)
def test_verdicts(question: str, answer: str, verdict: Verdict, reason: str | None) -> None:
    verification = verify(parse(question), answer)
    assert (verification.verdict, verification.reason) == (verdict, reason)
