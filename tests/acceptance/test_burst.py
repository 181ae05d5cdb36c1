"""Ten thousand campaigns due at one instant."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.daemons import Daemons, World
from tests.support.histories import check_histories

pytestmark = pytest.mark.alone

CAMPAIGNS = 10_000


def test_ten_thousand_at_one_instant(daemons: Daemons, world: World) -> None:
    """Each has exactly one run and ends completed; the first starts within 100 ms."""
    daemon, at = daemons.ready_before(world, lambda at: world.add_one_offs(CAMPAIGNS, at), 5)

    world.until("SELECT count(*) = %s FROM runs WHERE status = 'completed'", CAMPAIGNS)

    assert world.statuses("runs") == {"completed": CAMPAIGNS}
    assert world.statuses() == {"completed": CAMPAIGNS}
    runs = world.rows("SELECT DISTINCT scheduled_for, attempt, takeovers FROM runs")
    assert runs == [{"scheduled_for": at, "attempt": 1, "takeovers": 0}]
    first = world.one("SELECT min(started_at) FROM runs")
    assert timedelta(0) <= first - at < timedelta(milliseconds=100)
    events = world.rows("SELECT event, count(*) AS many FROM campaign_events GROUP BY event")
    assert {row["event"]: row["many"] for row in events} == {
        "fire": CAMPAIGNS,
        "run_ended": CAMPAIGNS,
    }
    check_histories(world)

    assert daemon.stop() == 0
    finished = daemon.events("run_finished")
    assert len(finished) == CAMPAIGNS
    assert len({line["run_id"] for line in finished}) == CAMPAIGNS
    last = world.one("SELECT max(finished_at) FROM runs")
    print(
        f"first start {(first - at).total_seconds() * 1000:.1f} ms after the instant;"
        f" {CAMPAIGNS / (last - at).total_seconds():.0f} runs/s"
    )
