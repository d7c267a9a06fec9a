"""AC7: an ordered, lazy map whose look-ahead is bounded."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from distilled_filters.parallel import ordered_map

THREADS = pytest.mark.parametrize("threads", [1, 2, 5])


def counting(drawn: list[int]) -> Iterator[int]:
    for number in itertools.count():
        drawn.append(number)
        yield number


@THREADS
@pytest.mark.parametrize("size", [0, 1, 2, 9, 40])
def test_ac07_results_keep_the_order_of_the_items(threads: int, size: int) -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number % 5 == 0 else 0)
        return number * number

    assert list(ordered_map(slow_at_first, range(size), threads)) == [number * number for number in range(size)]


@THREADS
def test_ac07_at_most_two_items_a_thread_are_drawn_ahead(threads: int) -> None:
    drawn: list[int] = []
    results = ordered_map(lambda number: number, counting(drawn), threads)
    assert drawn == []
    for taken, result in enumerate(itertools.islice(results, 30), start=1):
        assert result == taken - 1
        assert len(drawn) <= taken + 2 * threads


def test_the_threads_work_at_once() -> None:
    """Three calls that wait for one another end only if three run together."""
    together = threading.Barrier(3, timeout=20)
    assert list(ordered_map(lambda _: together.wait() >= 0, range(6), 3)) == [True] * 6


def test_one_thread_is_the_caller_s_own() -> None:
    assert set(ordered_map(lambda _: threading.get_ident(), range(3), 1)) == {threading.get_ident()}


@THREADS
def test_a_failing_call_fails_in_its_place(threads: int) -> None:
    def reciprocal(number: int) -> float:
        return 1 / (3 - number)

    results = ordered_map(reciprocal, range(100), threads)
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


@THREADS
def test_what_was_drawn_before_the_source_failed_is_answered(threads: int) -> None:
    """With any number of threads: a corpus that breaks at row 4 has three results."""

    def source() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    results = ordered_map(lambda number: number, source(), threads)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


@THREADS
def test_a_closed_map_stops_its_threads(threads: int) -> None:
    before, drawn = threading.active_count(), list[int]()
    results = ordered_map(lambda number: number, counting(drawn), threads)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(drawn) <= 1 + 2 * threads
