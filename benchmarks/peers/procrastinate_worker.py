"""procrastinate, 20 jobs at once, polling every 0.1 s."""

from __future__ import annotations

import asyncio

from drive import COUNT, DUE, PHASE, URL, end_at_sigterm, record, report
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
            for first in range(0, COUNT, 1_000):
                many = min(1_000, COUNT - first)
                await noop.configure(schedule_at=DUE).batch_defer_async(*[{}] * many)
            return
        end_at_sigterm()
        asyncio.get_running_loop().call_later(1, report, "ready")
        await app.run_worker_async(
            concurrency=20, fetch_job_polling_interval=0.1, install_signal_handlers=False
        )


if __name__ == "__main__":
    asyncio.run(main())
