"""Wires the HTTP interface to control, storage and telemetry, beside the daemon or alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from config.settings import Settings, needs_restart
from daemon import __version__
from daemon.api.ports import Backend, Options
from daemon.api.server.server import ApiServer, run_until
from daemon.campaign_service import CampaignService
from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.domain.run.retry import RetryPolicy
from daemon.runtime.startup import wait_for_database
from daemon.runtime.supervisor import Supervisor
from daemon.targets.registry import policy_of
from daemon.telemetry.metrics import Metrics
from storage.api_keys import ApiKeys
from storage.campaign_reads import CampaignReads
from storage.campaigns import Campaigns
from storage.cluster_reads import overview
from storage.engine import Connections, Database
from storage.errors import SchemaOutOfDate
from storage.idempotency import IdempotencyKeys
from storage.run_results import RunResults
from storage.schema import require_schema

PolicyOf = Callable[[str], RetryPolicy]
Ready = Callable[[], dict[str, str]]


def options_of(settings: Settings) -> Options:
    """The settings of [api] as the API takes them."""
    api = settings.api
    return Options(
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
    )


def api_server(
    settings: Callable[[], Settings],
    dsn: str,
    emit: Emit,
    *,
    ready: Ready = dict,
    policy_of: PolicyOf = lambda _target: RetryPolicy(),
    metrics: Metrics | None = None,
    tag: str | None = None,
) -> ApiServer:
    """The API's server; its connections are its own, so that requests take none from the firing.

    Args:
        settings: those in force.
        dsn: the database.
        emit: told of every request.
        ready: what else has to be "ok" for the node to be ready.
        policy_of: how patiently the runs of a target are tried again.
        metrics: where requests are counted.
        tag: of the node in whose process it serves; whoever takes over from it ends its sessions.
    """
    counted = metrics or Metrics(__version__)
    if metrics is None:
        counted.expect(settings().targets)

    def tell(event: str, /, **fields: Any) -> None:
        counted(event, **fields)
        emit(event, **fields)

    def backend() -> Backend:
        given = settings()
        database = Database(
            dsn,
            pool_size=given.api.pool_size,
            pool_timeout=given.database.pool_timeout,
            application_name=f"campaignd-api-{tag}" if tag else "campaignd-api",
            overflow=0,
            prepare=given.listen_database_url is None,
        )
        scheduler = given.scheduler

        def control(connections: Connections, *, commits: bool = False) -> CampaignService:
            return CampaignService(
                Campaigns(connections),
                continuous_interval=scheduler.continuous_interval,
                misfire_grace_time=scheduler.misfire_grace_time,
                runs=RunResults(connections),
                policy_of=policy_of,
                emit=tell,
                commits=commits,
            )

        async def checks() -> dict[str, str]:
            return {**await _database_checks(database), **ready()}

        return Backend(
            control=control(database, commits=True),
            reads=CampaignReads(database),
            keys=ApiKeys(database),
            receipts=IdempotencyKeys(database, control),
            ready=checks,
            metrics=counted.render,
            targets=lambda: settings().targets.keys(),
            close=database.close,
            overview=lambda: overview(database),
        )

    return ApiServer(options_of(settings()), backend, tell)


async def serve_alone(
    settings: Settings,
    dsn: str,
    emit: Emit,
    *,
    reload: Callable[[], Settings],
    apply_log: Callable[[Settings], None],
) -> int:
    """`campaignd api`: no scheduler in this process. The exit code.

    Args:
        settings: those to begin with.
        dsn: the database.
        emit: told of every request.
        reload: reads the configuration again, at SIGHUP. Raises ConfigurationError.
        apply_log: configures the log.
    """
    in_force = settings

    async def read_again() -> None:
        nonlocal in_force
        try:
            found = await asyncio.to_thread(reload)
        except Exception as error:
            emit("reload_failed", error=str(error))
            return
        apply_log(found)
        emit("reloaded", needs_restart=needs_restart(in_force, found) or None)
        in_force = found

    def policy_of_target(name: str) -> RetryPolicy:
        target = in_force.targets.get(name)
        return RetryPolicy() if target is None else policy_of(target)

    supervisor = Supervisor(read_again)
    supervisor.install()
    server = api_server(lambda: in_force, dsn, emit, policy_of=policy_of_target)
    server.bind()
    emit("starting", version=__version__, pid=os.getpid())
    try:
        if await _await_schema(settings, dsn, emit, supervisor.stop_asked):
            emit("ready")
            watching = asyncio.create_task(supervisor.watch([]), name="signals")
            try:
                await run_until(server, supervisor.stop_asked)
            finally:
                watching.cancel()
    finally:
        server.close()
        emit("stopped")
    return 0


async def _database_checks(database: Database) -> dict[str, str]:
    try:
        async with database.statement() as connection:
            await require_schema(connection)
    except Unavailable:
        return {"database": "can not be reached"}
    except SchemaOutOfDate as error:
        return {"database": "ok", "schema": f"{error.detail} ({error.hint})"}
    return {"database": "ok", "schema": "ok"}


async def _await_schema(settings: Settings, dsn: str, emit: Emit, stop: asyncio.Event) -> bool:
    """Wait for the database and check its schema; False if asked to stop meanwhile."""
    database = Database(dsn, pool_size=1)

    async def require() -> None:
        async with database.statement() as connection:
            await require_schema(connection)

    try:
        timeout = settings.scheduler.startup_timeout
        return await wait_for_database(require, timeout=timeout, stop=stop, emit=emit)
    finally:
        await database.close()
