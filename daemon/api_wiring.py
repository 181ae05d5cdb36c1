"""Builds the HTTP interface from the campaign service, storage and telemetry.

`daemon.wiring` runs the server beside the daemon; ``campaignd api`` runs it alone.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from config.environment import command_environment
from config.settings import Settings, needs_restart
from daemon import __version__
from daemon.api.ports import ApiOptions, Backend
from daemon.api.server.listening import BACKLOG, listen
from daemon.api.server.server import ApiServer, serve_until
from daemon.campaign_service import CampaignService
from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.schedule.zone_data import tzdata_origin, tzdata_version
from daemon.runtime import descriptors
from daemon.runtime.startup import wait_for_database
from daemon.runtime.supervisor import Supervisor
from daemon.targets.registry import retry_policy_of
from daemon.targets.tester import TargetTester
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.stored_gauges import StoredGauges
from storage.api_keys import ApiKeys
from storage.audit_findings import AuditFindings
from storage.audit_log import AuditLog
from storage.brakes import BrakeStore, read_brakes
from storage.bulk.bounded_import import BoundedImport
from storage.bulk.exporter import export_lines
from storage.bulk.planner import ScheduleDefaults
from storage.calendar_reads import CalendarReads
from storage.campaign_reads import CampaignReads
from storage.campaign_search import CampaignSearch
from storage.campaigns import Campaigns
from storage.cluster_reads import read_overview
from storage.engine import Connections, Database
from storage.errors import PrivilegeMissing, SchemaOutOfDate
from storage.event_reads import EventReads
from storage.explain_reads import ExplainReads
from storage.held_runs import HeldRuns
from storage.idempotency import IdempotencyKeys
from storage.notifications import Notifications
from storage.occurrence_reads import OccurrenceReads
from storage.page_sessions import PageSessions
from storage.privilege_checks import require_privileges
from storage.run_results import RunResults
from storage.schema import require_schema
from storage.session import SERVING
from storage.target_reads import TargetReads

RetryPolicyOf = Callable[[str], RetryPolicy]
Readiness = Callable[[], dict[str, str]]


async def serve_api_alone(
    settings: Settings,
    dsn: str,
    emit: Emit,
    *,
    reload: Callable[[], Settings],
    apply_log: Callable[[Settings], None],
) -> int:
    """Run ``campaignd api``: serve HTTP without a scheduler; return the exit code.

    Args:
        settings: the settings at the start.
        dsn: the database URL.
        emit: receives every event, also one for each request.
        reload: reads the configuration again, at SIGHUP. Raises ConfigurationError.
        apply_log: configures the log.
    """
    configuration = _ReloadableSettings(settings, dsn, emit, reload, apply_log)
    supervisor = Supervisor(configuration.reload)
    supervisor.handle_signals()
    listening = listen(settings.api.host, settings.api.port)
    server = build_api_server(
        lambda: configuration.settings,
        dsn,
        emit,
        listening,
        retry_policy_of=configuration.retry_policy_of,
    )
    source, directory = tzdata_origin()
    emit(
        "starting",
        version=__version__,
        pid=os.getpid(),
        tzdata=tzdata_version(),
        tzdata_source=source,
        tzdata_path=directory,
    )
    try:
        if await _wait_for_schema(settings, dsn, emit, supervisor.stop_requested):
            emit("ready")
            signals = asyncio.create_task(supervisor.watch([]), name="signals")
            try:
                await serve_until(server, supervisor.stop_requested)
            finally:
                signals.cancel()
    finally:
        listening.close()
        emit("stopped")
    return 0


def build_api_server(
    settings: Callable[[], Settings],
    dsn: str,
    emit: Emit,
    listening: socket.socket,
    *,
    ready: Readiness = dict,
    retry_policy_of: RetryPolicyOf = lambda _target: RetryPolicy(),
    metrics: Metrics | None = None,
    tag: str | None = None,
) -> ApiServer:
    """Build the server. It has its own connection pool, so that requests never delay runs.

    Args:
        settings: returns the settings in force.
        dsn: the database URL.
        emit: receives one event for each request.
        listening: the socket to serve.
        ready: further readiness checks; each must be "ok".
        retry_policy_of: returns the retry policy of a target.
        metrics: counts requests; None creates metrics for this process.
        tag: of the node that runs in the same process. A node that replaces this one
            terminates the database sessions with this tag.
    """
    if metrics is None:
        metrics = Metrics(__version__)
        metrics.start_target_series(settings().targets)
    backend = _BackendBuilder(
        settings=settings,
        dsn=dsn,
        emit=_emit_and_count(emit, metrics),
        ready=ready,
        retry_policy_of=retry_policy_of,
        metrics=metrics,
        tag=tag,
    )
    options = api_options(settings())
    allowed = client_connections_allowed(settings(), descriptors.open_file_limit())
    if allowed < options.max_connections:
        configured = options.max_connections
        emit("api_connections_lowered", max_connections=allowed, configured=configured)
        options = replace(options, max_connections=allowed)
    return ApiServer(options, backend.build, backend.emit, listening)


def client_connections_allowed(settings: Settings, limit: int) -> int:
    """Return how many clients may be connected, so that runs never lack a descriptor.

    Args:
        limit: the number of files that the process may open.
    """
    # The server accepts that many connections at a time before it can refuse one of them.
    return max(
        1,
        min(settings.api.max_connections, descriptors_left_for_clients(settings, limit) - BACKLOG),
    )


def descriptors_left_for_clients(settings: Settings, limit: int) -> int:
    """Return how many files remain beside database connections and attempts.

    Args:
        limit: the number of files that the process may open.
    """
    database, api = settings.database.pool_size, settings.api.pool_size
    concurrency = (getattr(each, "concurrency", 0) for each in settings.targets.values())
    return descriptors.left_for_clients(
        limit, connections=2 * database + api + 3, attempts=sum(concurrency)
    )


def api_options(settings: Settings) -> ApiOptions:
    """Convert the settings of [api] to the API's options."""
    api = settings.api
    return ApiOptions(
        host=api.host,
        port=api.port,
        rate_limit=api.rate_limit,
        failure_limit=api.failure_limit,
        request_timeout=api.request_timeout,
        header_timeout=api.header_timeout,
        body_timeout=api.body_timeout,
        keep_alive=api.keep_alive,
        max_requests=api.max_requests,
        max_connections=api.max_connections,
        max_connections_per_address=api.max_connections_per_address,
        trusted_proxies=api.trusted_proxies,
        public_url=api.public_url,
        hosts=api.hosts,
    )


