"""Occurrences of a window that was edited while its opening was overdue are logged once."""

from __future__ import annotations

from collections import Counter

from tests.support.clocks import NOON, hours, minutes, seconds
from tests.support.timed_database import open_timed_database, request_text, store_continuous


async def test_each_occurrence_passes_once(database_url: str) -> None:
    """The edit writes them as missed; the claim walks the window again from its opening."""
    async with open_timed_database(database_url) as db:
        node = await db.register_node()
        campaign_id = await store_continuous(db, 60, hours(1))
        start = NOON + hours(1)
        db.set_time(start + minutes(5) + seconds(10))  # no node claimed the opening
        body = {"startdate": request_text(start), "enddate": request_text(start + hours(2))}
        await db.control.update_schedule(campaign_id, body, "tester")
        assert await db.run_statuses_of(campaign_id) == ["missed"] * 6

        db.advance(seconds(60))
        await node.claim_all()

        runs = await db.runs_of(campaign_id)
        assert [run.status for run in runs] == ["missed"] * 6 + ["executing"]
        logged = Counter(
            event.scheduled_for
            for event in await db.events_of(campaign_id)
            if event.event in ("passed", "fire")
        )
        assert logged == {run.scheduled_for: 1 for run in runs}
        await db.check_invariants(campaign_id)
