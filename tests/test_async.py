"""`ascore`: scores beside an event loop, the same as without one (AC10-AC12)."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from distilled_filters.errors import CheckpointError, RecordError
from distilled_filters.filter import Filter
from distilled_filters.panel import Panel
from distilled_filters.parallel import in_thread
from tests.conftest import SNIPPET, House, flip_byte, mixed_articles, run_python


def test_ascore_is_score(uplifting: Filter, panel: Panel) -> None:
    async def main() -> None:
        for article in (SNIPPET, {"id": "1", "title": "T", "content": SNIPPET}, None, "short"):
            assert await uplifting.ascore(article) == uplifting.score(article)
            assert await panel.ascore(article) == panel.score(article)
        for ascore in (uplifting.ascore, panel.ascore):
            with pytest.raises(RecordError):
                await ascore("short", strict=True)

    asyncio.run(main())


def test_ascore_raises_what_score_raises(house: House) -> None:
    folder = house.add("uplifting")
    flip_byte(folder / "head.safetensors")
    with pytest.raises(CheckpointError):
        asyncio.run(Filter(folder).ascore(SNIPPET))


def test_ac10_many_at_once_in_two_loops_give_the_serial_scores(uplifting: Filter) -> None:
    articles = mixed_articles(40, longest=60, seed=3)
    serial = [uplifting.score(each) for each in articles]
    found: list[bool] = []

    async def main(order: int) -> None:
        scores = await asyncio.gather(*(uplifting.ascore(each) for each in articles[::order]))
        found.append(scores == serial[::order])

    loops = [threading.Thread(target=asyncio.run, args=(main(order),)) for order in (1, -1)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    assert found == [True, True]


def test_ac12_no_more_at_once_than_threads_and_the_loop_goes_on() -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1

    async def main() -> int:
        ticks, calls = 0, asyncio.gather(*(in_thread(work, number, threads=3) for number in range(18)))
        while not calls.done():
            ticks += 1
            await asyncio.sleep(0.005)
        return ticks

    assert asyncio.run(main()) >= 10
    assert most == 3


def test_cancelling_drops_what_has_not_begun() -> None:
    begun: list[int] = []
    release = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        release.wait(10)
        return number

    async def main() -> None:
        calls = [asyncio.create_task(in_thread(work, number, threads=1)) for number in range(5)]
        while not begun:
            await asyncio.sleep(0.005)
        for call in calls:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in outcomes)
        release.set()
        assert await in_thread(lambda number: number, 7, threads=1) == 7, "the thread is free again"

    asyncio.run(main())
    assert begun == [0]


FORK = f"""
import asyncio, os
from distilled_filters import uplifting
async def scored():
    return (await uplifting.ascore({SNIPPET!r})).weighted_average
before = asyncio.run(scored())
child = os.fork()
if not child:
    os._exit(0 if asyncio.run(scored()) == before else 1)
assert asyncio.run(scored()) == before
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_ac11_a_forked_child_has_threads_of_its_own() -> None:
    assert run_python(FORK).strip() == "0"
