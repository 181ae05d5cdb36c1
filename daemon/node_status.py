"""What the daemon says of itself: to the service manager, to /readyz and to the metrics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from daemon.cluster.heartbeat import Heartbeat
from daemon.pipeline.pipeline import Pipeline
from daemon.runtime.clock import SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service
from daemon.runtime.stopwatch import Stopwatch
from daemon.runtime.watchdog import Watchdog
from daemon.timer.loader import Loader
from daemon.timer.scheduler import TimerScheduler
from storage.engine import Database

if TYPE_CHECKING:
    from config.settings import Settings
    from daemon.telemetry.metrics import Metrics

ALARM_STUCK_S = 15.0
PULSE_AGE_S = 10.0
"""How long the loop that fires may be silent before the node counts as not ready."""
BATCH_STUCK_S = 60.0
"""How long a batch may be claimed or written, with the database there, before it counts as hung."""


class NodeStatus:
    """Reads the parts of a running daemon; changes none of them."""

    def __init__(
        self,
        link: DatabaseHealth,
        alarm: TimerScheduler,
        loader: Loader,
        pipeline: Pipeline,
        membership: Heartbeat,
        pulse: Watchdog,
        database: Database,
        settings: Settings,
    ) -> None:
        self.link = link
        self.alarm = alarm
        self.loader = loader
        self.pipeline = pipeline
        self.membership = membership
        self.pulse = pulse
        self.database = database
        self.is_ready = False
        self._settings = settings
        pulse.watch(
            {
                "the alarm": (alarm.late, ALARM_STUCK_S),
                "the claim": (lambda: self._stuck(pipeline.claimer.busy), BATCH_STUCK_S),
                "the finish": (lambda: self._stuck(pipeline.finisher.busy), BATCH_STUCK_S),
            }
        )

    def _stuck(self, busy: Stopwatch) -> float:
        """For how long a batch has been in work; what waits for a lost database is not stuck."""
        return busy.running_for() if self.link.is_up else 0.0

    def state(self) -> str:
        """What the daemon is at, for `systemctl status`."""
        if not self.link.is_up:
            return f"the database is away for {self.link.away_for:.0f} s; it is tried again"
        following = self.alarm.window.get_next_run_time()
        come = "" if following is None else f", next at {following:%H:%M:%S}Z"
        return (
            f"{self.pipeline.due} due, {self.pipeline.in_flight} in hand, "
            f"{len(self.alarm.window)} within {self._settings.scheduler.horizon:g} s{come}"
        )

    def readiness(self) -> dict[str, str]:
        """Whether the loop that fires is live, for /readyz. Called from the API's thread."""
        stuck = self.pulse.stuck()
        if not self.is_ready:
            return {"scheduler": "starting or stopping"}
        if stuck is None and self.pulse.age > PULSE_AGE_S:
            stuck = f"has not turned for {self.pulse.age:.0f} s"
        return {"scheduler": "ok" if stuck is None else stuck}

    def measure(self, metrics: Metrics) -> Service:
        """Tell the metrics where to read."""
        from daemon.telemetry.loop_lag import LoopLag

        self.pipeline.claimer.busy.observers.append(metrics.timed("claim"))
        self.pipeline.finisher.busy.observers.append(metrics.timed("finish"))
        gauges: dict[str, tuple[str, Callable[[], float | None]]] = {
            "due_events": ("Due on this node, not claimed yet.", lambda: self.pipeline.due),
            "overdue_events": (
                "Due for more than a second and claimed by no node, at most 5000.",
                lambda: self.loader.overdue,
            ),
            "in_flight_runs": (
                "Claimed by this node, outcome not written yet.",
                lambda: self.pipeline.in_flight,
            ),
            "window_events": ("Held in memory until due.", lambda: len(self.alarm.window)),
            "next_fire_timestamp_seconds": (
                "When the first event of the window is due; no value: nothing within the horizon.",
                lambda: _timestamp(self.alarm.window.get_next_run_time()),
            ),
            "clock_skew_seconds": (
                "The database's clock minus this machine's.",
                lambda: self.membership.skew.total_seconds(),
            ),
            "database_up": ("1: the database answers.", lambda: int(self.link.is_up)),
            "scheduler_loop_age_seconds": (
                "Since the loop that fires last turned; it does every second.",
                lambda: self.pulse.age,
            ),
            "pool_connections_in_use": (
                "Of the pool that fires.",
                lambda: self.database.connections_in_use,
            ),
            "pool_connections_limit": (
                "The most that it opens.",
                lambda: self.database.connections_limit,
            ),
        }
        metrics.expect(self._settings.targets)
        for name, (text, read) in gauges.items():
            metrics.gauge(name, text, read)
        return LoopLag(SystemClock(), metrics.timed("loop_lag"))


def _timestamp(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()
