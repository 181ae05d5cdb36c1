"""Garbage collection around imports: what they create lasts until the process ends."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_from_collection() -> Iterator[None]:
    """Collect no garbage within the block, and leave out of later collections what it has created.

    Collections are a seventh of the time that imports take, and find next to nothing. A collection
    of all that is loaded would delay a burst.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
