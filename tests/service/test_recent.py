from equations.limits import MAX_CHARACTERS
from service.recent import RecentQuestions


def test_the_one_asked_longest_ago_goes_first() -> None:
    recent = RecentQuestions(2)
    for question in ("x = 1", "x = 2", "x = 1", "x = 3"):
        recent.add(question)
    assert "x = 1" in recent
    assert "x = 2" not in recent
    assert "x = 3" in recent


def test_what_is_too_long_to_be_understood_is_not_kept() -> None:
    recent = RecentQuestions(2)
    recent.add("1" * (MAX_CHARACTERS + 1))
    assert "1" * (MAX_CHARACTERS + 1) not in recent
