"""The composition root: the one place that sees every part, and their order of start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import platform
import secrets
import socket
import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING

from config.environment import command_environment
from config.settings import needs_restart
from daemon import __version__
from daemon.cluster.heartbeat import Heartbeat, NodeInfo
from daemon.cluster.node_rescuer import NodeRescuer
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.schedule.timezones import tzdata_version
from daemon.maintenance.lease_reaper import LeaseReaper
from daemon.maintenance.periodic import PeriodicTask
from daemon.maintenance.pruner import Pruner
from daemon.maintenance.schema_watch import SchemaWatch
from daemon.node_status import NodeStatus
from daemon.pipeline.canceller import RunCanceller
from daemon.pipeline.pipeline import Pipeline
from daemon.runtime.clock import SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service
from daemon.runtime.startup import wait_for_database
from daemon.runtime.status_line import StatusLine
from daemon.runtime.supervisor import Supervisor
from daemon.runtime.watchdog import Watchdog
from daemon.targets.registry import Built, build
from daemon.telemetry import load_metrics, load_traces
from daemon.telemetry.event_log import FanOut
from daemon.timer.edit_listener import EditListener
from daemon.timer.loader import Loader
from daemon.timer.scheduler import TimerScheduler
from daemon.wiring import ProcessContext
from storage.engine import Database
from storage.errors import SchemaOutOfDate
from storage.leases import LeaseTable as LeaseTable
from storage.nodes import Nodes
from storage.notifications import Notifications
from storage.prune import Prune
from storage.runs import RunStore
from storage.schema import require_schema_in
from storage.timers import Timers
from storage.tzdata_refresh import TzdataRefresh

if TYPE_CHECKING:
    from config.settings import Settings


API_STOP_S = 10.0
WARM_S = 2.0
"""Ready all the same after so long, if the server does not answer what prepares it for bursts."""
RETIME_S = 5.0
"""So long at most nothing fires for what newer time-zone data may have moved within the horizon."""
GARBAGE_AT = 10_000
"""New objects between two searches for garbage in circles, of which firing makes none."""


class Daemon:
    """``campaignd run``: everything wired together."""

    def __init__(self, host: ProcessContext) -> None:
        settings = host.settings
        scheduler = settings.scheduler
        self._host = host
        self._settings = settings
        # Without the API nothing counts and nobody asks: the metrics' library is not even loaded.
        self.metrics = load_metrics() if settings.api.enabled else None
        self.traces = load_traces() if settings.traces.enabled else None
        told = [each for each in (host.emit, self.metrics, self.traces) if each is not None]
        emit = told[0] if len(told) == 1 else FanOut(*told)
        self._emit = emit
        self.clock = SystemClock()
        self.link = DatabaseHealth(emit, self.clock)
        tag = secrets.token_hex(3)
        self.database = Database(
            host.dsn,
            application_name=f"campaignd-{tag}",
            pool_size=settings.database.pool_size,
            pool_timeout=settings.database.pool_timeout,
            prepare=settings.listen_database_url is None,  # else the other goes to a pooler
        )
        self.firing = RunStore(self.database, "")
        # Often enough that a turn which takes long is not one sign too late.
        sign_every = host.sign_every and host.sign_every / 5
        self.pulse = Watchdog(
            lambda: host.notify("watchdog"),
            every=sign_every,
            clock=self.clock,
            emit=emit,
        )
        self.alarm = TimerScheduler(lambda entry: self.pipeline.take(entry), self.clock)
        timers = Timers(self.database)
        self.loader = Loader(
            timers,
            self.alarm,
            link=self.link,
            emit=emit,
            horizon=scheduler.horizon,
            poll=min(scheduler.poll, sign_every or scheduler.poll),
            turned=self.pulse.turn,
        )
        self.pipeline = Pipeline(
            self.firing,
            self._build(settings),
            timer=self.loader,
            clock=self.clock,
            link=self.link,
            emit=emit,
            batch=scheduler.batch,
            may_begin=lambda: self.membership.holds_lease(),
        )
        timers.full_targets = self.pipeline.full_targets
        self.loader.on_soon = self.pipeline.claimer.ahead.prepare
        self.loader.is_full = lambda: bool(self.pipeline.full_targets())
        self.nodes = Nodes(self.database)
        self.lease_table = LeaseTable(self.database)
        self.leases = LeaseReaper(
            self.lease_table,
            lane=self.pipeline.lane,
            hold_targets=self.pipeline.hold_targets,
            answered=self.pipeline.finisher.answered,
            database_now=self.loader.database_now,
            on_freed=self.loader.recheck_attempts,
            link=self.link,
            emit=emit,
            every=scheduler.poll,
        )
        self.stopping = RunCanceller(
            self.lease_table,
            self.firing.release,
            lambda: self.pipeline.lanes,
            clock=self.clock,
            link=self.link,
            emit=emit,
            every=scheduler.poll,
        )
        self.taking_over = NodeRescuer(
            self.nodes,
            node=lambda: self.membership.node,
            link=self.link,
            emit=emit,
            on_freed=self.loader.recheck_attempts,
        )
        self.membership = Heartbeat(
            self.nodes,
            NodeInfo(
                settings.node_name,
                socket.gethostname(),
                os.getpid(),
                __version__,
                tzdata_version(),
                tag,
            ),
            lease=scheduler.lease,
            every=scheduler.heartbeat,
            clock=self.clock,
            link=self.link,
            emit=emit,
            on_identity=self._identified,
            on_share=self._shared,
            on_skew=self._skewed,
            database_now=self.alarm.database_now,
            on_lost=self.taking_over.lost,
            on_lease=self.pipeline.resume,
            oldest_claim_at=self.pipeline.oldest_claim_at,
        )
        wakeups = Notifications(settings.listen_database_url or host.dsn)
        self.listening = EditListener(
            wakeups.listen,
            self.loader,
            link=self.link,
            emit=emit,
        )
        self.listening.on_edited += [self.stopping.changed, lambda _ids: self.leases.look()]
        self.pruning = Pruner(Prune(self.database).steps, self._keep, emit=emit)
        self.schema = SchemaWatch(lambda: require_schema_in(self.database), emit=emit)
        self.looking = PeriodicTask("looking", self.schema.look)
        self._retiming = TzdataRefresh(self.database, emit)
        self.retiming = PeriodicTask("retiming", self._retiming.look)
        self.supervisor = Supervisor(self._reload)
        self.link.on_recovery.append(self.loader.reload)
        self.report = NodeStatus(
            self.link,
            self.alarm,
            self.loader,
            self.pipeline,
            self.membership,
            self.pulse,
            self.database,
            settings,
        )
        self.api: Service | None = None
        if settings.api.enabled:
            # Imported here: without the API nothing of the web framework is loaded.
            from daemon.api.server.thread import ApiService
            from daemon.api_wiring import api_server

            server = api_server(
                lambda: self._settings,
                host.dsn,
                host.emit,
                ready=self.report.readiness,
                metrics=self.metrics,
                policy_of=self._policy_of,
                tag=tag,
            )
            self.api = ApiService(server)
        self.loop_lag: Service | None = None
        if self.metrics is not None:
            self.loop_lag = self.report.measure(self.metrics)
        self.status = StatusLine(self.report.state, lambda line: host.notify("status", line))

    @property
    def services(self) -> list[Service]:
        """Everything that must stay alive."""
        return [
            self.membership,
            self.taking_over,
            self.pipeline.finisher,
            self.pipeline.claimer,
            self.listening,
            self.loader,
            self.leases,
            self.stopping,
            self.pruning,
            self.looking,
            self.retiming,
            *(service for service in (self.api, self.loop_lag) if service is not None),
        ]

    async def run(self) -> int:
        """Start, fire until asked to stop, drain; the process's exit code.

        Raises:
            Unavailable: no database within ``scheduler.startup_timeout``.
            SchemaOutOfDate: this release can not work on it, or not any more.
        """
        self.supervisor.install()
        self._emit(
            "starting",
            version=__version__,
            pid=os.getpid(),
            python=platform.python_version(),
            tzdata=tzdata_version(),
            database="embedded" if self._host.embedded else "given",
        )
        began = time.monotonic()
        error: BaseException | None = None
        try:
            if not await self._start():
                return 0
            self.report.is_ready = True
            # What stands now stands for good: looking through it for garbage would delay a burst.
            gc.collect()
            gc.freeze()
            gc.set_threshold(GARBAGE_AT)
            self._emit(
                "ready",
                startup_ms=round((time.monotonic() - began) * 1000),
                window=len(self.alarm.window),
            )
            self._host.notify("ready", self.report.state())
            self.pulse.on_turn.append(self.status.refresh)
            failed = await self.supervisor.watch(self.services)
            if failed is not None:
                service, error = failed
                error = await self.schema.blamed(error)
                self._emit(
                    "service_failed",
                    service=service.name,
                    error=f"{type(error).__name__}: {error}",
                )
        finally:
            await self._stop()
        if isinstance(error, SchemaOutOfDate):
            raise error
        return 0 if error is None else 1

    async def _start(self) -> bool:
        """Bring everything up; False if asked to stop meanwhile."""
        if self.api is not None:
            await self.api.start()
        if self.loop_lag is not None:
            await self.loop_lag.start()
        timeout, stop = self._settings.scheduler.startup_timeout, self.supervisor.stop_asked
        if not await wait_for_database(self._begin, timeout=timeout, stop=stop, emit=self._emit):
            return False
        warming = asyncio.create_task(_quietly(self.firing.warm()), name="warm")
        await self.pipeline.start()
        self.alarm.start()
        await self.listening.start()
        await self.loader.start()
        for service in (self.leases, self.stopping, self.pruning, self.looking, self.retiming):
            await service.start()
        for event in (self.loader.loaded, self.listening.connected):
            if not await self.supervisor.wait_for(event):
                return False
        await asyncio.wait({warming}, timeout=WARM_S)
        return True

    async def _begin(self) -> None:
        """The schema is checked, what is due soon is up to date, the node has its place."""
        await self.schema.look()
        horizon = timedelta(seconds=self._settings.scheduler.horizon)
        await self._retiming.begin(horizon, longest=RETIME_S)
        await self.membership.start()
        await self.taking_over.start()

    async def _stop(self) -> None:
        """The shutdown order: claim no more, let attempts end, write, leave, close."""
        grace = self._settings.scheduler.drain_timeout
        self._emit("stopping", in_flight=self.pipeline.in_flight, drain_timeout_s=grace)
        self.pulse.on_turn.clear()
        self.report.is_ready = False
        self._host.notify("stopping", f"draining, {self.pipeline.in_flight} runs in hand")
        self.alarm.stop()
        upkeep = self.leases, self.taking_over, self.pruning, self.looking, self.retiming
        for service in (self.loader, *upkeep):
            await _quietly(service.stop(1))
        await _quietly(self.listening.stop())
        if self.membership.task is not None and self.link.is_up:
            await _quietly(self.membership.drain())
        await _quietly(self.pipeline.drain(grace))
        if self.api is not None:  # so far: who carries runs out may still say how they went
            await _quietly(self.api.stop(API_STOP_S))
        if self.loop_lag is not None:
            await _quietly(self.loop_lag.stop())
        await _quietly(self.stopping.stop(1))
        await _quietly(self.membership.stop(1))
        if self.membership.node and self.link.is_up:
            await _quietly(self.membership.leave())
        await _quietly(self.database.close())
        if self.traces is not None:
            await _quietly(asyncio.to_thread(self.traces.close))
        self._emit("stopped")

    def _policy_of(self, target: str) -> RetryPolicy:
        lanes = (lane.policy for lane in self.pipeline.lanes if lane.name == target)
        return next(lanes, RetryPolicy())

    def _build(self, settings: Settings) -> Built:
        return build(settings.targets, self._emit, environment=command_environment())

    def _keep(self) -> timedelta | None:
        """How long history is kept, as configured now."""
        days = self._settings.history.keep_days
        return timedelta(days=days) if days else None

    def _identified(self, node: str) -> None:
        self.firing.node = self.lease_table.node = node
        self.pipeline.abandon()
        self.nodes.hold_targets = self.pipeline.hold_targets()
        self._host.apply_log(self._settings, node)

    def _shared(self, shards: tuple[int, ...]) -> None:
        self.leases.shards = shards
        self.loader.share(shards)

    def _skewed(self, skew: object) -> None:
        self.alarm.set_skew(self.membership.skew)
        self.alarm.wake()
        del skew

    async def _reload(self) -> None:
        self._host.notify("reloading")
        try:
            settings = await asyncio.to_thread(self._host.reload)
            targets = self._build(settings)
        except Exception as error:
            self._emit("reload_failed", error=str(error))
        else:
            self._host.apply_log(settings, self.membership.node)
            self.pipeline.retarget(targets)
            self.nodes.hold_targets = self.pipeline.hold_targets()
            if self.metrics is not None:
                self.metrics.expect(settings.targets)
            self._emit("reloaded", needs_restart=needs_restart(self._settings, settings) or None)
            self._settings = settings
        self._host.notify("ready", self.report.state())


async def _quietly(step: Awaitable[object]) -> None:
    """One step of a shutdown: what goes wrong in it must not keep the others from their turn."""
    with contextlib.suppress(Exception):
        await step
