"""The PostgreSQL server and the databases that the measurements use."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import psycopg

from storage.embedded import embedded_postgres

Measured = TypeVar("Measured")
MAX_WAIT_S = 300
TRIES = 3
"""How often a measurement is started on a machine that is too slow to be ready in time."""
SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
"""Server settings that every result names, because the figures depend on them."""


def argument_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with a script's docstring as its help, and the option `--url`."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--url", help="PostgreSQL server to use, as a superuser (default: a new embedded server)"
    )
    return parser


class TooSlow(SystemExit):
    """The machine was not ready before the instant; another try may be."""


class StillFalse(SystemExit):
    """What was waited for did not come."""


@contextmanager
def server(url: str | None = None) -> Iterator[str]:
    """Yield the given server's URL, or start an embedded server with default durability."""
    if url is not None:
        yield url
        return
    # Without a handler, SIGTERM would leave the embedded server running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    top = Path(tempfile.mkdtemp(prefix="campaignd-bench-"))
    top.chmod(0o711)
    try:
        with embedded_postgres(top) as embedded_url:
            yield embedded_url
    finally:
        shutil.rmtree(top, ignore_errors=True)


@contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """Create an empty database on the server, yield its URL, and drop the database."""
    name = f"{name}_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def in_new_database(url: str, name: str, measure: Callable[..., Measured], lead: float) -> Measured:
    """Measure with the URL of a new database; try again with a longer lead on a slow machine.

    Args:
        url: the server.
        name: the beginning of the database's name.
        measure: takes the URL, and `lead`.
        lead: seconds until the instant of the measurement, at the first try.

    Raises:
        TooSlow: the machine was too slow each time.
    """
    for number in range(TRIES):
        try:
            with database(url, name) as own:
                return measure(own, lead=lead * 2**number)
        except TooSlow as why:
            slow = why
            print(f"  {why}", flush=True)
    raise slow


def scalar(connection: psycopg.Connection[Any], statement: str, *binds: Any) -> Any:
    """Return the first column of the first row."""
    row = connection.execute(statement.encode(), binds or None).fetchone()
    assert row is not None
    return row[0]


def server_settings(url: str) -> dict[str, str]:
    """Return the server's version and the settings that determine durability."""
    with psycopg.connect(url) as connection:
        return {name: scalar(connection, f"SHOW {name}") for name in SHOWN}


def vacuum(connection: psycopg.Connection[Any]) -> None:
    """Vacuum, analyse and checkpoint, so that no system pays for what another one wrote."""
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


def wait_until(
    connection: psycopg.Connection[Any],
    statement: str,
    *binds: Any,
    poll_s: float,
    within_s: float = MAX_WAIT_S,
) -> float:
    """Poll until the statement's value is true; return the wall-clock time of that poll.

    A completion that another connection sees is durable.

    Raises:
        StillFalse: the value is still false after `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while not scalar(connection, statement, *binds):
        if time.monotonic() > deadline:
            raise StillFalse(f"still false after {within_s:.0f} s: {statement} {binds or ''}")
        time.sleep(poll_s)
    return time.time()


def poll_interval(count: int) -> float:
    """Return seconds between polls of a burst: short for the figure's sake, cheap if it is long."""
    return min(0.02, max(0.005, count / 1_000_000))


def sleep_until(instant: float) -> None:
    """Sleep until a wall-clock time."""
    while (left := instant - time.time()) > 0:
        time.sleep(left)


def require_time_until(instant: float, name: str) -> None:
    """Raise TooSlow if an instant has passed before a system was ready for it."""
    if time.time() > instant:
        raise TooSlow(f"{name}: the machine was too slow to be ready in time")


def utc(instant: float) -> datetime:
    """Return a wall-clock time as an aware datetime."""
    return datetime.fromtimestamp(instant, UTC)
