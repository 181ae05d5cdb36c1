"""Daemons are killed in the middle of their work: each occurrence has exactly one run, in time."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.processes import Daemons, Process
from tests.support.waiting import utc_now, wait_until

LEASE_S = 5
SOON = timedelta(seconds=4 * LEASE_S)
"""The lease, and time for a machine that is busy."""
OVERDUE = timedelta(seconds=0.9)
"""A node claims the overdue events of others no sooner than a second after their instant."""
QUARTER = 500
"""Campaigns of each of four kinds."""

RUNS_DONE = "SELECT count(*) FILTER (WHERE finished_at IS NOT NULL) = %s FROM runs"
NOTHING_UNDER_WAY = """
    SELECT count(*) = 0 FROM pg_stat_activity
    WHERE application_name LIKE 'campaignd%' AND datname = current_database() AND state = 'active'
"""
IN_FLIGHT = "SELECT count(*) FROM runs WHERE status = 'executing'"


def mixed_campaigns(at: datetime, each: int) -> Iterator[dict[str, Any]]:
    """One-offs, unlimited and limited daily ones, and windows with a run and with none."""
    start = at.isoformat()
    end = (at + timedelta(seconds=2)).isoformat()
    bodies: dict[str, dict[str, Any]] = {
        "one_time": {"schedule_type": "scheduled", "scheduled_at": start},
        "recurring": {
            "schedule_type": "recurring",
            "scheduled_at": start,
            "recurring_config": {"frequency": "daily"},
        },
        "segment_triggered": {"startdate": start, "enddate": end},
        "live_content": {"startdate": start, "enddate": end},
    }
    for number in range(each):
        for kind, body in bodies.items():
            if kind == "recurring" and number % 2:
                config = {"frequency": "daily", "end_date": end}
                body = {**body, "recurring_config": config}
            yield {"campaign": {"name": f"{kind} {number}", "type": kind}, "schedule": body}


def check_mixed(database: CampaignDatabase, each: int) -> None:
    """Check that each occurrence has one run, and each campaign its status and history."""
    states = database.rows(
        "SELECT type, status, count(*) AS many FROM campaigns GROUP BY type, status ORDER BY 1, 2"
    )
    assert {(row["type"], row["status"]): row["many"] for row in states} == {
        ("one_time", "completed"): each,
        ("recurring", "launched"): each // 2,
        ("recurring", "completed"): each // 2,
        ("segment_triggered", "completed"): each,
        ("live_content", "completed"): each,
    }
    runs = database.rows(
        """
        SELECT c.type, r.status, count(*) AS many, count(DISTINCT r.campaign_id) AS campaigns
        FROM runs r JOIN campaigns c ON c.id = r.campaign_id GROUP BY c.type, r.status
        """
    )
    assert {(row["type"], row["status"]): (row["many"], row["campaigns"]) for row in runs} == {
        (kind, "completed"): (each, each) for kind in ("one_time", "recurring", "segment_triggered")
    }
    # One fire and one end each: a repetition is another attempt, not another occurrence.
    fires = database.rows(
        """
        SELECT count(*) FILTER (WHERE event = 'fire') AS fired,
               count(*) FILTER (WHERE event = 'run_ended') AS ended,
               count(*) FILTER (WHERE event = 'window_opened') AS opened,
               count(*) FILTER (WHERE event = 'window_closed') AS closed
        FROM campaign_events
        """
    )
    assert fires == [{"fired": 3 * each, "ended": 3 * each, "opened": 2 * each, "closed": 2 * each}]
    check_histories(database)


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.machine) for seed in range(2, 8))]
)
def test_kill_at_random_moments(daemons: Daemons, database: CampaignDatabase, seed: int) -> None:
    """Killed three times while two thousand campaigns fire; no run waits longer than the lease."""
    chance = random.Random(seed)
    daemon, at = daemons.start_ready_before(
        database, lambda at: database.import_campaigns(mixed_campaigns(at, QUARTER)), 4
    )
    for _ in range(3):
        wait_until("the instant", lambda: utc_now() >= at)
        _wait_exactly(chance.uniform(0.0, 0.25))
        daemon.kill()
        daemon = daemons.start_ready(database.url)
    ready_at = utc_now()
    database.wait_until(RUNS_DONE, 3 * QUARTER)
    database.wait_until(
        "SELECT count(*) = 0 FROM campaigns WHERE status IN ('scheduled', 'executing')"
        " OR status = 'launched' AND type <> 'recurring'"
    )

    last = database.one("SELECT max(finished_at) FROM runs")
    assert last - max(ready_at, at) < SOON
    check_mixed(database, QUARTER)
    # If no run was in flight at the kills, all was done before the leases expired.
    database.wait_until("SELECT count(*) = 1 FROM nodes")
    assert daemon.stop() == 0
    lost = database.one("SELECT count(*) FROM nodes")
    assert lost == 0, "killed daemons are forgotten, a stopped one has left"
    print(f"\nattempts after a take-over: {database.one('SELECT sum(takeovers) FROM runs')}")


def _wait_exactly(seconds: float) -> None:
    """Wait for a time that is an input of the test, not for an event."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_killed_with_runs_in_flight(daemons: Daemons, database: CampaignDatabase) -> None:
    """Runs that were claimed but not finished are attempted again once the lease has expired."""
    daemon = _ready_for_burst(daemons, database, 2000)
    for _ in range(10):
        held = _freeze_with_runs_in_flight(database, daemon)
        daemon.kill()
        if held:
            break
        daemon = _ready_for_burst(daemons, database, 2000)
    assert held, "never caught with a run in flight"

    daemon = daemons.start_ready(database.url)
    ready_at = utc_now()
    database.wait_until("SELECT count(*) = 0 FROM campaigns WHERE status <> 'completed'")

    last = database.one("SELECT max(finished_at) FROM runs")
    assert last - ready_at < SOON
    assert database.statuses("runs") == {
        "completed": database.one("SELECT count(*) FROM campaigns")
    }
    again = database.rows("SELECT DISTINCT attempt, takeovers FROM runs WHERE takeovers > 0")
    assert again == [{"attempt": 2, "takeovers": 1}]
    assert daemon.wait_for("node_lost")["runs_taken_over"] > 0
    check_histories(database)


