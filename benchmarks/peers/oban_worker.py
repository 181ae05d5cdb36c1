"""oban for Python (3.12 and later): 1000 at once, staged every 0.1 s."""

from __future__ import annotations

import asyncio

from drive import DUE, PHASE, URL, copy_job, end_at_sigterm, record, report
from oban import Job, Oban, worker
from oban.schema import install
from psycopg_pool import AsyncConnectionPool


@worker(queue="default")
class Noop:
    """A job that does nothing."""

    async def process(self, job: Job) -> None:
        """Record the time."""
        del job
        record()


async def main() -> None:
    """Run one of the two phases."""
    async with AsyncConnectionPool(URL, min_size=2, max_size=10) as pool:
        if PHASE == "register":
            await install(pool)
            await Oban(pool=pool).enqueue(Noop.new({}, scheduled_at=DUE))
            copy_job("oban_jobs")
            return
        oban = Oban(pool=pool, queues={"default": 1_000}, stager={"interval": 0.1})
        await oban.start()
        end_at_sigterm()
        report("ready")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
