"""The `postgres` target: runs wait in the table for a worker, which may be anywhere."""

from __future__ import annotations

from daemon.domain.outcome import Outcome, Parked
from daemon.domain.work import Work


class PostgresTarget:
    """Leaves each run where workers find it."""

    async def deliver(self, work: Work) -> Outcome:
        """No attempt is made here: a worker makes it."""
        del work
        return Parked()
