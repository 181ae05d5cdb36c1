"""The time-zone data is replaced by newer data between two starts of a daemon."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import zone_data
from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.processes import Daemons
from tests.support.waiting import PATIENCE_S, utc_now

HOUR = timedelta(hours=1)
EARLIER, LATER, STILL = "Europe/Berlin", "Europe/Paris", "Europe/Rome"
OLD = {EARLIER: HOUR, LATER: 2 * HOUR, STILL: HOUR}
NEW = {EARLIER: 2 * HOUR, LATER: HOUR, STILL: HOUR}
"""12:00 in one zone comes an hour earlier under the newer data, in another one an hour later."""

Build = Callable[[Path, str, dict[str, timedelta]], dict[str, str]]


@dataclass(frozen=True)
class Data:
    """The environments of a process with the older and with the newer data."""

    old: dict[str, str]
    new: dict[str, str]


@pytest.fixture(
    params=[zone_data.write_zone_directory, zone_data.write_zone_package],
    ids=["directory", "package"],
)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Data:
    build: Build = request.param
    return Data(build(tmp_path / "old", "2024a", OLD), build(tmp_path / "new", "2025b", NEW))


def once(at: datetime, zone: str, offset: timedelta) -> dict[str, Any]:
    """Return a one-off at a wall-clock time, which is ``at`` where the zone has that offset."""
    local = (at + offset).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return {"schedule_type": "scheduled", "scheduled_at": local, "timezone": zone}


def daily(at: datetime, zone: str, offset: timedelta) -> dict[str, Any]:
    """Return a daily schedule at a wall-clock time, for the first time at ``at``."""
    body = once(at, zone, offset) | {"schedule_type": "recurring"}
    return body | {"recurring_config": {"frequency": "daily", "interval": 1}}


def runs(database: CampaignDatabase) -> dict[str, list[datetime]]:
    """Return the occurrences that ran, in UTC, by the name of their campaign."""
    found: dict[str, list[datetime]] = {}
    for row in database.rows(
        "SELECT c.name, r.scheduled_for, r.status FROM runs r JOIN campaigns c ON c.id ="
        " r.campaign_id ORDER BY r.scheduled_for"
    ):
        assert row["status"] == "completed", row
        found.setdefault(row["name"], []).append(row["scheduled_for"].astimezone(UTC))
    return found


def armed(database: CampaignDatabase) -> dict[str, tuple[datetime, datetime]]:
    """Return the instant in UTC and the wall-clock time of each armed event."""
    rows = database.rows(
        "SELECT c.name, t.* FROM timers t JOIN campaigns c ON c.id = t.campaign_id"
    )
    return {row["name"]: (row["fire_at"].astimezone(UTC), row["local"]) for row in rows}


@pytest.mark.slow
def test_instants_move_with_newer_data(
    data: Data, database: CampaignDatabase, daemons: Daemons, tmp_path: Path
) -> None:
    """Each occurrence runs once, from then on at the instant of the newer data."""
    began = time.monotonic()
    before = daemons.start_ready(database.url, **data.old)
    slow = math.ceil(time.monotonic() - began)  # The other commands are as slow.
    starting = before.events_named("starting")[0]
    assert starting["tzdata"] == "2024a"
    assert starting["tzdata_path"].startswith(str(tmp_path))
    now = utc_now().replace(microsecond=0)
    fired, ahead, past = (now + timedelta(seconds=each) for each in (8 * slow, 25 * slow, -1800))
    window = {
        "startdate": (ahead + NEW[EARLIER]).replace(tzinfo=None).isoformat(),
        "enddate": (ahead + 5 * HOUR).replace(tzinfo=None).isoformat(),
        "timezone": EARLIER,
    }
    # Under the older data, the first three are due at `fired`; the "sooner" ones an hour later.
    schedules = {
        "ran today": daily(fired, LATER, OLD[LATER]),
        "ran today too": daily(fired, EARLIER, OLD[EARLIER]),
        "stays": daily(fired, STILL, OLD[STILL]),
        "comes sooner": once(ahead, EARLIER, NEW[EARLIER]),
        "comes sooner each day": daily(ahead, EARLIER, NEW[EARLIER]),
        "should have been": once(past, EARLIER, NEW[EARLIER]),
        "comes later": once(ahead, LATER, OLD[LATER]),
        "in UTC": once(ahead, "UTC", timedelta(0)),
        "opens sooner": window,
    }
    lines = [
        {"campaign": {"name": name}, "schedule": schedule} for name, schedule in schedules.items()
    ]
    lines[-1]["campaign"] |= {"type": "event_triggered", "status": "scheduled"}
    daemons.import_campaigns(database.url, lines, **data.old)
    database.wait_until("SELECT count(*) = 3 FROM runs WHERE status = 'completed'")
    first = armed(database)
    assert before.stop() == 0

    after = daemons.start_ready(database.url, **data.new)
    assert after.events_named("starting")[0]["tzdata"] == "2025b"
    (updated,) = after.events_named("tzdata_updated")
    assert (updated["tzdata"], updated["schedules"], updated["moved"]) == ("2025b", 9, 7)
    moved = {line["campaign_id"]: line for line in after.events_named("instants_moved")}
    assert len(moved) == 7
    assert {line["timezone"] for line in moved.values()} == {EARLIER, LATER}
    for name, (was, local) in first.items():
        zone = STILL if name == "stays" else "UTC" if name == "in UTC" else None
        id_ = database.one("SELECT id FROM campaigns WHERE name = %s", name)
        assert (id_ in moved) == (zone is None), name
        if id_ in moved:
            shift = HOUR if moved[id_]["timezone"] == LATER else -HOUR
            assert moved[id_]["local"] == local.isoformat()
            assert _instant(moved[id_]["was"]) == was
            assert _instant(moved[id_]["now"]) == was + shift

    statement = (
        "SELECT count(*) = 8 FROM campaigns WHERE id IN (SELECT campaign_id FROM runs)"
        " OR status = 'launched' AND type = 'event_triggered'"
    )
    database.wait_until(statement, within=25 * slow + PATIENCE_S)
    database.wait_until("SELECT count(*) = 0 FROM runs WHERE status <> 'completed'")
    assert runs(database) == {
        "ran today": [fired],
        "ran today too": [fired],
        "stays": [fired],
        "comes sooner": [ahead],
        "comes sooner each day": [ahead],
        "should have been": [past],
        "in UTC": [ahead],
    }
    day = timedelta(days=1)
    assert {name: at for name, (at, _) in armed(database).items()} == {
        "ran today": fired + day + HOUR,
        "ran today too": fired + day - HOUR,
        "stays": fired + day,
        "comes sooner each day": ahead + day,
        "comes later": ahead + HOUR,
        "opens sooner": ahead + 3 * HOUR,
    }
    assert after.stop() == 0

    again = daemons.start_ready(database.url, **data.new)
    assert again.events_named("tzdata_updated") == []
    assert again.stop() == 0
    check_histories(database)


@pytest.mark.slow
def test_schedules_saved_with_older_data_move_within_seconds(
    tmp_path: Path, database: CampaignDatabase, daemons: Daemons
) -> None:
    """Two daemons, one with older data: schedules saved with it are recomputed, and run once."""
    old = zone_data.write_zone_directory(tmp_path / "old", "2024a", OLD)
    new = zone_data.write_zone_directory(tmp_path / "new", "2025b", NEW)
    began = time.monotonic()
    older = daemons.start_ready(database.url, node_name="older", **old)
    newer = daemons.start_ready(database.url, node_name="newer", **new)
    assert newer.wait_for("tzdata_differs")["others"] == "2024a"
    slow = math.ceil(time.monotonic() - began)
    at = (utc_now() + timedelta(seconds=12 * slow)).replace(microsecond=0)
    schedules = {
        "once": once(at, EARLIER, NEW[EARLIER]),
        "each day": daily(at, EARLIER, NEW[EARLIER]),
    }
    lines = [{"campaign": {"name": name}, "schedule": body} for name, body in schedules.items()]
    daemons.import_campaigns(database.url, lines, **old)
    newer.wait_for("instants_moved")
    database.wait_until(
        "SELECT count(*) = 2 FROM runs WHERE status = 'completed'", within=12 * slow + PATIENCE_S
    )
    assert runs(database) == {"once": [at], "each day": [at]}
    database.wait_until("SELECT fire_at = %s FROM timers", at + timedelta(days=1))
    assert older.stop() == 0
    assert newer.stop() == 0
    assert {event["level"] for event in newer.events_named("tzdata_differs")} == {"warning"}
    check_histories(database)


@pytest.mark.slow
def test_a_locked_schedule_delays_no_other(
    tmp_path: Path, database: CampaignDatabase, daemons: Daemons
) -> None:
    """Another session locks a schedule that is due soon: others fire, and the daemon can be
    stopped.
    """
    old = zone_data.write_zone_directory(tmp_path / "old", "2024a", OLD)
    new = zone_data.write_zone_directory(tmp_path / "new", "2025b", NEW)
    written = {"campaign": {"name": "written"}, "schedule": once(utc_now() + HOUR / 4, STILL, HOUR)}
    daemons.import_campaigns(database.url, [written], **old)
    with psycopg.connect(database.url) as another:
        another.execute("SELECT 1 FROM campaigns FOR UPDATE")
        daemon = daemons.start_ready(database.url, **new)
        schedule = once(utc_now() + timedelta(seconds=5), STILL, HOUR)
        daemons.import_campaigns(
            database.url, [{"campaign": {"name": "free"}, "schedule": schedule}], **new
        )
        database.wait_until("SELECT count(*) = 1 FROM runs WHERE status = 'completed'")
        assert daemon.stop() == 0
        assert daemon.events_named("tzdata_updated") == []
    again = daemons.start_ready(database.url, **new)
    assert again.wait_for("tzdata_updated")["schedules"] == 1
    assert again.stop() == 0


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
