"""pgqueuer on a pool of asyncpg, with batches of 1000."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
from drive import COUNT, DUE, DUE_S, PHASE, URL, end_at_sigterm, record, report
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BATCH = 1_000


async def main() -> None:
    """Run one of the two phases."""
    async with asyncpg.create_pool(URL, min_size=2, max_size=10) as pool:
        driver = AsyncpgPoolDriver(pool)
        if PHASE == "register":
            queries = Queries(driver)
            await queries.install()
            await queries.enqueue(
                ["noop"] * COUNT, [None] * COUNT, [0] * COUNT, [timedelta(hours=1)] * COUNT
            )
            await pool.execute("UPDATE pgqueuer SET execute_after = to_timestamp($1)", DUE_S)
            return
        manager = PgQueuer(driver)

        @manager.entrypoint("noop")
        async def noop(job: Job) -> None:
            del job
            record()

        end_at_sigterm()
        asyncio.get_running_loop().call_later(1, report, "ready")
        await manager.run(dequeue_timeout=timedelta(seconds=0.1), batch_size=BATCH)


if __name__ == "__main__":
    assert DUE
    asyncio.run(main())
