from hypothesis import given
from hypothesis import strategies as st

from service.batching.policy import BatchLimits, Size, joining

jobs = st.lists(st.builds(Size, st.integers(1, 50), st.sampled_from((1, 1, 1, 2, 4))), max_size=60)
limits = st.builds(BatchLimits, rows=st.integers(4, 20), tokens=st.integers(1, 400))


@given(jobs, limits)
def test_a_batch_keeps_its_limits(waiting: list[Size], limit: BatchLimits) -> None:
    """At most `rows` rows, at most `tokens` unless the oldest alone is over them."""
    count = joining(waiting, limit.rows, limit)
    assert sum(job.rows for job in waiting[:count]) <= limit.rows
    if count > 1:
        assert sum(job.tokens for job in waiting[:count]) <= limit.tokens


@given(jobs.filter(bool), limits)
def test_no_room_is_left_for_the_next(waiting: list[Size], limit: BatchLimits) -> None:
    count = joining(waiting, limit.rows, limit)
    more = waiting[: count + 1]
    full = count == len(waiting) or sum(job.rows for job in more) > limit.rows
    assert full or sum(job.tokens for job in more) > limit.tokens


@given(jobs, st.integers(0, 20), limits)
def test_no_more_join_than_there_are_free_rows(
    waiting: list[Size], free: int, limit: BatchLimits
) -> None:
    count = joining(waiting, free, limit)
    assert sum(job.rows for job in waiting[:count]) <= free


@given(jobs.filter(bool), limits, st.integers(0, 5))
def test_an_empty_engine_takes_the_oldest(
    waiting: list[Size], limit: BatchLimits, sharing: int
) -> None:
    """However many share the work, however long it is: or all would wait for ever."""
    assert joining(waiting, limit.rows, limit, sharing=sharing) > 0


@given(jobs, st.integers(1, 5))
def test_idle_engines_split_the_jobs_evenly(waiting: list[Size], sharing: int) -> None:
    everything = BatchLimits(rows=1000, tokens=100_000)
    most = -(-len(waiting) // sharing)
    assert joining(waiting, 1000, everything, sharing=sharing) == most


@given(jobs, st.integers(1, 20))
def test_jobs_that_all_fit_join_at_once(waiting: list[Size], rows: int) -> None:
    limit = BatchLimits(rows, 100_000)
    wanted = sum(job.rows for job in waiting)
    if wanted <= rows:
        assert joining(waiting, wanted, limit) == len(waiting)


def test_in_a_backlog_a_quarter_of_the_rows_is_filled_together() -> None:
    limit = BatchLimits(rows=16, tokens=1000)
    assert joining([Size(10)] * 9, 3, limit) == 0
    assert joining([Size(10)] * 9, 4, limit) == 4
    assert joining([Size(10)] * 3, 3, limit) == 3


def test_beams_join_once_they_have_all_their_rows() -> None:
    """A job of many rows is not overtaken by smaller ones that would fit."""
    limit = BatchLimits(rows=16, tokens=1000)
    waiting = [Size(10, rows=8), Size(10)]
    assert joining(waiting, 7, limit) == 0
    assert joining(waiting, 8, limit) == 1
    assert joining(waiting, 9, limit) == 2