@dataclass(frozen=True, slots=True)
class _BackendBuilder:
    """Builds the backend inside the server's event loop, to which its connections belong."""

    settings: Callable[[], Settings]
    dsn: str
    emit: Emit
    ready: Readiness
    retry_policy_of: RetryPolicyOf
    metrics: Metrics
    tag: str | None

    def build(self) -> Backend:
        settings = self.settings()
        database = Database(
            self.dsn,
            pool_size=settings.api.pool_size,
            pool_timeout=settings.database.pool_timeout,
            application_name=f"campaignd-api-{self.tag}" if self.tag else "campaignd-api",
            overflow=0,
            timeouts=SERVING,
            prepare=settings.listen_database_url is None,
        )

        def make_service(connections: Connections, *, commits: bool = False) -> CampaignService:
            return CampaignService(
                Campaigns(connections),
                continuous_interval=settings.scheduler.continuous_interval,
                misfire_grace_time=settings.scheduler.misfire_grace_time,
                runs=RunResults(connections),
                held=HeldRuns(connections, settings.scheduler.misfire_grace_time),
                imports=BoundedImport(
                    connections,
                    ScheduleDefaults(
                        settings.scheduler.continuous_interval,
                        settings.scheduler.misfire_grace_time,
                        frozenset(self.settings().targets),
                    ),
                ),
                retry_policy_of=self.retry_policy_of,
                emit=self.emit,
                commits=commits,
            )

        async def check_readiness() -> dict[str, str]:
            return {**await _database_checks(database), **self.ready()}

        brakes = BrakeStore(database)
        stored = StoredGauges(self.metrics, brakes.read, HeldRuns(database).count_by_reason)

        return Backend(
            service=make_service(database, commits=True),
            reads=CampaignReads(database),
            search=CampaignSearch(database),
            calendar=CalendarReads(database),
            schedules=OccurrenceReads(database),
            events=EventReads(database),
            target_states=TargetReads(database),
            keys=ApiKeys(database),
            sessions=PageSessions(database),
            audit=AuditLog(database),
            findings=AuditFindings(database),
            idempotency=IdempotencyKeys(database, make_service),
            brakes=brakes,
            overview=lambda: read_overview(database),
            explain=ExplainReads(database).read_evidence,
            edits=Notifications(settings.listen_database_url or self.dsn).listen,
            explain_campaign=ExplainReads(database).explain,
            export=lambda: export_lines(database),
            readiness=check_readiness,
            metrics=stored.render,
            targets=lambda: self.settings().targets.keys(),
            test_target=TargetTester(
                lambda: self.settings().targets, command_environment(), self.emit
            ).send,
            close=database.close,
        )


