"""`campaignd run`: the order in which the daemon starts and stops, and its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import platform
import socket
import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING

from config.settings import needs_restart
from daemon import __version__
from daemon.domain.audit import ORIGIN, Origin
from daemon.domain.formatting import error_line
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.schedule.zone_data import tzdata_origin, tzdata_version
from daemon.node_status import NodeStatus
from daemon.runtime.service import Service
from daemon.runtime.startup import wait_for_database
from daemon.runtime.supervisor import Supervisor
from daemon.wiring import ProcessContext, build_parts, build_targets
from storage.audit_log import AuditLog
from storage.errors import SchemaOutOfDate

if TYPE_CHECKING:
    from daemon.api.server.server import ApiServer
    from daemon.api.server.thread import ApiService

API_STOP_S = 10.0
STOP_MARGIN_S = 5.0
"""Maximum seconds of a stop beyond `drain_timeout`, whatever the database does."""
CUT_OFF_S = 2.0
"""Seconds beyond `drain_timeout` after which a stop needs the database no more."""
ANNOUNCE_S = 1.0
"""Seconds for the database's answer that other nodes take the shards of this one."""
WARM_UP_S = 2.0
"""Seconds to wait for the connection warm-up before reporting ready without it."""
TZDATA_REFRESH_S = 5.0
"""Maximum seconds that start-up waits for schedules affected by newer time-zone data."""
GARBAGE_THRESHOLD = 10_000
"""New objects between two garbage collections; firing itself makes no garbage in cycles."""


