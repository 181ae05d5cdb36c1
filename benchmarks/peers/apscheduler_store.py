"""APScheduler 3: AsyncIOScheduler on its SQLAlchemyJobStore, or in memory alone (not durable)."""

from __future__ import annotations

import asyncio
from datetime import UTC

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from drive import COUNT, DUE, PHASE, URL, end_at_sigterm, record, report


async def job() -> None:
    """Run on the event loop, so that no thread is needed."""
    record()


def scheduler() -> AsyncIOScheduler:
    """Return a scheduler that runs all jobs at once, however late they are."""
    made = AsyncIOScheduler(
        timezone=UTC, job_defaults={"misfire_grace_time": None, "max_instances": COUNT}
    )
    if URL != "memory":
        import sqlalchemy as sa
        from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

        engine = sa.create_engine(URL.replace("postgresql://", "postgresql+psycopg://", 1))
        made.add_jobstore(SQLAlchemyJobStore(engine=engine))
    return made


def register(made: AsyncIOScheduler) -> None:
    """Store the jobs, each in its own transaction."""
    for number in range(COUNT):
        made.add_job("apscheduler_store:job", "date", run_date=DUE, id=str(number))


async def main() -> None:
    """Run one of the two phases; in memory alone, both run in the second call."""
    made = scheduler()
    made.start(paused=True)
    if PHASE == "register":
        if URL != "memory":
            register(made)
        return
    if URL == "memory":
        register(made)
    end_at_sigterm()
    made.resume()
    report("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
