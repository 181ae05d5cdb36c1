"""A year of nightly runs in twenty zones, with clock changes, claimed by the real SQL."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from daemon.domain.run.attempt import FinishedAttempt
from daemon.domain.run.outcome import Delivered
from tests.support.clocks import NOON, days
from tests.support.timed_database import open_timed_database

ZONES = (
    "Africa/Cairo",  # at midnight
    "Africa/Casablanca",  # around Ramadan, against the sun
    "America/Havana",
    "America/Los_Angeles",
    "America/New_York",
    "America/Nuuk",  # late in the evening
    "America/Santiago",
    "America/Sao_Paulo",  # not any more
    "America/St_Johns",
    "Antarctica/Troll",  # two hours
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Chisinau",
    "Europe/London",
    "Pacific/Auckland",
    "Pacific/Chatham",
)
TIMES = (time(0, 0), time(1, 30), time(2, 30), time(23, 30))
DAYS = 365
BODY = {"misfire_grace_time": 172_800, "coalesce": False, "overlap": "allow"}


def nights(zone: str, at: time) -> list[datetime]:
    """Return one instant for every local date: before a gap, or in the first pass of an overlap."""
    place = ZoneInfo(zone)
    until = NOON + days(DAYS)
    day = NOON.astimezone(place).date()
    found = []
    while True:
        instant = datetime.combine(day, at, place).astimezone(UTC)  # fold=0 has this meaning
        if instant > until:
            return found
        if instant > NOON:
            found.append(instant)
        day += timedelta(days=1)


@pytest.mark.slow
async def test_every_night_of_a_year(database_url: str) -> None:
    """Every campaign has exactly one run for every local date, at the right instant."""
    async with open_timed_database(database_url) as db:
        node = await db.register_node(lease=10.0**8)
        expected: dict[int, list[datetime]] = {}
        for zone in ZONES:
            for at in TIMES:
                body = {
                    "schedule_type": "recurring",
                    "timezone": zone,
                    "recurring_config": {"frequency": "daily", "time": f"{at:%H:%M}"},
                    **BODY,
                }
                expected[await db.add_scheduled(body)] = nights(zone, at)
        for _ in range(DAYS):
            db.advance(days(1))
            while claimed := await node.claim():
                works = [item.attempt for item in claimed if item.attempt is not None]
                assert len(works) == len(claimed)
                await node.finish_batch(
                    *(FinishedAttempt(work, Delivered(), "executing", None) for work in works)
                )

        rows = await db.rows("SELECT campaign_id, scheduled_for, status FROM runs")
    found: dict[int, list[datetime]] = {campaign_id: [] for campaign_id in expected}
    for row in rows:
        found[row.campaign_id].append(row.scheduled_for)
    assert {row.status for row in rows} == {"completed"}
    for campaign_id, instants in expected.items():
        assert sorted(found[campaign_id]) == instants
    changes = sum(
        ZoneInfo(zone).utcoffset(datetime.combine(day, time(12)))
        != ZoneInfo(zone).utcoffset(datetime.combine(day + timedelta(days=1), time(12)))
        for zone in ZONES
        for day in (date(2026, 6, 1) + timedelta(days=number) for number in range(DAYS))
    )
    assert changes >= 30, "the year has nights in which clocks change"
    print(f"\n{len(rows)} occurrences in {len(ZONES)} zones, {changes} changes of clocks")
