"""A target that only records when each run was due and when its attempt started."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from campaignd.plugin import Attempt, Delivered, Emit, Outcome, Target

DONE = Delivered()


class Noop(Target):
    """Deliver every run at once; write the times to a file at the end."""

    batch_size = 200

    def __init__(self, path: Path) -> None:
        self._path = path
        self._times = array("d")

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Record the times."""
        self._times.append(attempt.scheduled_for.timestamp())
        self._times.append(time.time())
        return DONE

    async def deliver_many(self, attempts: Sequence[Attempt]) -> Sequence[Outcome]:
        """Record the times."""
        for attempt in attempts:
            self._times.append(attempt.scheduled_for.timestamp())
            self._times.append(time.time())
        return [DONE] * len(attempts)

    async def close(self) -> None:
        """Write pairs of (due, started)."""
        self._path.write_bytes(self._times.tobytes())


def make(name: str, options: Mapping[str, Any], emit: Emit) -> Noop:
    """Return the target; the entry point refers to this function."""
    del name, emit
    return Noop(Path(options["times"]))
