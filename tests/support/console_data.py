"""Campaigns and past runs as a busy marketing team has them, for tests of the console."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.support.campaign_database import CampaignDatabase
from tests.support.waiting import utc_now

_NAMES = (
    "Weekly offer", "Morning news", "Cart reminder", "Birthday greeting", "Win-back letter",
    "Loyalty points", "Monthly report", "Flash sale", "Product tips", "Event invitation",
)  # fmt: skip
_PLACES = (
    ("Europe/Paris", "France"), ("America/New_York", "East Coast"), ("Asia/Tokyo", "Japan"),
    ("Europe/Berlin", "Germany"), ("America/Sao_Paulo", "Brazil"), ("Australia/Sydney", "Sydney"),
)  # fmt: skip
_PAST_RUNS = """
    INSERT INTO runs (campaign_id, scheduled_for, id, status, cause, claimed_at, start_before,
                      attempt, node, started_at, finished_at, error)
    SELECT id, at, gen_random_uuid(), status, 'schedule', at + interval '20 ms',
           at + interval '1 hour', CASE status WHEN 'missed' THEN 0 ELSE 1 END,
           CASE status WHEN 'missed' THEN NULL ELSE 'node-1' END,
           CASE status WHEN 'missed' THEN NULL ELSE at + interval '35 ms' END,
           at + make_interval(secs => 1 + (id + day) %% 7),
           CASE status WHEN 'failed' THEN 'the target answered 503 Service Unavailable' END
    FROM (
        SELECT id, day, date_trunc('day', now(), 'UTC') - make_interval(days => day)
                   + make_interval(hours => (6 + id * 5 %% 12)::integer,
                                   mins => (id * 15 %% 60)::integer) AS at,
               CASE WHEN (id * 7 + day * 13) %% 31 = 0 THEN 'failed'
                    WHEN (id * 5 + day * 11) %% 43 = 0 THEN 'missed' ELSE 'completed' END AS status
        FROM campaigns, generate_series(0, %s) AS day
        WHERE status <> 'draft' AND id %% %s = 0
    ) AS past
    WHERE at < now() - interval '1 minute'
"""


def add_busy_team(database: CampaignDatabase, count: int, *, every: int = 1) -> None:
    """Store `count` campaigns with schedules of all kinds, and past runs of a part of them.

    Args:
        database: an empty database.
        count: the number of campaigns.
        every: one of so many campaigns has past runs.
    """
    database.import_campaigns(_lines(count))
    database.rows(
        "UPDATE campaigns SET status = 'paused' WHERE id % 11 = 5 AND status = 'scheduled'"
    )
    database.rows(_PAST_RUNS, 34, every)


def _lines(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        zone, place = _PLACES[number % len(_PLACES)]
        name = f"{_NAMES[number % len(_NAMES)]}, {place}"
        if number >= 60:
            name += f" {number}"
        yield {
            "campaign": {
                "name": name,
                "timezone": zone,
                "payload": {"template": f"t-{number}", "list": place.lower()},
            },
            "schedule": _schedule(number),
        }


def _schedule(number: int) -> dict[str, Any]:
    time = f"{7 + number * 5 % 12:02}:{number * 15 % 60:02}"
    match number % 5:
        case 0:
            config: dict[str, Any] = {"frequency": "daily", "time": time}
        case 1:
            config = {"frequency": "weekly", "time": time, "days_of_week": [1 + number % 7]}
        case 2:
            config = {"frequency": "monthly", "time": time, "day_of_month": 1 + number % 31}
        case 3:
            config = {"frequency": "weekly", "time": time, "days_of_week": [1, 3, 5]}
        case _:
            at = utc_now() + timedelta(days=1 + number % 40, hours=number % 9)
            return {"schedule_type": "scheduled", "scheduled_at": f"{at:%Y-%m-%dT%H:00:00Z}"}
    return {"schedule_type": "recurring", "recurring_config": config}