class Daemon:
    """The daemon of one node, with the HTTP interface beside it unless that is turned off."""

    def __init__(self, process: ProcessContext) -> None:
        self._process = process
        self._settings = process.settings
        self.parts = parts = build_parts(process, lambda: self._settings)
        self._emit = parts.emit
        self._correction: asyncio.Task[None] | None = None
        """Kept, because the event loop does not keep its tasks."""
        self.supervisor = Supervisor(self._reload_configuration)
        self.status = NodeStatus(
            parts.health,
            parts.scheduler,
            parts.loader,
            parts.pipeline,
            parts.database_clock,
            parts.watchdog,
            parts.database,
            parts.privilege_watch,
            process.settings,
        )
        self.api = self._build_api() if process.settings.api.enabled else None
        self.loop_lag = (
            self.status.connect_metrics(parts.metrics, parts.auditor)
            if parts.metrics is not None
            else None
        )

    @property
    def services(self) -> list[Service]:
        """Every service; the death of one ends the daemon."""
        optional = [service for service in (self.api, self.loop_lag) if service is not None]
        return [*self.parts.services, *optional]

    async def run(self) -> int:
        """Start, fire until asked to stop, drain; return the process's exit code.

        Raises:
            Unavailable: no database within ``scheduler.startup_timeout``, or a role without the
                privileges that campaignd needs.
            SchemaOutOfDate: this release cannot work on the schema.
        """
        ORIGIN.set(Origin(f"node:{self._settings.node_name}"))
        self.supervisor.handle_signals()
        source, directory = tzdata_origin()
        self._emit(
            "starting",
            version=__version__,
            pid=os.getpid(),
            python=platform.python_version(),
            tzdata=tzdata_version(),
            tzdata_source=source,
            tzdata_path=directory,
            database="embedded" if self._process.embedded else "given",
        )
        began = time.monotonic()
        error: BaseException | None = None
        try:
            if not await self._start_services():
                return 0
            self._report_ready(began)
            failed = await self.supervisor.watch(self.services)
            if failed is not None:
                service, error = failed
                error = await self.parts.schema_watch.explain_death(error)
                self._emit(
                    "service_failed",
                    service=service.name,
                    error=error_line(error),
                )
        finally:
            await self._stop_services()
        if isinstance(error, SchemaOutOfDate):
            raise error
        return 0 if error is None else 1

    async def _start_services(self) -> bool:
        """Start everything; return False if a stop is requested meanwhile."""
        parts = self.parts
        for service in (self.api, self.loop_lag):
            if service is not None:
                await service.start()
        timeout, stop = self._settings.scheduler.startup_timeout, self.supervisor.stop_requested
        if not await wait_for_database(
            self._register_node, timeout=timeout, stop=stop, emit=self._emit
        ):
            return False
        warm_up = asyncio.create_task(_ignore_errors(parts.run_store.warm()), name="warm")
        checks = asyncio.create_task(_ignore_errors(self._check_connections()), name="connections")
        self._correction = asyncio.create_task(
            _ignore_errors(parts.timers.correct_change_marks()), name="change marks"
        )
        await parts.pipeline.start()
        parts.scheduler.start(parts.pipeline.claimer.enqueue)
        for service in (
            parts.edit_listener,
            parts.loader,
            parts.lease_reaper,
            parts.resumer,
            parts.failure_watch,
            parts.canceller,
            parts.brake_watch,
            parts.pruner,
            parts.schema_task,
            parts.privilege_task,
            parts.tzdata_task,
            *([] if parts.auditor is None else [parts.auditor]),
        ):
            await service.start()
        for event in (parts.loader.loaded, parts.edit_listener.tried):
            if not await self.supervisor.wait_for(event):
                return False
        await asyncio.wait({warm_up, checks}, timeout=WARM_UP_S)
        return True

    async def _register_node(self) -> None:
        """Check role and schema, refresh instants that are due soon, and register this node."""
        await self.parts.privilege_watch.require_privileges()
        await self.parts.schema_watch.check()
        horizon = timedelta(seconds=self._settings.scheduler.horizon)
        await self.parts.tzdata_refresh.refresh_due(horizon, timeout=TZDATA_REFRESH_S)
        await self.parts.heartbeat.start()
        await self.parts.node_rescuer.start()

    async def _check_connections(self) -> None:
        """Report connections that hide what this node or another one needs."""
        parts = self.parts
        if not await parts.database.shows_its_name():
            self._emit("sessions_not_named")
        listens_elsewhere = self._settings.listen_database_url is not None
        if listens_elsewhere and not await parts.notifications.receives_from(parts.database):
            self._emit("listen_elsewhere")

    def _report_ready(self, began: float) -> None:
        """Report that the daemon is ready."""
        self.status.is_ready = True
        # Objects that exist now exist until the end: collecting them would delay a burst.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD)
        self._emit(
            "ready",
            startup_ms=round((time.monotonic() - began) * 1000),
            window=len(self.parts.scheduler.window),
        )
        self._process.notify("ready", self.status.status_line())
        if self.api is not None:
            self.api.load()
        self.parts.watchdog.on_beat.append(
            lambda: self.status.send_status_line(lambda line: self._process.notify("status", line))
        )

    async def _stop_services(self) -> None:
        """Stop in order: claim no more, let attempts end, write, retire the node, close.

        It takes at most STOP_MARGIN_S longer than `drain_timeout`: a database that is silent by
        then is left, and other nodes take over what is open when this node's lease ends.
        """
        parts, grace = self.parts, self._settings.scheduler.drain_timeout
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + grace + STOP_MARGIN_S
        for database in (parts.database, parts.audit_database):
            loop.call_later(grace + CUT_OFF_S, database.cut_off)
        in_flight = len(parts.pipeline.in_flight)
        self._emit("stopping", in_flight=in_flight, drain_timeout_s=grace)
        parts.watchdog.on_beat.clear()
        self.status.is_ready = False
        self._process.notify("stopping", f"draining, {in_flight} runs in flight")
        parts.scheduler.stop()
        watching = (
            parts.loader,
            parts.lease_reaper,
            parts.node_rescuer,
            parts.pruner,
            parts.schema_task,
            parts.privilege_task,
            parts.tzdata_task,
            *([] if parts.auditor is None else [parts.auditor]),
        )
        await asyncio.gather(*(_ignore_errors(service.stop(1)) for service in watching))
        await _ignore_errors(parts.edit_listener.stop())
        if parts.heartbeat.task is not None and parts.health.is_up:
            await _ignore_errors(asyncio.wait_for(parts.heartbeat.drain(), ANNOUNCE_S))
        await _ignore_errors(parts.pipeline.drain(grace))
        if self.api is not None:  # until here receivers could still report results
            await _ignore_errors(
                self.api.stop(min(API_STOP_S, max(0.0, ends_at - loop.time() - 1)))
            )
        if self.loop_lag is not None:
            await _ignore_errors(self.loop_lag.stop())
        await asyncio.gather(
            *(_ignore_errors(service.stop(1)) for service in (parts.canceller, parts.heartbeat))
        )
        if parts.node.id and parts.health.is_up:
            await _ignore_errors(asyncio.wait_for(parts.heartbeat.leave(), ANNOUNCE_S))
        for database in (parts.audit_database, parts.database):
            await _ignore_errors(database.close())
            database.cut_off()
        if parts.traces is not None:
            await _ignore_errors(asyncio.to_thread(parts.traces.close))
        self._emit("stopped")

    def _build_api(self) -> ApiService:
        # Imported here: without the API nothing of it is loaded.
        from daemon.api.server.thread import ApiService

        api = self._settings.api
        return ApiService(api.host, api.port, self._load_api)

    def _load_api(self, listening: socket.socket) -> ApiServer:
        # Imported here: the web framework is loaded after everything else.
        from daemon.api_wiring import build_api_server

        return build_api_server(
            lambda: self._settings,
            self._process.dsn,
            self._process.emit,
            listening,
            ready=self.status.readiness,
            metrics=self.parts.metrics,
            retry_policy_of=self._retry_policy_of,
            tag=self.parts.tag,
        )

    def _retry_policy_of(self, target: str) -> RetryPolicy:
        # Called from the API's thread, so no pool is made for a name without a target.
        policies = (pool.policy for pool in self.parts.pipeline.pools if pool.name == target)
        return next(policies, RetryPolicy())

    async def _reload_configuration(self) -> None:
        """Read the configuration again, and apply what can change without a restart."""
        self._process.notify("reloading")
        try:
            settings = await asyncio.to_thread(self._process.reload)
            targets = build_targets(settings, self._emit)
        except Exception as error:
            failure: str | None = str(error)
            self._emit("reload_failed", error=failure)
        else:
            failure = None
            self._process.apply_log(settings, self.parts.node.id)
            self.parts.pipeline.pools.configure(targets)
            if self.parts.metrics is not None:
                self.parts.metrics.start_target_series(settings.targets)
            self._emit("reloaded", needs_restart=needs_restart(self._settings, settings) or None)
            self._settings = settings
        self._process.notify("ready", self.status.status_line())
        await AuditLog(self.parts.database).record_reload(failure)


async def _ignore_errors(step: Awaitable[object]) -> None:
    """Await one step of a shutdown; an error in it must not keep the others from their turn."""
    with contextlib.suppress(Exception):
        await step
