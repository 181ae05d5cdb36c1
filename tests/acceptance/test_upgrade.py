"""Two releases work on one database while its schema is changed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from storage.schema import HEAD
from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.processes import Daemons, Process
from tests.support.releases import AFTER_NEXT, NEXT, Release, next_release, release_after_next
from tests.support.waiting import PATIENCE_S, utc_now

SECONDS = 20
"""Seconds of work, more if commands take longer than a second."""
ONE_OFFS_A_SECOND = 10
WINDOWS = 4


@pytest.fixture
def bare(empty_database_url: str) -> Iterator[CampaignDatabase]:
    """A database without a schema."""
    with CampaignDatabase(empty_database_url) as database:
        yield database


@pytest.fixture
def this(tmp_path: Path, daemons: Daemons) -> Release:
    """This release, like any other one."""
    return Release(tmp_path / "this", "1.0.0", daemons)


@pytest.fixture
def pair(tmp_path: Path, daemons: Daemons, this: Release) -> tuple[Release, Release]:
    """This release and the one after it."""
    return this, next_release(tmp_path / "next", daemons)


def done(release: Release, database: CampaignDatabase, *arguments: str, **more: Any) -> str:
    """Run one of the release's commands, which must succeed; return its output."""
    called = release.run_command(database.url, *arguments, **more)
    assert called.returncode == 0, called.stderr
    return called.stdout


def started(release: Release, database: CampaignDatabase, daemons: Daemons, name: str) -> Process:
    return daemons.start_ready(
        database.url, node_name=name, scheduler__continuous_interval=1, **release.settings
    )


def campaigns(start: datetime, seconds: int) -> Iterator[dict[str, Any]]:
    """Yield one-offs and windows that are due all the time for some seconds."""
    for second in range(seconds):
        for number in range(ONE_OFFS_A_SECOND):
            at = start + timedelta(seconds=second, milliseconds=100 * number)
            body = {"schedule_type": "scheduled", "scheduled_at": at.isoformat()}
            yield {"campaign": {"name": "one-off", "type": "one_time"}, "schedule": body}
    end = start + timedelta(seconds=seconds)
    window = {"startdate": start.isoformat(), "enddate": end.isoformat()}
    window |= {"recurring_schedule": "continuously", "overlap": "allow", "coalesce": False}
    for number in range(WINDOWS):
        kind = {"name": f"window {number}", "type": "segment_triggered", "status": "scheduled"}
        yield {"campaign": kind, "schedule": window}


def later(seconds: float) -> str:
    """Return the body of a one-off ``seconds`` from now."""
    at = utc_now() + timedelta(seconds=seconds)
    return json.dumps({"schedule_type": "scheduled", "scheduled_at": at.isoformat()})


def edited(release: Release, database: CampaignDatabase) -> str:
    """Create, schedule, pause, move and start a campaign by commands; return its uuid."""
    uuid = str(uuid4())
    line = {"uuid": uuid, "name": f"edited by {release.version}", "status": "draft"}
    done(release, database, "import", "-", given=json.dumps({"campaign": line}))
    began = time.monotonic()
    done(release, database, "schedule", uuid, "-", given=later(3600))
    took = time.monotonic() - began
    done(release, database, "pause", uuid)
    done(release, database, "start", uuid)
    done(release, database, "schedule", uuid, "-", given=later(max(6, 15 * took)))
    return uuid


@pytest.mark.slow
def test_two_releases_share_a_database(
    pair: tuple[Release, Release], bare: CampaignDatabase, daemons: Daemons
) -> None:
    """Migrated while the older one fires; then both fire and edit, and either may be restarted."""
    older, newer = pair
    done(older, bare, "db", "upgrade")
    began = time.monotonic()
    first = started(older, bare, daemons, "older")
    slow = max(1.0, time.monotonic() - began)  # The other commands are as slow.
    seconds = round(SECONDS * slow)
    start = (utc_now() + timedelta(seconds=8 * slow)).replace(microsecond=0)
    lines = "\n".join(json.dumps(line) for line in campaigns(start, seconds))
    done(older, bare, "import", "-", given=lines, scheduler__continuous_interval=1)
    bare.wait_until("SELECT count(*) > 10 FROM runs WHERE status = 'completed'")

    done(newer, bare, "db", "upgrade")
    newer_schema = first.wait_for("schema_newer")
    assert newer_schema["schema"] == bare.one("SELECT version_num FROM alembic_version")
    second = started(newer, bare, daemons, "newer")
    migrated = utc_now()
    for name in ("older", "newer"):
        claimed = "SELECT count(*) > 0 FROM runs WHERE claimed_at > %s AND node LIKE %s"
        bare.wait_until(claimed, migrated, f"{name}-%")
    with ThreadPoolExecutor() as pool:
        uuids = list(pool.map(lambda release: edited(release, bare), pair))
        shown = pool.map(
            lambda words: done(older, bare, *words),
            (["check"], ["status"], ["db", "current"], ["db", "upgrade"]),
        )
        assert [("compatible since" in text) for text in shown] == [True] * 4
        for release in pair:
            listed = done(release, bare, "campaigns", "--json")
            assert [uuid in listed for uuid in uuids] == [True, True]
            assert done(release, bare, "runs", "--status", "failed", "--json") == ""

    assert first.stop() == 0
    again = started(older, bare, daemons, "again")
    assert len(again.events_named("schema_newer")) == 1
    bare.wait_until(
        "SELECT count(*) = 0 FROM campaigns WHERE status <> 'completed'",
        within=seconds + PATIENCE_S,
    )
    for process in (second, again):
        assert process.stop() == 0
    assert len(first.events_named("schema_newer")) == 1
    versions = [each.events_named("starting")[0]["version"] for each in (first, second, again)]
    assert versions == [older.version, newer.version, older.version]
    _check(bare, start, seconds, [first, second, again])


