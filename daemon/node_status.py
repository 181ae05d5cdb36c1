"""The state of this node: for `systemctl status`, for /readyz and for the gauges of the metrics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from daemon.domain.auditor.finding import FindingKind
from daemon.maintenance.auditor import Auditor
from daemon.maintenance.privilege_watch import PrivilegeWatch
from daemon.pipeline.pipeline import Pipeline
from daemon.runtime.clock import DatabaseClock, SystemClock
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

TIMER_STUCK_S = 15.0
BEAT_AGE_S = 10.0
"""Seconds without a beat of the firing loop after which the node is not ready."""
BATCH_STUCK_S = 60.0
"""Seconds a claim or finish may take, with the database there, before it counts as stuck."""
FAILING_S = 10.0
"""Seconds without a successful statement or claim after which the node is not ready."""


class NodeStatus:
    """Reads the parts of a running daemon.

    It registers the timer, the claimer and the completer with the watchdog, and changes nothing
    else.
    """

    def __init__(
        self,
        health: DatabaseHealth,
        scheduler: TimerScheduler,
        loader: Loader,
        pipeline: Pipeline,
        database_clock: DatabaseClock,
        watchdog: Watchdog,
        database: Database,
        privileges: PrivilegeWatch,
        settings: Settings,
    ) -> None:
        self._health = health
        self._scheduler = scheduler
        self._loader = loader
        self._pipeline = pipeline
        self._database_clock = database_clock
        self._watchdog = watchdog
        self._database = database
        self._privileges = privileges
        self._settings = settings
        self._last_line = ""
        self.is_ready = False
        watchdog.watch(
            {
                "the timer": (scheduler.lag, TIMER_STUCK_S),
                "the claim": (lambda: self._batch_stuck_for(pipeline.claimer.busy), BATCH_STUCK_S),
                "the finish": (
                    lambda: self._batch_stuck_for(pipeline.completer.busy),
                    BATCH_STUCK_S,
                ),
            }
        )

    def _batch_stuck_for(self, busy: Stopwatch) -> float:
        """Return for how long a batch is under way; waiting for a lost database is not stuck."""
        return busy.longest_running() if self._health.is_up else 0.0

    def status_line(self) -> str:
        """Return the line that `systemctl status` shows."""
        if not self._health.is_up:
            return (
                f"the database has been unavailable for {self._health.outage_seconds:.0f} s; "
                "retrying"
            )
        frozen = self._pipeline.pools.brakes.summary
        window = self._scheduler.window
        next_at = window.get_next_run_time()
        upcoming = "" if next_at is None else f", next at {next_at:%H:%M:%S}Z"
        line = (
            f"{self._pipeline.due} due, {len(self._pipeline.in_flight)} in flight, "
            f"{len(window)} within {self._settings.scheduler.horizon:g} s{upcoming}"
        )
        return line if frozen is None else f"FROZEN: {frozen}; {line}"

    def send_status_line(self, send: Callable[[str], object]) -> None:
        """Send the line, unless it is the line that was sent last."""
        line = self.status_line()
        if line != self._last_line:
            send(line)
            self._last_line = line

    def readiness(self) -> dict[str, str]:
        """Return whether this node can fire, for /readyz. Called from the API's thread."""
        checks = {"scheduler": self._scheduler_problem() or "ok"}
        if (problem := self._database_problem()) is not None:
            checks["database"] = problem
        return checks

    def _scheduler_problem(self) -> str | None:
        if not self.is_ready:
            return "starting or stopping"
        if (stuck := self._watchdog.stuck()) is not None:
            return stuck
        if self._watchdog.age > BEAT_AGE_S:
            return f"the firing loop has not run for {self._watchdog.age:.0f} s"
        refusals = self._pipeline.claimer.refusals
        if (failing := refusals.seconds_refusing) >= FAILING_S:
            return f"claims have failed for {failing:.0f} s: {refusals.last_error}"
        return None

    def _database_problem(self) -> str | None:
        """Return what the firing loop cannot do, though the database answers the API."""
        if self._privileges.problem is not None:
            return self._privileges.problem
        if (outage := self._health.outage_seconds) >= FAILING_S:
            return f"the firing loop has failed to use it for {outage:.0f} s: {self._health.error}"
        return None

    def connect_metrics(self, metrics: Metrics, auditor: Auditor | None = None) -> Service:
        """Connect the gauges and histograms; return the service that measures the event loop."""
        from daemon.telemetry.loop_lag import LoopLag

        pipeline, window = self._pipeline, self._scheduler.window
        pipeline.claimer.busy.observers.append(metrics.duration_observer("claim"))
        pipeline.completer.busy.observers.append(metrics.duration_observer("finish"))
        gauges: dict[str, tuple[str, Callable[[], float | None]]] = {
            "due_events": ("Events due on this node and not claimed yet.", lambda: pipeline.due),
            "overdue_events": (
                "Events due for more than a second and claimed by no node, at most 5000.",
                lambda: self._loader.overdue,
            ),
            "in_flight_runs": (
                "Runs claimed by this node whose outcome is not written yet.",
                lambda: len(pipeline.in_flight),
            ),
            "window_events": ("Events held in memory until they are due.", lambda: len(window)),
            "next_fire_timestamp_seconds": (
                "When the first event of the window is due; no value without one.",
                lambda: _unix_timestamp(window.get_next_run_time()),
            ),
            "clock_skew_seconds": (
                "The database's clock minus this machine's.",
                lambda: self._database_clock.skew.total_seconds(),
            ),
            "database_up": ("1 while the database answers.", lambda: int(self._health.is_up)),
            "scheduler_loop_age_seconds": (
                "Seconds since the firing loop last ran; it runs every second.",
                lambda: self._watchdog.age,
            ),
            "pool_connections_in_use": (
                "Connections in use by the firing pool.",
                lambda: self._database.connections_in_use,
            ),
            "pool_connections_limit": (
                "Maximum connections of the firing pool.",
                lambda: self._database.connections_limit,
            ),
        }
        metrics.start_target_series(self._settings.targets)
        for name, (text, read) in gauges.items():
            metrics.add_gauge(name, text, read)
        if auditor is not None:
            _connect_auditor(metrics, auditor)
        return LoopLag(SystemClock(), metrics.duration_observer("loop_lag"))


def _connect_auditor(metrics: Metrics, auditor: Auditor) -> None:
    metrics.add_labelled_gauge(
        "audit_findings",
        "Open findings of the auditor about this node's campaigns.",
        ("kind", "severity"),
        lambda: {
            (kind.value, kind.severity.value): float(auditor.open[kind]) for kind in FindingKind
        },
    )
    metrics.add_gauge(
        "audit_round_timestamp_seconds",
        "Begin of the auditor's last whole round; the node's start before there is one.",
        lambda: auditor.last_round_at.timestamp(),
    )
    metrics.add_gauge(
        "audit_fresh_share",
        "Share of the campaigns with new runs that the auditor's last fresh pass looked at.",
        lambda: auditor.fresh_share,
    )


def _unix_timestamp(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()
