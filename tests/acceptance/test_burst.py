"""Ten thousand campaigns due at one instant."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.processes import Daemons

pytestmark = [pytest.mark.alone, pytest.mark.measured]

CAMPAIGNS = 10_000


def test_ten_thousand_at_one_instant(daemons: Daemons, database: CampaignDatabase) -> None:
    """Each has exactly one run and ends completed; the first starts within 100 ms."""
    daemon, at = daemons.start_ready_before(
        database, lambda at: database.add_one_offs(CAMPAIGNS, at), 5
    )

    database.wait_until("SELECT count(*) = %s FROM runs WHERE status = 'completed'", CAMPAIGNS)

    assert database.statuses("runs") == {"completed": CAMPAIGNS}
    assert database.statuses() == {"completed": CAMPAIGNS}
    runs = database.rows("SELECT DISTINCT scheduled_for, attempt, takeovers FROM runs")
    assert runs == [{"scheduled_for": at, "attempt": 1, "takeovers": 0}]
    first = database.one("SELECT min(started_at) FROM runs")
    assert timedelta(0) <= first - at < timedelta(milliseconds=100)
    events = database.rows("SELECT event, count(*) AS many FROM campaign_events GROUP BY event")
    assert {row["event"]: row["many"] for row in events} == {
        "fire": CAMPAIGNS,
        "run_ended": CAMPAIGNS,
    }
    check_histories(database)

    assert daemon.stop() == 0
    finished = daemon.events_named("run_finished")
    assert len(finished) == CAMPAIGNS
    assert len({line["run_id"] for line in finished}) == CAMPAIGNS
    last = database.one("SELECT max(finished_at) FROM runs")
    print(
        f"first start {(first - at).total_seconds() * 1000:.1f} ms after the instant;"
        f" {CAMPAIGNS / (last - at).total_seconds():.0f} runs/s"
    )
