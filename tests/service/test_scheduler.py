from __future__ import annotations

import asyncio
import threading
import time

import pytest

from distilled_filters.service.scheduler import QueueFullError, Scheduler


def test_results_keep_the_order_of_the_items() -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    async def main() -> list[int]:
        async with Scheduler(threads=3, limit=100) as scheduler:
            return await scheduler.run(work, range(20))

    assert asyncio.run(main()) == [item * item for item in range(20)]


def test_a_big_request_does_not_starve_a_small_one() -> None:
    begun: list[str] = []

    def work(item: str) -> str:
        begun.append(item)
        time.sleep(0.005)
        return item

    async def main() -> None:
        async with Scheduler(threads=1, limit=200) as scheduler:
            big = asyncio.create_task(scheduler.run(work, ["big"] * 60))
            await asyncio.sleep(0.02)
            before = len(begun)
            await scheduler.run(work, ["small"] * 3)
            between = begun[before : begun.index("small")] + begun[begun.index("small") :]
            assert between.count("big") <= 6, "articles of the two requests take turns"
            await big

    asyncio.run(main())
    assert begun.count("big") == 60


def test_what_does_not_fit_is_refused_whole_and_says_when_to_come_again() -> None:
    release = threading.Event()

    async def main() -> None:
        async with Scheduler(threads=1, limit=3) as scheduler:
            first = asyncio.create_task(scheduler.run(lambda _: release.wait(10), range(4 - 1)))
            await asyncio.sleep(0.05)
            assert scheduler.waiting == 2, "one is in work"
            with pytest.raises(QueueFullError) as refusal:
                await scheduler.run(lambda item: item, range(2))
            assert refusal.value.retry_after >= 1
            assert scheduler.waiting == 2
            release.set()
            await first
            assert scheduler.waiting == 0

    asyncio.run(main())


def test_a_caller_who_leaves_takes_its_waiting_items_along() -> None:
    begun: list[int] = []
    release = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        release.wait(10)
        return item

    async def main() -> None:
        async with Scheduler(threads=1, limit=10) as scheduler:
            leaving = asyncio.create_task(scheduler.run(work, range(10)))
            await asyncio.sleep(0.05)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            assert scheduler.waiting == 0
            release.set()
            assert await scheduler.run(lambda item: item, [77]) == [77]

    asyncio.run(main())
    assert begun == [0]


def test_a_failing_item_fails_its_request_alone() -> None:
    async def main() -> None:
        async with Scheduler(threads=2, limit=50) as scheduler:
            good = asyncio.create_task(scheduler.run(lambda item: item, range(20)))
            with pytest.raises(ZeroDivisionError):
                await scheduler.run(lambda item: 1 // item, [1, 0, 1])
            assert await good == list(range(20))
            assert scheduler.waiting == 0
            assert await scheduler.run(lambda item: item, []) == []

    asyncio.run(main())


def test_the_event_loop_goes_on_while_threads_work() -> None:
    async def main() -> int:
        ticks = 0
        async with Scheduler(threads=1, limit=10) as scheduler:
            work = asyncio.create_task(scheduler.run(lambda _: time.sleep(0.1), range(2)))
            while not work.done():
                await asyncio.sleep(0.005)
                ticks += 1
        return ticks

    assert asyncio.run(main()) >= 10
