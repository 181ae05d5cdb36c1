"""An edit in another process reaches a running daemon within a second."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.postgres import set_unusual_settings
from tests.support.processes import CAMPAIGND, Daemons, Process
from tests.support.waiting import PATIENCE_S, utc_now

SOON = timedelta(seconds=1.5)
FAR = timedelta(hours=1)
MARGIN = 20
"""Time for the edits that must come before an instant, as a multiple of the time of one edit."""
LATE_AT_MOST = timedelta(seconds=1)
ACTOR = "operator"


@pytest.fixture(params=["notified", "polled"])
def daemon(
    request: pytest.FixtureRequest, daemons: Daemons, database: CampaignDatabase
) -> Iterator[Process]:
    """Start a daemon that is notified of edits, or one that must find them by polling.

    The second one listens in another database, where no edit is notified.
    """
    settings = {}
    if request.param == "polled":
        settings["listen_database_url"] = _other_database(database.url)
    started = daemons.start_ready(database.url, **settings)
    yield started
    assert started.stop() == 0
    assert started.events_named("claim_failed") == []
    assert started.events_named("database_lost") == []
    assert len(started.events_named("listen_elsewhere")) == (request.param == "polled")
    check_histories(database)


def _other_database(url: str) -> str:
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/postgres?{query}"


def create(
    database: CampaignDatabase, body: dict[str, Any] | None = None, *, type_: str = "one_time"
) -> UUID:
    """Create a campaign, with the ``schedule`` body if one is given."""
    uuid = uuid4()
    line: dict[str, Any] = {
        "campaign": {"uuid": str(uuid), "name": "edited", "type": type_, "status": "draft"}
    }
    database.import_campaigns([line])
    if body is not None:
        database.run_command(lambda control: control.save_schedule(uuid, body, ACTOR))
    return uuid


def at(instant: datetime) -> dict[str, Any]:
    """Return the ``schedule`` body of a one-off."""
    return {"schedule_type": "scheduled", "scheduled_at": instant.isoformat()}


def lead(database: CampaignDatabase) -> timedelta:
    """Return how far ahead an instant must be, so that edits come before it on this machine."""
    began = time.monotonic()
    create(database, at(utc_now() + FAR))
    return max(SOON, timedelta(seconds=MARGIN * (time.monotonic() - began)))


def wait_for_runs_after(database: CampaignDatabase, instant: datetime) -> None:
    """Wait until another campaign, due half a second after that instant, has run."""
    later = create(database, at(instant + timedelta(seconds=0.5)))
    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE uuid = %s", later)


def run_of(database: CampaignDatabase, uuid: UUID) -> dict[str, Any]:
    """Return the only run of a campaign."""
    (run,) = database.rows(
        "SELECT r.* FROM runs r JOIN campaigns c ON c.id = r.campaign_id WHERE c.uuid = %s", uuid
    )
    return run


def status_of(database: CampaignDatabase, uuid: UUID) -> str:
    """Return the status of a campaign."""
    return str(database.one("SELECT status FROM campaigns WHERE uuid = %s", uuid))


@pytest.mark.alone
def test_moved_earlier_fires_at_the_new_time(daemon: Process, database: CampaignDatabase) -> None:
    """An hour ahead, then moved to 1.5 s ahead."""
    uuid = create(database, at(utc_now() + FAR))
    soon = utc_now() + SOON
    database.run_command(lambda control: control.save_schedule(uuid, at(soon), ACTOR))

    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE uuid = %s", uuid)
    run = run_of(database, uuid)
    assert run["scheduled_for"] == soon
    assert run["started_at"] - soon < timedelta(milliseconds=200)


def test_moved_later_does_not_fire_at_the_old_time(
    daemon: Process, database: CampaignDatabase
) -> None:
    """The campaign was loaded already; the claim finds that it is not due any more."""
    ahead = lead(database)
    soon = utc_now() + ahead
    uuid = create(database, at(soon))
    database.run_command(lambda control: control.save_schedule(uuid, at(utc_now() + FAR), ACTOR))

    wait_for_runs_after(database, soon)
    assert status_of(database, uuid) == "scheduled"
    assert database.one("SELECT count(*) FROM runs") == 1, "only the other one's"


def test_paused_is_missed_and_started_again_runs_on(
    daemon: Process, database: CampaignDatabase
) -> None:
    """An occurrence that passes while paused has a row; the next one after the start fires."""
    ahead = lead(database)
    soon = utc_now() + ahead
    uuid = create(database, at(soon))
    assert database.run_command(lambda control: control.pause(uuid, ACTOR)).to_status == "paused"

    line = daemon.wait_for("run_missed", campaign_uuid=str(uuid))
    assert line["level"] == "warning"
    run = run_of(database, uuid)
    assert (run["status"], run["scheduled_for"], run["attempt"]) == ("missed", soon, 0)
    assert status_of(database, uuid) == "paused"

    again = utc_now() + ahead
    database.run_command(lambda control: control.save_schedule(uuid, at(again), ACTOR))
    assert database.run_command(lambda control: control.start(uuid, ACTOR)).next_run_at == again
    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE uuid = %s", uuid)
    assert database.statuses("runs") == {"missed": 1, "completed": 1}


def test_stopped_is_cancelled_and_never_runs(daemon: Process, database: CampaignDatabase) -> None:
    """A stopped campaign has nothing left to do."""
    ahead = lead(database)
    soon = utc_now() + ahead
    uuid = create(database, at(soon))
    database.run_command(lambda control: control.stop(uuid, ACTOR))

    wait_for_runs_after(database, soon)
    assert status_of(database, uuid) == "cancelled"
    assert database.one("SELECT count(*) FROM runs") == 1, "only the other one's"


@pytest.mark.alone
def test_started_without_a_schedule_runs_now(daemon: Process, database: CampaignDatabase) -> None:
    """One run at once, and another one when it is run again."""
    uuid = create(database)
    asked = utc_now()
    database.run_command(lambda control: control.start(uuid, ACTOR))
    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE uuid = %s", uuid)
    assert run_of(database, uuid)["finished_at"] - asked < LATE_AT_MOST + timedelta(seconds=0.5)

    asked = utc_now()
    database.run_command(lambda control: control.rerun(uuid, ACTOR))
    database.wait_until("SELECT count(*) = 2 FROM runs WHERE status = 'completed'")
    last = database.one("SELECT max(finished_at) FROM runs")
    assert last - asked < LATE_AT_MOST + timedelta(seconds=0.5)


@pytest.mark.alone
def test_a_draft_is_started_with_its_window(daemon: Process, database: CampaignDatabase) -> None:
    """The update_schedule body saves a window on a draft; started, it opens, runs daily, and
    closes.
    """
    uuid = create(database, type_="segment_triggered")
    start = utc_now() + SOON
    body = {"startdate": start.isoformat(), "enddate": (start + SOON).isoformat()}
    database.run_command(lambda control: control.update_schedule(uuid, body, ACTOR))
    assert status_of(database, uuid) == "draft"
    database.run_command(lambda control: control.start(uuid, ACTOR))

    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE uuid = %s", uuid)
    assert run_of(database, uuid)["scheduled_for"] == start
    closed = database.one("SELECT at FROM campaign_events WHERE event = 'window_closed'")
    assert timedelta(0) <= closed - (start + SOON) < LATE_AT_MOST


@pytest.mark.slow
def test_the_command_line_steers_a_running_daemon(
    daemons: Daemons, database: CampaignDatabase
) -> None:
    """Schedule, pause, start and stop, each from a process of its own."""
    daemon = daemons.start_ready(database.url)
    env = daemons.environment(database.url)
    moved, paused, stopped = (create(database, at(utc_now() + FAR)) for _ in range(3))

    def campaignd(*arguments: str, given: str = "") -> None:
        command = [CAMPAIGND, *arguments]
        done = subprocess.run(
            command, input=given, env=env, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr

    # The other five commands must come before this instant.
    began = time.monotonic()
    campaignd("schedule", str(moved), given=json.dumps(at(utc_now() + FAR)))
    soon = utc_now() + timedelta(seconds=max(6, 12 * (time.monotonic() - began)))
    for uuid in (paused, stopped, moved):
        campaignd("schedule", str(uuid), given=json.dumps(at(soon)))
    campaignd("pause", str(paused))
    campaignd("stop", str(stopped))
    left = (soon - utc_now()).total_seconds()
    assert left > 0, "the machine was too slow"

    done = "SELECT status = 'completed' FROM campaigns WHERE uuid = %s"
    database.wait_until(done, moved, within=left + PATIENCE_S)
    run = run_of(database, moved)
    assert (run["scheduled_for"], run["attempt"]) == (soon, 1)
    assert run["started_at"] >= soon
    daemon.wait_for("run_missed", campaign_uuid=str(paused))
    assert run_of(database, paused)["status"] == "missed"
    assert status_of(database, stopped) == "cancelled"
    assert database.one("SELECT count(*) FROM runs") == 2
    assert daemon.stop() == 0
    check_histories(database)


@pytest.mark.alone
def test_a_lost_listener_is_opened_again(daemons: Daemons, database: CampaignDatabase) -> None:
    """Its connection is cut: a warning but no outage; an edit still counts within a second."""
    daemon = daemons.start_ready(database.url)
    uuid = create(database, at(utc_now() + FAR))
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    assert database.one(f"{cut} AND datname = current_database()", "campaignd-listen") is True
    soon = utc_now() + timedelta(seconds=1)
    database.run_command(lambda control: control.save_schedule(uuid, at(soon), ACTOR))

    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE uuid = %s", uuid)
    assert run_of(database, uuid)["started_at"] - soon < LATE_AT_MOST
    assert daemon.wait_for("listen_lost")["level"] == "warning"
    listening = "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = %s"
    database.wait_until(f"{listening} AND datname = current_database()", "campaignd-listen")
    assert daemon.stop() == 0
    assert daemon.events_named("database_lost") == []


def test_a_daemon_that_cannot_listen_is_ready(daemons: Daemons, database: CampaignDatabase) -> None:
    """It warns, and finds edits by polling."""
    nowhere = "postgresql://127.0.0.1:1/nothing"
    daemon = daemons.start_ready(database.url, listen_database_url=nowhere)
    assert daemon.wait_for("listen_lost")["level"] == "warning"
    uuid = create(database, at(utc_now() + SOON))
    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE uuid = %s", uuid)
    assert daemon.stop() == 0
    assert daemon.events_named("database_lost") == []


def test_a_daemon_fires_whatever_the_servers_settings_are(
    daemons: Daemons, database: CampaignDatabase
) -> None:
    """Time zone, format of dates, encoding, isolation and plans are not those of a new server."""
    set_unusual_settings(database.url)
    daemon = daemons.start_ready(database.url)
    uuid = create(database, at(utc_now() + SOON))
    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE uuid = %s", uuid)
    assert daemon.stop() == 0
    levels = {json.loads(line)["level"] for line in daemon.lines}
    assert levels == {"info"}