class _ReloadableSettings:
    """The settings in force of a process that serves only the API."""

    def __init__(
        self,
        settings: Settings,
        dsn: str,
        emit: Emit,
        reload: Callable[[], Settings],
        apply_log: Callable[[Settings], None],
    ) -> None:
        self.settings = settings
        self._dsn = dsn
        self._emit = emit
        self._read = reload
        self._apply_log = apply_log

    async def reload(self) -> None:
        """Apply the configuration as it is now; keep the old settings if it is invalid."""
        try:
            settings = await asyncio.to_thread(self._read)
        except Exception as error:
            self._emit("reload_failed", error=str(error))
            await self._record_reload(str(error))
            return
        self._apply_log(settings)
        self._emit("reloaded", needs_restart=needs_restart(self.settings, settings) or None)
        self.settings = settings
        await self._record_reload(None)

    async def _record_reload(self, failure: str | None) -> None:
        database = Database(self._dsn, pool_size=1)
        try:
            await AuditLog(database).record_reload(failure)
        finally:
            await database.close()

    def retry_policy_of(self, name: str) -> RetryPolicy:
        """Return the retry policy of a target; the default policy for an unknown target."""
        target = self.settings.targets.get(name)
        return RetryPolicy() if target is None else retry_policy_of(target)


def _emit_and_count(emit: Emit, metrics: Metrics) -> Emit:
    """Return an Emit that counts each event before emitting it."""

    def count_and_emit(event: str, /, **fields: Any) -> None:
        metrics(event, **fields)
        emit(event, **fields)

    return count_and_emit


async def _database_checks(database: Database) -> dict[str, str]:
    try:
        async with database.statement() as connection:
            await require_schema(connection)
            frozen = (await read_brakes(connection)).summary
    except PrivilegeMissing as error:
        return {"database": error.detail}
    except Unavailable:
        return {"database": "cannot be reached"}
    except SchemaOutOfDate as error:
        return {"database": "ok", "schema": f"{error.detail} ({error.hint})"}
    checks = {"database": "ok", "schema": "ok"}
    return checks if frozen is None else {**checks, "frozen": frozen}


async def _wait_for_schema(settings: Settings, dsn: str, emit: Emit, stop: asyncio.Event) -> bool:
    """Wait for the database, check role and schema; return False if a stop is requested first."""
    database = Database(dsn, pool_size=1)

    async def require_schema_and_role() -> None:
        async with database.statement() as connection:
            await connection.run_sync(require_privileges)
            await require_schema(connection)

    try:
        timeout = settings.scheduler.startup_timeout
        return await wait_for_database(
            require_schema_and_role, timeout=timeout, stop=stop, emit=emit
        )
    finally:
        await database.close()
