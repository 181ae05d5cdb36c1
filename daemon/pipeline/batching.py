"""Batches with bad rows: a row that the database refuses fails alone, not with its whole batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from daemon.domain.errors import Unavailable

ItemT = TypeVar("ItemT")


async def bisect_failures(
    items: Sequence[ItemT],
    work: Callable[[Sequence[ItemT]], Awaitable[None]],
    failed: Callable[[ItemT, Exception], None],
) -> None:
    """Do ``work`` on all items, or on ever smaller halves while it raises.

    Args:
        items: the batch.
        work: the statement over a batch.
        failed: called with each single item for which ``work`` raised, and the error.

    Raises:
        Unavailable: the database is away, which is no item's fault.
    """
    try:
        await work(items)
    except Unavailable:
        raise
    except Exception as error:
        if len(items) == 1:
            failed(items[0], error)
            return
        middle = len(items) // 2
        await bisect_failures(items[:middle], work, failed)
        await bisect_failures(items[middle:], work, failed)
