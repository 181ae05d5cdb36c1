"""A target that does nothing but note when each run was due and begun, and leaves it behind."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from campaignd.plugin import Attempt, Delivered, Emit, Outcome, Target

DONE = Delivered()


class Noop(Target):
    """Delivered at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._times = array("d")

    async def deliver(self, work: Attempt) -> Outcome:
        """Nothing but the times."""
        self._times.append(work.scheduled_for.timestamp())
        self._times.append(time.time())
        return DONE

    async def close(self) -> None:
        """Leave the times behind."""
        self._path.write_bytes(self._times.tobytes())


def make(name: str, options: Mapping[str, Any], emit: Emit) -> Noop:
    """What the entry point names."""
    del name, emit
    return Noop(Path(options["times"]))
