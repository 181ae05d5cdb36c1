"""`campaignd check`: whether `campaignd run` can start; one line for each precondition."""

from __future__ import annotations

import asyncio
import contextlib
import io
from datetime import date, timedelta
from typing import Annotated, Any

import typer

from config.dsn import redacted_dsn
from config.errors import ConfigurationError
from config.interpreter import interpreter_warning
from config.settings import Settings
from daemon.api_wiring import client_connections_allowed, descriptors_left_for_clients
from daemon.cli.context import CommandContext, context_of
from daemon.cli.store import command_timeout, open_database
from daemon.domain.errors import CampaigndError
from daemon.domain.schedule.zone_data import at_hand, describe, in_use
from daemon.runtime.clock import SystemClock
from daemon.runtime.descriptors import raised_open_file_limit
from daemon.targets.registry import build_all
from storage.engine import Database
from storage.errors import SchemaOutOfDate
from storage.notifications import Notifications
from storage.privilege_checks import require_privileges
from storage.schema import require_schema

MAX_AGE = timedelta(days=180)
"""Age from which time-zone data is likely to lack changes of law."""


def check(
    context: typer.Context,
    offline: Annotated[
        bool, typer.Option(help="Connect to nothing: only the configuration is checked.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="Print only what failed.")] = False,
) -> int:
    """Check the configuration, database, schema and targets.

    One line each, and one each for the time-zone data and the privileges of the database's role;
    exit code 1 if one of them failed. A warning does not count. Nothing is started or changed.
    Brokers of targets must answer.
    """
    options = context_of(context)
    if not quiet:
        return check_preconditions(options, offline=offline)
    with contextlib.redirect_stdout(io.StringIO()) as written:
        code = check_preconditions(options, offline=offline)
    print("\n".join(line for line in written.getvalue().splitlines() if line[:6] == "failed"))
    return code


def check_preconditions(
    options: CommandContext, *, is_new: bool = False, offline: bool = False
) -> int:
    """Print a line for each precondition; return the exit code.

    Args:
        options: the global options, which name the configuration.
        is_new: whether the configuration was just made: then a schema may still be missing.
        offline: whether neither the database nor a target is connected to.
    """
    try:
        settings = options.read_settings()
    except ConfigurationError as error:  # without settings nothing else can be checked
        for problem in error.problems:
            _print_result(False, "configuration", problem)
        return 1
    good = _print_result(True, "configuration")
    for file in options.find_exposed_files():
        print(f"warning configuration: {file}")
    if warning := interpreter_warning():
        print(f"warning interpreter: {warning}")
    _print_zone_data(SystemClock().now().date())
    if offline:
        return 0 if _print_target_faults(asyncio.run(_target_faults(settings, offline=True))) else 1
    fits = _check_open_files(settings)
    try:
        with options.provide_database(settings) as dsn:
            timeout = command_timeout(options, settings)
            good = asyncio.run(_check_database(settings, dsn, timeout, is_new))
    except CampaigndError as error:
        if is_new and settings.database_url is None:
            print(f"ok database: `campaignd run` makes it, embedded, in {settings.state_dir}")
        else:
            good = _print_failure("database", error)
    good = _print_target_faults(asyncio.run(_target_faults(settings))) and good
    return 0 if good and fits else 1


def _check_open_files(settings: Settings) -> bool:
    """Compare the limit of open files, as the daemon raises it, with what the settings need."""
    limit, wanted = raised_open_file_limit(), settings.api.max_connections
    if (left := descriptors_left_for_clients(settings, limit)) < 1:
        detail = f"{limit}; database connections and targets need {limit - left}"
        return _print_result(False, "open files", detail)
    allowed = client_connections_allowed(settings, limit) if settings.api.enabled else wanted
    if allowed == wanted:
        return _print_result(True, "open files", str(limit))
    print(
        f"warning open files: {limit}; api.max_connections is lowered from {wanted} to {allowed}"
        " (raise the hard limit of open files)"
    )
    return True


async def _check_database(settings: Settings, dsn: str, timeout: float, is_new: bool) -> bool:
    given = settings.database_url
    where = f"embedded, in {settings.state_dir}" if given is None else redacted_dsn(given)
    try:
        async with open_database(dsn, timeout) as database:
            async with database.statement() as connection:
                shown = await connection.exec_driver_sql("SHOW server_version")
                _print_result(True, "database", f"PostgreSQL {shown.scalar_one()}, {where}")
            listens = await _check_notifications(settings.listen_database_url, database)
            permits = await _check_privileges(database)
            return await _check_schema(database, is_new) and listens and permits
    except CampaigndError as error:
        return _print_failure("database", error)


async def _check_notifications(url: str | None, database: Database) -> bool:
    if url is None:
        return True
    try:
        arrives = await Notifications(url).receives_from(database)
    except CampaigndError as error:
        return _print_failure("listen_database_url", error)
    if arrives:
        return _print_result(True, "listen_database_url", redacted_dsn(url))
    return _print_result(
        False,
        "listen_database_url",
        f"{redacted_dsn(url)}: notifications of database_url do not arrive"
        " (name the same database, and no pooler)",
    )


async def _check_privileges(database: Database) -> bool:
    try:
        async with database.statement() as connection:
            role = await connection.run_sync(require_privileges)
    except CampaigndError as error:
        return _print_failure("privileges", error)
    return _print_result(True, "privileges", f"of the role {role}")


async def _check_schema(database: Database, is_new: bool) -> bool:
    try:
        async with database.statement() as connection:
            schema = await require_schema(connection)
    except SchemaOutOfDate as error:
        if is_new:
            print("ok schema: `campaignd db upgrade` makes it")
            return True
        return _print_failure("schema", error)
    except CampaigndError as error:
        return _print_failure("schema", error)
    return _print_result(True, "schema", str(schema))


def _print_zone_data(today: date) -> None:
    """Print the time-zone data in use, and a warning where better data is needed or at hand."""
    data, (newest, *_) = in_use(), [*at_hand(), None]
    what = f"timezone_data: {describe(data)}"
    if data is None or newest is None:
        print(f"warning {what}: install the package tzdata")
    elif today - newest.as_of > MAX_AGE:
        days = (today - newest.as_of).days
        print(
            f"warning {what}: at least {days} days old; update the system's or the package tzdata"
        )
    elif newest.release > data.release:
        print(f"warning {what}: newer is {describe(newest)}")
    else:
        others = [describe(other) for other in at_hand() if other.source is not data.source]
        print(f"ok {what}{''.join(f'; also at hand: {other}' for other in others)}")


def _print_target_faults(faults: list[tuple[str, str | None]]) -> bool:
    results = [_print_result(not fault, f"target {name}", fault or "") for name, fault in faults]
    return all(results)


async def _target_faults(
    settings: Settings, *, offline: bool = False
) -> list[tuple[str, str | None]]:
    """Return each target with the error of building or checking it, or None."""
    return list(
        zip(
            settings.targets,
            await asyncio.gather(
                *(_target_fault(*each, offline) for each in settings.targets.items())
            ),
            strict=True,
        )
    )


async def _target_fault(name: str, settings: Any, offline: bool) -> str | None:
    try:
        ((target, _, _),) = build_all({name: settings}, _emit_nothing).values()
        try:
            if not offline:
                await target.check()
        finally:
            await target.close()
    except Exception as error:  # a plug-in may raise anything
        return str(error)
    return None


def _emit_nothing(event: str, /, **fields: object) -> None:
    """Log nothing."""


def _print_failure(what: str, error: CampaigndError) -> bool:
    hint = f" ({error.hint})" if error.hint else ""
    return _print_result(False, what, error.detail + hint)


def _print_result(good: bool, what: str, detail: str = "") -> bool:
    one_line = " ".join(detail.split())
    print(("ok " if good else "failed ") + what + (f": {one_line}" if detail else ""))
    return good
