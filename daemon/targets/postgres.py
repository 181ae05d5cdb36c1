"""The `postgres` target: runs wait in the table for a worker, which may be anywhere."""

from __future__ import annotations

from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Outcome, Queued
from daemon.domain.run.target import Target


class PostgresTarget(Target):
    """Leaves each run where workers find it."""

    async def deliver(self, work: Attempt) -> Outcome:
        """No attempt is made here: a worker makes it."""
        del work
        return Queued()
