"""procrastinate, 20 jobs at once, polling every 0.1 s."""

from __future__ import annotations

import asyncio

from drive import DUE, PHASE, URL, copy_job, end_at_sigterm, record, report
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=URL, max_size=20))


@app.task(name="noop")
async def noop() -> None:
    """Record the time; a job does nothing else."""
    record()


async def main() -> None:
    """Run one of the two phases."""
    async with app.open_async():
        if PHASE == "register":
            await app.schema_manager.apply_schema_async()
            await noop.configure(schedule_at=DUE).defer_async()
            copy_job("procrastinate_jobs")
            return
        end_at_sigterm()
        asyncio.get_running_loop().call_later(0.5, report, "ready")
        await app.run_worker_async(
            concurrency=20, fetch_job_polling_interval=0.1, install_signal_handlers=False
        )


if __name__ == "__main__":
    asyncio.run(main())