@pytest.mark.slow
@pytest.mark.alone
def test_the_other_node_takes_over(daemons: Daemons, database: CampaignDatabase) -> None:
    """One of two daemons is killed: the other does its work within the lease and 2 s."""
    first = daemons.start_ready(database.url, node_name="first")
    second = daemons.start_ready(database.url, node_name="second")
    first.wait_for("shards_reassigned", nodes=2)
    at = utc_now() + timedelta(seconds=3)
    database.add_one_offs(1000, at)
    later = at + timedelta(seconds=1)
    database.add_one_offs(1000, later)

    both = "SELECT count(DISTINCT actor) = 2 FROM campaign_events WHERE event = 'fire'"
    database.wait_until(both)  # Each node has a share.
    first.kill()
    killed_at = utc_now()
    database.wait_until(RUNS_DONE, 2000)

    last = database.one("SELECT max(finished_at) FROM runs")
    assert last - max(killed_at, later) < timedelta(seconds=LEASE_S + 2)
    assert database.statuses() == {"completed": 2000}
    assert database.statuses("runs") == {"completed": 2000}
    second.wait_for("node_lost")
    second.wait_for("shards_reassigned", nodes=1)
    assert second.stop() == 0
    check_histories(database)


@pytest.mark.slow
@pytest.mark.alone
def test_what_a_killed_node_had_coming_starts_within_five_seconds(
    daemons: Daemons, database: CampaignDatabase
) -> None:
    """At the default settings, for occurrences that only the killed node had loaded."""
    instants = 10

    def store(at: datetime) -> None:
        for number in range(instants):
            database.add_one_offs(100, at + timedelta(seconds=0.2 * number))

    # Alone at first, the node loads them all; the other one then loads only its own share.
    killed, at = daemons.start_ready_before(database, store, 15, node_name="killed")
    other = daemons.start_ready(database.url, node_name="other")
    killed.wait_for("shards_reassigned", nodes=2)
    wait_until("some are due", lambda: utc_now() >= at + timedelta(seconds=1))
    killed_at = utc_now()
    killed.kill()
    database.wait_until(RUNS_DONE, 100 * instants)

    (row,) = database.rows(
        """
        SELECT count(*) AS many, max(r.started_at - greatest(%s, r.scheduled_for)) AS worst
        FROM runs r JOIN campaign_events e ON e.run_id = r.id AND e.event = 'fire'
        WHERE e.actor LIKE 'other%%'
        """,
        killed_at,
    )
    print(f"\n{row['many']} started elsewhere, the last {row['worst'].total_seconds():.2f} s later")
    assert row["worst"] > OVERDUE, "the other node had loaded them as well"
    assert row["worst"] <= timedelta(seconds=5)
    assert database.statuses("runs") == {"completed": 100 * instants}
    check_histories(database)
    assert other.stop() == 0


def _ready_for_burst(daemons: Daemons, database: CampaignDatabase, count: int) -> Process:
    daemon = daemons.start_ready(database.url)
    database.add_one_offs(count, utc_now() + timedelta(seconds=2))
    return daemon


def _freeze_with_runs_in_flight(database: CampaignDatabase, daemon: Process) -> int:
    """Freeze the daemon in the middle of its burst; return how many runs it holds."""
    while database.one("SELECT count(*) FROM campaigns WHERE status <> 'completed'"):
        if database.one(IN_FLIGHT):
            daemon.send_signal(signal.SIGSTOP)
            # The server still executes what the daemon sent before.
            database.wait_until(NOTHING_UNDER_WAY)
            return int(database.one(IN_FLIGHT))
    return 0