def _check(
    database: CampaignDatabase, start: datetime, seconds: int, processes: list[Process]
) -> None:
    """Check that each occurrence ran once and was logged once."""
    assert database.statuses("runs").keys() == {"completed"}
    runs = database.rows("SELECT r.*, c.name FROM runs r JOIN campaigns c ON c.id = r.campaign_id")
    assert {run["attempt"] for run in runs} == {1}
    one_offs = Counter(run["scheduled_for"] for run in runs if run["name"] == "one-off")
    assert len(one_offs) == seconds * ONE_OFFS_A_SECOND
    assert set(one_offs.values()) == {1}
    every = {start + timedelta(seconds=number) for number in range(seconds + 1)}
    windows = Counter(run["scheduled_for"] for run in runs if run["name"].startswith("window"))
    assert windows == dict.fromkeys(every, WINDOWS)
    finished = [line["run_id"] for each in processes for line in each.events_named("run_finished")]
    assert Counter(finished) == Counter(str(run["id"]) for run in runs)
    for process in processes:
        for event in ("service_failed", "claim_failed", "node_replaced"):
            assert process.events_named(event) == []
        # A migration of every table may wait for a transaction that locks some of them.
        for line in process.events_named("database_lost"):
            assert line["error"].startswith("deadlock detected")
    check_histories(database)


@pytest.mark.slow
def test_a_contracting_migration_waits_for_the_last_node_that_needs_it(
    bare: CampaignDatabase, daemons: Daemons, this: Release, tmp_path: Path
) -> None:
    """A contracting migration is refused while a node works that needs what it removes."""
    newest = release_after_next(tmp_path / "newest", daemons)
    done(this, bare, "db", "upgrade")
    process = started(this, bare, daemons, "this")
    refused = newest.run_command(bare.url, "db", "upgrade")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "node this (release 1.0.0, which knows" in line
    assert bare.one("SELECT version_num FROM alembic_version") == HEAD
    assert process.stop() == 0

    assert done(newest, bare, "db", "upgrade") == f"schema {HEAD} -> {AFTER_NEXT}\n"
    kept = {row["version"]: row["compatible_since"] for row in bare.rows("TABLE schema_versions")}
    assert {HEAD, NEXT, AFTER_NEXT} <= kept.keys()
    assert kept[AFTER_NEXT] == NEXT
    for command in (["run"], ["status"], ["db", "upgrade"], ["api"]):
        called = this.run_command(bare.url, *command)
        assert called.returncode == 4, called.stderr
        line = called.stderr.splitlines()[-1]
        assert f"needs a release that knows {NEXT} or later; this one knows {HEAD}" in line
    called = this.run_command(bare.url, "check")
    assert called.returncode == 1
    assert f"failed schema: the database's schema is version {AFTER_NEXT}" in called.stdout


def test_a_daemon_ends_when_the_schema_is_taken_away_under_it(
    bare: CampaignDatabase, daemons: Daemons, this: Release
) -> None:
    """After a forced migration the daemon stops within seconds, with its own exit code."""
    done(this, bare, "db", "upgrade")
    process = started(this, bare, daemons, "this")
    with psycopg.connect(bare.url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [AFTER_NEXT])
        connection.execute("INSERT INTO schema_versions VALUES (%s, %s)", [AFTER_NEXT, NEXT])
    assert process.join() == 4
    (failed,) = process.events_named("service_failed")
    assert failed["service"] == "schema_watch"
    assert "this one knows" in process.lines[-1].decode()
