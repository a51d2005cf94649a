import math

import pytest

from engine.contracts import Hypothesis
from service.confidence import choices, score

IDS = {"q2=1": 7, "q1=4": 8, "q1=5": 9, "q0=3": 10, "q0=-7": 11}


def hypothesis(tokens: list[int], runners_up: list[int]) -> Hypothesis:
    """Every token has probability 0.6 and its runner-up 0.4; the end token is certain."""
    count = len(tokens)
    return Hypothesis(
        tokens,
        [math.log(0.6)] * count + [0.0],
        [*runners_up, 0],
        [math.log(0.4)] * count + [-9.0],
    )


def test_two_quotient_digits_of_which_both_are_right_count_together() -> None:
    either = choices(IDS.get)
    assert either == {7, 8, 9}  # the last digit has no neighbour that could be right
    assert score(hypothesis([8, 10], [9, 11]), either) == pytest.approx(math.log(0.6))
    assert score(hypothesis([8, 10], [3, 11]), either) == pytest.approx(2 * math.log(0.6))


def test_without_choices_the_score_is_the_log_probability() -> None:
    made = hypothesis([8, 10, 3], [9, 11, 4])
    assert score(made, frozenset()) == pytest.approx(made.logprob)


def test_a_forced_token_of_unknown_probability_has_no_score() -> None:
    made = Hypothesis([8], [math.nan, 0.0], [9, 0], [-0.1, -9.0])
    assert math.isnan(score(made, choices(IDS.get)))
