"""APScheduler, with the window as its job store and the pipeline as its executor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from daemon.domain.ports import Clock
from daemon.domain.run.attempt import DueEntry
from daemon.runtime.clock import DatabaseClock
from daemon.timer.window import EXECUTOR, PipelineExecutor, WindowJobStore


class TimerScheduler:
    """Wakes up when an entry of the window is due, and hands it to the pipeline."""

    def __init__(self, clock: Clock, database_clock: DatabaseClock) -> None:
        self._clock = clock
        self._is_started = False
        self.window = WindowJobStore(database_clock)
        self._scheduler = AsyncIOScheduler(timezone=UTC, jobstores={"default": self.window})

    def start(self, handle_due: Callable[[list[DueEntry]], None]) -> None:
        """Start to wake up, on the running event loop.

        Args:
            handle_due: `daemon.pipeline.claimer.Claimer.enqueue`.
        """
        for name in ("default", EXECUTOR):
            self._scheduler.add_executor(PipelineExecutor(handle_due), name)
        self._scheduler.start()
        self._is_started = True

    def stop(self) -> None:
        """Stop to wake up."""
        # APScheduler itself stops one turn of the event loop later, and calls itself running until
        # then.
        if self._is_started:
            self._is_started = False
            self._scheduler.shutdown(wait=False)

    def wake(self) -> None:
        """Check the window now: an entry is due earlier, or the clock has changed."""
        if self._is_started:
            self._scheduler.wakeup()

    def lag(self) -> float:
        """Return the seconds since the first entry of the window should have been handed over."""
        due = self.window.get_next_run_time()
        return 0.0 if due is None else max(0.0, (self._clock.now() - due).total_seconds())
