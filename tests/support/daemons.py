"""What the acceptance tests are made of: real processes, a real server, and waits that end.

Nothing here sleeps to let something happen: every wait is for an event or a row, with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from daemon.campaign_service import CampaignService, CommandResult
from daemon.domain.schedule.timezones import tzdata_version
from storage.bulk.importer import Importer
from storage.bulk.planner import ScheduleDefaults
from storage.campaigns import Campaigns
from storage.engine import Database

CAMPAIGND = Path(sys.executable).with_name("campaignd")
LOOK_EVERY_S = 0.02
PATIENCE_S = 60.0
"""Until a wait is given up: as long as nothing takes on the slowest and busiest machine."""
_PIPE_BYTES = 1 << 20
"""Room for the log of a burst, so that the daemon never waits for the test to read it."""


def utc_now() -> datetime:
    """This machine's clock, which in these tests is the server's too."""
    return datetime.now(UTC)


def free_port() -> int:
    """A port that nobody listens at, of those that no outgoing connection is given."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(what: str, holds: Callable[[], object], within: float = PATIENCE_S) -> Any:
    """The first true value of ``holds``; AssertionError if there is none in time."""
    deadline = time.monotonic() + within
    while not (value := holds()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(LOOK_EVERY_S)
    return value


class Process:
    """``campaignd ...`` as a child of the test, its standard error read as it comes."""

    def __init__(
        self,
        *arguments: str,
        env: dict[str, str],
        cwd: Path,
        stderr: int | None = None,
        program: Sequence[str | Path] = (CAMPAIGND,),
    ) -> None:
        self.lines: list[bytes] = []
        self._more = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [*program, *arguments],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if stderr is None else stderr,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self._reader: threading.Thread | None = None
        if self.process.stderr is not None:
            fcntl.fcntl(self.process.stderr, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        descriptor = self.process.stderr.fileno()
        rest = b""
        while chunk := os.read(descriptor, _PIPE_BYTES):
            *whole, rest = (rest + chunk).split(b"\n")
            with self._more:
                self.lines += whole
                self._more.notify_all()
        with self._more:
            self.lines += [rest] if rest else []
            self._ended = True
            self._more.notify_all()

    def wait_for(
        self,
        event: str,
        within: float = PATIENCE_S,
        *,
        after: int = 0,
        **fields: object,
    ) -> dict[str, Any]:
        """The first line of that event, from line number ``after`` on, with those fields."""
        mark = f'"event":"{event}"'.encode()
        deadline = time.monotonic() + within
        seen = after
        with self._more:
            while True:
                for line in self.lines[seen:]:
                    if mark in line:
                        told = json.loads(line)
                        if told.items() >= fields.items():
                            return dict(told)
                seen = len(self.lines)
                left = deadline - time.monotonic()
                assert left > 0, f"no {event} {fields} within {within} s:\n{self.tail()}"
                assert not self._ended, f"ended without {event} {fields}:\n{self.tail()}"
                self._more.wait(left)

    def events(self, event: str) -> list[dict[str, Any]]:
        """Every line of that event so far."""
        mark = f'"event":"{event}"'.encode()
        with self._more:
            return [json.loads(line) for line in self.lines if mark in line]

    def mark(self) -> int:
        """How many lines there are now, as ``after`` for later waits."""
        with self._more:
            return len(self.lines)

    def tail(self) -> str:
        """The last lines, for a failure's message."""
        return "\n".join(line[:300].decode(errors="replace") for line in self.lines[-10:])

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone."""
        self.process.kill()
        self.join()

    def stop(self, within: float = PATIENCE_S) -> int:
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        return self.join(within)

    def join(self, within: float = PATIENCE_S) -> int:
        """Wait for the end and for the last line; the exit code."""
        code = self.process.wait(within)
        if self._reader is not None and self.process.stderr is not None:
            self._reader.join(within)
            self.process.stderr.close()
        return code

    def end(self) -> None:
        """For teardown: gone, whatever state it is in."""
        self.process.kill()
        self.join()


class Daemons:
    """Starts processes for one test, and ends them after it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[Process] = []

    def environment(self, database_url: str | None = None, **settings: object) -> dict[str, str]:
        """The environment of a process: settings by their name with two underscores."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("CAMPAIGND_")}
        env |= {
            "CAMPAIGND_API__ENABLED": "false",
            "CAMPAIGND_STATE_DIR": str(self.directory / "state"),
            "TZ": "America/St_Johns",
            "PYTHONWARNINGS": "error",
        }
        if database_url is not None:
            env["CAMPAIGND_DATABASE_URL"] = database_url
        for name, value in settings.items():
            env[name if name.isupper() else f"CAMPAIGND_{name.upper()}"] = str(value)
        return env

    def run(
        self,
        database_url: str | None,
        *arguments: str,
        stderr: int | None = None,
        **settings: object,
    ) -> Process:
        """``campaignd run`` with these settings, just started."""
        return self.command(
            "run",
            *arguments,
            stderr=stderr,
            env=self.environment(database_url, **settings),
        )

    def command(
        self,
        *arguments: str,
        env: dict[str, str],
        stderr: int | None = None,
        program: Sequence[str | Path] = (CAMPAIGND,),
    ) -> Process:
        """Any command, just started."""
        process = Process(*arguments, env=env, cwd=self.directory, stderr=stderr, program=program)
        self._started.append(process)
        return process

    def load(self, database_url: str, lines: Iterable[dict[str, Any]], **settings: object) -> None:
        """``campaignd import`` with these settings, done."""
        loaded = subprocess.run(
            [CAMPAIGND, "import", "-"],
            env=self.environment(database_url, **settings),
            cwd=self.directory,
            input="\n".join(json.dumps(line) for line in lines),
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )
        assert loaded.returncode == 0, loaded.stderr

    def ready(self, database_url: str | None, *arguments: str, **settings: object) -> Process:
        """``campaignd run``, once it is ready."""
        process = self.run(database_url, *arguments, **settings)
        process.wait_for("ready")
        return process

    def ready_before(
        self,
        world: World,
        store: Callable[[datetime], object],
        ahead: float,
        **settings: object,
    ) -> tuple[Process, datetime]:
        """A daemon that is ready before what it finds stored falls due, and when that is.

        ``store`` is told the instant, some seconds ahead. Should the machine be too slow for that,
        all is done once more, with twice the time.
        """
        while True:
            at = utc_now() + timedelta(seconds=ahead)
            try:
                store(at)
            except AssertionError:  # such as an import's, of what is past by now
                if utc_now() < at:
                    raise
            else:
                process = self.ready(world.url, **settings)
                if utc_now() < at:
                    return process, at
                process.kill()
            world.clear()
            ahead *= 2

    def end(self) -> None:
        """End every process that was started."""
        for process in self._started:
            process.end()


class World:
    """One database as operators see it, and what is put into it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(
            url, autocommit=True, row_factory=dict_row, application_name="test"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def rows(self, statement: str, *binds: object) -> list[dict[str, Any]]:
        """All rows, of a statement that has any."""
        done = self.connection.execute(statement.encode(), binds or None)
        return done.fetchall() if done.description else []

    def one(self, statement: str, *binds: object) -> Any:
        """The only column of the only row."""
        (row,) = self.rows(statement, *binds)
        (value,) = row.values()
        return value

    def until(self, statement: str, *binds: object, within: float = PATIENCE_S) -> Any:
        """The statement's one value, once it is true."""
        return wait_until(statement, lambda: self.one(statement, *binds), within)

    def clear(self) -> None:
        """No campaign, no run and no node any more."""
        self.rows("TRUNCATE campaigns, campaign_events, runs, nodes CASCADE")

    def statuses(self, table: str = "campaigns") -> dict[str, int]:
        """How many rows have each status."""
        counted = self.rows(f"SELECT status, count(*) AS many FROM {table} GROUP BY status")
        return {row["status"]: row["many"] for row in counted}

    def add_one_offs(self, count: int, at: datetime, *, grace: int = 3600) -> range:
        """Scheduled one-off campaigns, all due at one instant; their ids.

        Three statements rather than one: a foreign key is checked row by row, within memory.
        """
        binds = {"count": count, "at": at, "grace": grace, "tzdata": tzdata_version()}
        with self.connection.transaction():
            ids = self.connection.execute(
                """
                SELECT min(id) AS first, max(id) AS last FROM (
                    SELECT nextval(pg_get_serial_sequence('campaigns', 'id')) AS id
                    FROM generate_series(1, %(count)s::integer)
                ) AS drawn
                """,
                binds,
            ).fetchone()
            assert ids is not None
            for statement in _ONE_OFFS:
                self.connection.execute(statement, {**binds, **ids})
        assert ids["last"] - ids["first"] == count - 1
        return range(ids["first"], ids["last"] + 1)

    def load(self, lines: Iterable[dict[str, Any]]) -> None:
        """Campaigns with schedules, as ``campaignd import`` takes them."""
        bad: list[str] = []

        async def load() -> None:
            database = Database(self.url)
            loader = Importer(
                database,
                actor="test",
                settings=ScheduleDefaults(),
                report=lambda number, reason: bad.append(f"{number}: {reason}"),
            )
            try:
                await loader.load(json.dumps(line).encode() for line in lines)
            finally:
                await database.close()

        asyncio.run(load())
        assert not bad, bad[:3]

    def control(
        self, act: Callable[[CampaignService], Coroutine[Any, Any, CommandResult]]
    ) -> CommandResult:
        """One command of a person, from another process than the daemon's."""

        async def do() -> CommandResult:
            database = Database(self.url)
            try:
                return await act(CampaignService(Campaigns(database)))
            finally:
                await database.close()

        return asyncio.run(do())


_ONE_OFFS = (
    """
    INSERT INTO campaigns (id, name, type, status, more_to_come)
    SELECT id, 'campaign ' || id, 'one_time', 'scheduled', true
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS id
    """,
    """
    INSERT INTO schedule_definitions (
        campaign_id, revision, source, body, kind, timezone, tzdata, anchor_at, anchor_local,
        misfire_grace_time, "coalesce", overlap)
    SELECT id, nextval('schedule_revision_seq'), 'schedule', '{}', 'once', 'UTC', %(tzdata)s,
           %(at)s::timestamptz, %(at)s::timestamptz AT TIME ZONE 'UTC', %(grace)s, true, 'skip'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS id
    """,
    """
    INSERT INTO timers (campaign_id, revision, fire_at, local, kind)
    SELECT campaign_id, revision, anchor_at, anchor_local, 'fire'
    FROM schedule_definitions
    WHERE campaign_id BETWEEN %(first)s::bigint AND %(last)s::bigint
    """,
)
