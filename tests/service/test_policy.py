from hypothesis import given
from hypothesis import strategies as st

from service.batching.policy import BatchLimits, choose, joining

lengths = st.lists(st.integers(1, 50), max_size=60)
limits = st.builds(BatchLimits, rows=st.integers(1, 20), padded_tokens=st.integers(1, 400))


@given(lengths, limits)
def test_a_batch_keeps_its_limits(waiting: list[int], limit: BatchLimits) -> None:
    """At most `rows` rows, at most `padded_tokens` unless the oldest alone is over them."""
    chosen = choose(waiting, limit)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= limit.rows
    if len(chosen) > 1:
        assert len(chosen) * max(waiting[i] for i in chosen) <= limit.padded_tokens


@given(lengths.filter(bool), limits)
def test_the_oldest_always_runs(waiting: list[int], limit: BatchLimits) -> None:
    """So none starves, whatever arrives after it."""
    assert choose(waiting, limit)[0] == 0


@given(lengths)
def test_all_that_fits_runs_at_once(waiting: list[int]) -> None:
    everything = BatchLimits(rows=100, padded_tokens=100_000)
    assert choose(waiting, everything) == list(range(len(waiting)))


def test_like_lengths_run_together_and_older_first() -> None:
    limit = BatchLimits(rows=3, padded_tokens=1000)
    assert choose([10, 40, 11, 10, 11, 9], limit) == [0, 2, 3]
    assert choose([40, 10, 11, 41, 12, 39], limit) == [0, 3, 5]


@given(lengths, st.integers(0, 20), limits)
def test_no_more_join_than_there_are_free_rows(
    waiting: list[int], free: int, limit: BatchLimits
) -> None:
    assert len(joining(waiting, free, limit)) <= free


@given(lengths.filter(bool), limits, st.integers(0, 5))
def test_an_empty_engine_takes_the_oldest(
    waiting: list[int], limit: BatchLimits, sharing: int
) -> None:
    """However many share the work: were it none, all would wait for ever."""
    assert joining(waiting, limit.rows, limit, sharing=sharing)[0] == 0


@given(lengths, st.integers(1, 5))
def test_idle_engines_leave_each_other_an_even_share(waiting: list[int], sharing: int) -> None:
    everything = BatchLimits(rows=100, padded_tokens=100_000)
    most = -(-len(waiting) // sharing)
    assert len(joining(waiting, 100, everything, sharing=sharing)) == most


@given(lengths, st.integers(1, 20))
def test_who_all_fit_join_at_once(waiting: list[int], rows: int) -> None:
    limit = BatchLimits(rows, 100_000)
    if len(waiting) <= rows:
        assert joining(waiting, len(waiting), limit) == list(range(len(waiting)))


def test_in_a_backlog_a_quarter_of_the_rows_is_filled_together() -> None:
    limit = BatchLimits(rows=16, padded_tokens=1000)
    assert joining([10] * 9, 3, limit) == []
    assert joining([10] * 9, 4, limit) == [0, 1, 2, 3]
    assert joining([10] * 3, 3, limit) == [0, 1, 2]
