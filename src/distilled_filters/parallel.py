"""Articles over threads: an ordered, lazy map with bounded look-ahead, and one call beside an event loop."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_thread", "ordered_map"]

In = TypeVar("In")
Out = TypeVar("Out")


def ordered_map(function: Callable[[In], Out], items: Iterable[In], threads: int) -> Iterator[Out]:
    """Yield `function(item)` in the order of `items`, drawing at most two items a thread ahead (AC7)."""
    if threads == 1:
        yield from map(function, items)
        return
    pending: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="distilled-filters") as pool:
        try:
            failure = None
            source = iter(items)
            while True:
                try:
                    item = next(source)
                except StopIteration:
                    break
                except Exception as error:
                    # As with one thread, what was read before is answered first.
                    failure = error
                    break
                pending.append(pool.submit(function, item))
                if len(pending) >= 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
            if failure is not None:
                raise failure
        finally:
            for future in pending:
                future.cancel()


async def in_thread(function: Callable[[In], Out], item: In, *, threads: int) -> Out:
    """Await `function(item)` on one of `threads` threads, which all callers with that number share.

    The event loop goes on meanwhile. Cancelling drops a call that has not begun; one that
    has runs to its end, and nobody hears its answer.
    """
    import asyncio  # heavy to import, and most callers have no event loop

    return await asyncio.get_running_loop().run_in_executor(_pool(threads), function, item)


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="distilled-filters-async")


# A forked child has none of its parent's threads, so it must start its own (AC11).
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
