"""APScheduler itself, wired to the window and the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from daemon.domain.ports import Clock
from daemon.timer.executor import PipelineExecutor
from daemon.timer.window import EXECUTOR, Entry, WindowJobStore


class TimerScheduler:
    """Wakes up when something in the window is due, and hands it over."""

    def __init__(self, take: Callable[[Entry], None], clock: Clock) -> None:
        self._clock = clock
        self._known = clock.now(), clock.monotonic()
        self._is_on = False
        self.window = WindowJobStore()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            jobstores={"default": self.window},
            executors={"default": PipelineExecutor(take), EXECUTOR: PipelineExecutor(take)},
        )

    def start(self) -> None:
        """Begin to wake up, on the running event loop."""
        self._scheduler.start()
        self._is_on = True

    def stop(self) -> None:
        """Wake up no more."""
        # The scheduler itself stops a turn of the event loop later, and still says it runs.
        if self._is_on:
            self._is_on = False
            self._scheduler.shutdown(wait=False)

    def load(self, entries: Iterable[Entry]) -> None:
        """Take entries into the window; wake earlier if one of them is due first."""
        if self.window.load(entries):
            self.wake()

    def wake(self) -> None:
        """Look at the window now: entries or the clock have changed."""
        if self._is_on:
            self._scheduler.wakeup()

    def late(self) -> float:
        """Seconds since the first thing in the window should have been handed over."""
        due = self.window.get_next_run_time()
        return 0.0 if due is None else max(0.0, (self._clock.now() - due).total_seconds())

    def set_skew(self, skew: timedelta) -> None:
        """The database's clock minus this machine's, as last measured."""
        self.window.skew = skew
        self._known = self._clock.now() + skew, self._clock.monotonic()

    def database_now(self) -> datetime:
        """What the database's clock shows now, as far as known.

        Reckoned in monotonic time: nothing is taken for late because this machine's clock was set.
        """
        then, at = self._known
        return then + timedelta(seconds=self._clock.monotonic() - at)
