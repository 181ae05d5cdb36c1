"""Errors that prevent a start, and outages that a running daemon survives."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.postgres import PostgresServer
from tests.support.processes import Daemons, Process
from tests.support.waiting import utc_now, wait_until

LEASE_S = 5
SOON = timedelta(seconds=4 * LEASE_S)
"""The lease, and time for a machine that is busy."""
DRAIN_S = 30


# --- errors at the start
# ---------------------------------------------------------------------------


def errors_of(process: Process) -> list[str]:
    """Return the lines on standard error that are not log lines."""
    lines = [line.decode() for line in process.lines]
    return [line for line in lines if not line.startswith("{")]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"scheduler__lease": "soon"}, "scheduler.lease"),
        ({"scheduler__leese": "5"}, "scheduler.lease"),
        ({"log__level": "loud"}, "log.level"),
        ({"listen_database_url": "mysql://localhost/x"}, "listen_database_url"),
    ],
)
def test_bad_configuration(daemons: Daemons, settings: dict[str, str], named: str) -> None:
    """Exit code 2, and one line that names the setting."""
    process = daemons.start(None, **settings)
    assert process.join() == 2
    (line,) = errors_of(process)
    assert line.startswith("campaignd: error: ")
    assert named in line.lower().replace("__", ".")
    assert len(process.lines) == 1


def test_unreachable_database(daemons: Daemons, tmp_path: Path) -> None:
    """The daemon waits for scheduler.startup_timeout, then ends with exit code 3."""
    url = f"postgresql://postgres@/campaignd?host={tmp_path}"
    process = daemons.start(url, scheduler__startup_timeout=2)
    process.wait_for("waiting_for_database")
    began = utc_now()
    assert process.join() == 3
    # Otherwise the setting has no effect: its default is 30 s.
    assert timedelta(seconds=1) < utc_now() - began < timedelta(seconds=20)
    (line,) = errors_of(process)
    assert line.startswith("campaignd: error: no database within 2 s: ")
    assert len(process.events_named("waiting_for_database")) == 1


def test_a_database_that_comes_in_time(daemons: Daemons, own_server: PostgresServer) -> None:
    """Started before its database, a daemon waits, and is ready once the database is."""
    own_server.end_by_signal(signal.SIGINT)
    process = daemons.start(own_server.url)
    try:
        process.wait_for("waiting_for_database")
    finally:
        own_server.start()
    process.wait_for("ready")
    assert process.stop() == 0


def test_no_schema(daemons: Daemons, empty_database_url: str) -> None:
    """A configured database is never migrated automatically: exit code 4."""
    process = daemons.start(empty_database_url)
    assert process.join() == 4
    (line,) = errors_of(process)
    assert "campaignd db upgrade" in line


@pytest.mark.parametrize("version", ["0000", "9999"])
def test_another_schema(daemons: Daemons, database: CampaignDatabase, version: str) -> None:
    """Older or newer than this release supports: exit code 4, and the version is named."""
    database.rows("UPDATE alembic_version SET version_num = %s", version)
    process = daemons.start(database.url)
    assert process.join() == 4
    (line,) = errors_of(process)
    assert version in line
    assert process.events_named("ready") == []


# --- outages of the database ----------------------------------------------------------------------


@pytest.fixture
def crashed_database(own_server: PostgresServer) -> Iterator[CampaignDatabase]:
    """The empty database of the server that will be crashed."""
    with CampaignDatabase(own_server.url) as found:
        found.rows("TRUNCATE campaigns, campaign_events, runs, nodes CASCADE")
        yield found


def immediate(server: PostgresServer) -> None:
    """Stop like `pg_ctl stop -m immediate`, which loses sessions like a crash."""
    server.end_by_signal(signal.SIGQUIT)


def fast(server: PostgresServer) -> None:
    """Stop like `pg_ctl stop`: a restart of the service."""
    server.end_by_signal(signal.SIGINT)


def killed(server: PostgresServer) -> None:
    """Kill the postmaster alone, by SIGKILL."""
    server.end_by_signal(signal.SIGKILL)


@pytest.mark.parametrize("crash", [immediate, fast, killed])
def test_database_goes_away(
    daemons: Daemons,
    own_server: PostgresServer,
    crashed_database: CampaignDatabase,
    crash: Callable[[PostgresServer], None],
) -> None:
    """The outage is logged once; events that came due meanwhile are claimed when it is over."""
    database = crashed_database
    begins = utc_now() + timedelta(seconds=2)
    for number in range(6):  # Some before, some within, some after the outage.
        database.add_one_offs(50, begins + timedelta(seconds=number))
    daemon = daemons.start_ready(own_server.url)
    database.wait_until("SELECT count(*) > 0 FROM runs")
    crash(own_server)
    try:
        lost = daemon.wait_for("database_lost")
        wait_until("the outage", lambda: utc_now() > begins + timedelta(seconds=3.5))
        assert daemon.process.poll() is None
    finally:
        own_server.start()
    back_at = utc_now()
    daemon.wait_for("database_back")

    with CampaignDatabase(own_server.url) as again:
        again.wait_until("SELECT count(*) = 300 FROM runs WHERE status = 'completed'")
        assert again.statuses() == {"completed": 300}
        assert again.one("SELECT max(attempt) FROM runs") <= 2
        due = max(back_at, begins + timedelta(seconds=5))
        last = again.one("SELECT max(finished_at) FROM runs")
        assert last - due < SOON
        check_histories(again)
    assert lost["level"] == "error"
    assert len(daemon.events_named("database_lost")) == 1
    assert len(daemon.events_named("database_back")) == 1
    assert len(daemon.events_named("listen_lost")) == 1
    assert daemon.stop() == 0


def test_every_connection_is_cut(daemons: Daemons, database: CampaignDatabase) -> None:
    """Repeatedly while a thousand campaigns fire: each one still has one run, which completes."""
    at = utc_now() + timedelta(seconds=3)
    for number in range(4):
        database.add_one_offs(250, at + timedelta(seconds=0.25 * number))
    daemon = daemons.start_ready(database.url)
    wait_until("the instant", lambda: utc_now() >= at)
    cut = """
        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name LIKE 'campaignd%%' AND datname = %s
    """
    name = psycopg.conninfo.conninfo_to_dict(database.url)["dbname"]
    for _ in range(20):
        database.one(cut, name)
    database.wait_until("SELECT count(*) = 1000 FROM runs WHERE status = 'completed'")
    assert database.statuses() == {"completed": 1000}
    check_histories(database)
    assert daemon.stop() == 0


def test_stops_while_the_database_is_away(daemons: Daemons, own_server: PostgresServer) -> None:
    """SIGTERM ends the daemon soon and with exit code 0, without a database to write to."""
    daemon = daemons.start_ready(own_server.url)
    own_server.end_by_signal(signal.SIGQUIT)
    try:
        daemon.wait_for("database_lost")
        began = utc_now()
        assert daemon.stop() == 0
        assert utc_now() - began < timedelta(seconds=DRAIN_S), "there is nothing to wait for"
    finally:
        own_server.start()


# --- a frozen daemon ------------------------------------------------------------------------------


def test_frozen_longer_than_its_lease(daemons: Daemons, database: CampaignDatabase) -> None:
    """Another node takes over its runs; awake again, the frozen node does no harm."""
    short = {"scheduler__lease": 2, "scheduler__heartbeat": 0.4}
    frozen = daemons.start_ready(database.url, node_name="frozen", **short)
    at = utc_now() + timedelta(seconds=2)
    database.add_one_offs(2000, at)
    wait_until("the instant", lambda: utc_now() >= at)
    database.wait_until("SELECT count(*) > 0 FROM runs")
    frozen.send_signal(signal.SIGSTOP)
    other = daemons.start_ready(database.url, node_name="other", **short)

    other.wait_for("node_lost")
    database.wait_until("SELECT count(*) = 2000 FROM runs WHERE status = 'completed'")
    before = database.rows("SELECT * FROM runs ORDER BY campaign_id")
    frozen.send_signal(signal.SIGCONT)
    frozen.wait_for("node_replaced")
    frozen.wait_for("shards_reassigned", nodes=2)

    soon = utc_now() + timedelta(seconds=1)
    database.add_one_offs(200, soon)  # Both nodes go on.
    database.wait_until("SELECT count(*) = 2200 FROM runs WHERE status = 'completed'")
    assert (
        database.rows("SELECT * FROM runs WHERE scheduled_for = %s ORDER BY campaign_id", at)
        == before
    )
    assert database.statuses() == {"completed": 2200}
    completions = database.one("SELECT count(*) FROM campaign_events WHERE event = 'run_ended'")
    assert completions == 2200
    check_histories(database)
    assert frozen.stop() == 0
    assert other.stop() == 0
