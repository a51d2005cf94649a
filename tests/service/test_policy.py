from hypothesis import given
from hypothesis import strategies as st

from service.batching.policy import BatchLimits, joining

lengths = st.lists(st.integers(1, 50), max_size=60)
limits = st.builds(BatchLimits, rows=st.integers(1, 20), tokens=st.integers(1, 400))


@given(lengths, limits)
def test_a_batch_keeps_its_limits(waiting: list[int], limit: BatchLimits) -> None:
    """At most `rows` rows, at most `tokens` unless the oldest alone is over them."""
    count = joining(waiting, limit.rows, limit)
    assert count <= limit.rows
    if count > 1:
        assert sum(waiting[:count]) <= limit.tokens


@given(lengths.filter(bool), limits)
def test_no_room_is_left_for_the_next(waiting: list[int], limit: BatchLimits) -> None:
    count = joining(waiting, limit.rows, limit)
    full = count in (limit.rows, len(waiting))
    assert full or sum(waiting[: count + 1]) > limit.tokens


@given(lengths, st.integers(0, 20), limits)
def test_no_more_join_than_there_are_free_rows(
    waiting: list[int], free: int, limit: BatchLimits
) -> None:
    assert joining(waiting, free, limit) <= free


@given(lengths.filter(bool), limits, st.integers(0, 5))
def test_an_empty_engine_takes_the_oldest(
    waiting: list[int], limit: BatchLimits, sharing: int
) -> None:
    """However many share the work, however long it is: or all would wait for ever."""
    assert joining(waiting, limit.rows, limit, sharing=sharing) > 0


@given(lengths, st.integers(1, 5))
def test_idle_engines_split_the_jobs_evenly(waiting: list[int], sharing: int) -> None:
    everything = BatchLimits(rows=100, tokens=100_000)
    most = -(-len(waiting) // sharing)
    assert joining(waiting, 100, everything, sharing=sharing) == most


@given(lengths, st.integers(1, 20))
def test_jobs_that_all_fit_join_at_once(waiting: list[int], rows: int) -> None:
    limit = BatchLimits(rows, 100_000)
    if len(waiting) <= rows:
        assert joining(waiting, len(waiting), limit) == len(waiting)


def test_in_a_backlog_a_quarter_of_the_rows_is_filled_together() -> None:
    limit = BatchLimits(rows=16, tokens=1000)
    assert joining([10] * 9, 3, limit) == 0
    assert joining([10] * 9, 4, limit) == 4
    assert joining([10] * 3, 3, limit) == 3
