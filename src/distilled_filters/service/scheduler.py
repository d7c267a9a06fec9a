"""Articles of all requests share the processors: a bounded queue, one article of each request in turn.

The engine reads one article a call, because padding costs more than a batch saves and
neighbours would change a score. So there are no micro-batches to form: what requests
share is the processors, and taking turns keeps a request of a hundred articles from
holding up a request of one.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar

from distilled_filters.parallel import in_thread

__all__ = ["QueueFullError", "Scheduler"]

In = TypeVar("In")
Out = TypeVar("Out")

# How much of the newest article goes into the running mean of seconds an article.
_NEWEST = 0.05


class QueueFullError(Exception):
    """No room for a request's articles; `retry_after` says in how many seconds there may be."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; come again in {retry_after} s")
        self.retry_after = retry_after


class _Job(Generic[In, Out]):
    """One request: the articles of it that wait, by their place, and the results so far."""

    def __init__(self, function: Callable[[In], Out], items: Sequence[In]) -> None:
        self.function = function
        self.waiting = deque(enumerate(items))
        self.results: dict[int, Out] = {}
        self.total = len(items)
        self.done: asyncio.Future[list[Out]] = asyncio.get_running_loop().create_future()

    def finish(self, place: int, result: Out) -> None:
        self.results[place] = result
        if len(self.results) == self.total and not self.done.done():
            self.done.set_result([self.results[each] for each in range(self.total)])

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Scheduler:
    """Runs functions over the items of many callers on `threads` worker threads, fairly.

    Lives in one event loop, inside `async with`; nothing but the functions runs elsewhere.

    Args:
        threads: Items in work at once.
        limit: Items that may wait; those in work do not count.
    """

    def __init__(self, threads: int, limit: int) -> None:
        """Set up; workers start with the context."""
        self.threads, self.limit = threads, limit
        self.waiting = 0
        """Items that wait for a thread."""
        self._turns: asyncio.Queue[_Job[object, object]] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._seconds = 0.0

    async def run(self, function: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
        """Return `function(item)` of every item, in order; cancelling drops what still waits.

        Raises:
            QueueFullError: when the items do not all fit in; none of them is begun.
        """
        if not items:
            return []
        if self.waiting + len(items) > self.limit:
            raise QueueFullError(self.retry_after)
        job: _Job[In, Out] = _Job(function, items)
        self.waiting += job.total
        self._turns.put_nowait(job)  # type: ignore[arg-type]
        try:
            return await job.done
        finally:
            self.waiting -= len(job.waiting)
            job.waiting.clear()

    @property
    def retry_after(self) -> int:
        """Seconds, 1 or more, in which what waits now will be done at the present rate."""
        return max(1, math.ceil(self.waiting * self._seconds / self.threads))

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._work()) for _ in range(self.threads)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            job = await self._turns.get()
            if not job.waiting:
                continue  # its caller has left
            place, item = job.waiting.popleft()
            self.waiting -= 1
            if job.waiting:
                self._turns.put_nowait(job)
            start = time.perf_counter()
            try:
                job.finish(place, await in_thread(job.function, item, threads=self.threads))
            except Exception as error:
                job.fail(error)
            seconds = time.perf_counter() - start
            self._seconds += (seconds - self._seconds) * (_NEWEST if self._seconds else 1.0)
