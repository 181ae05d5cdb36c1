"""APScheduler 3: AsyncIOScheduler on its SQLAlchemyJobStore."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC

import psycopg
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from drive import COUNT, DUE, DUE_S, PHASE, URL, end_at_sigterm, record, report

store = SQLAlchemyJobStore(URL.replace("postgresql://", "postgresql+psycopg://", 1))


async def job() -> None:
    """Run on the event loop, so that no thread is needed."""
    record()


def register(scheduler: AsyncIOScheduler) -> None:
    """Store one job, and copies of its row, because the store adds a few hundred jobs a second."""
    first = scheduler.add_job("apscheduler_store:job", "date", run_date=DUE, id="1")
    state = first.__getstate__()
    with (
        psycopg.connect(URL) as connection,
        connection.cursor().copy(
            "COPY apscheduler_jobs (id, next_run_time, job_state) FROM STDIN"
        ) as rows,
    ):
        for number in range(2, COUNT + 1):
            copy = {**state, "id": str(number)}
            rows.write_row((str(number), DUE_S, pickle.dumps(copy, pickle.HIGHEST_PROTOCOL)))


async def main() -> None:
    """Run one of the two phases."""
    scheduler = AsyncIOScheduler(
        jobstores={"default": store},
        timezone=UTC,
        job_defaults={"misfire_grace_time": None, "max_instances": COUNT},
    )
    scheduler.start(paused=True)
    if PHASE == "register":
        register(scheduler)
        return
    end_at_sigterm()
    scheduler.resume()
    report("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
