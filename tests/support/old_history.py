"""Old history, for the tests of pruning."""

from __future__ import annotations

from tests.support.campaign_database import CampaignDatabase

_RUNS = """
    INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, claimed_at, started_at,
                      start_before, finished_at)
    SELECT c.id, at, gen_random_uuid(), 'completed', 1, at, at, at, at
    FROM campaigns c, generate_series(0, %s - 1) AS day,
         LATERAL (SELECT clock_timestamp() - make_interval(days => day, hours => 12) AS at) AS aged
"""
_EVENTS = """
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id)
    SELECT campaign_id, finished_at, 'attempt', 'scheduled', 'scheduled', 'attempt 1', 'test', id
    FROM runs ORDER BY finished_at
"""


def add_history_days(database: CampaignDatabase, days: int) -> None:
    """Add a run and an event to every campaign for each of ``days`` days, the newest 12 h ago."""
    database.rows(_RUNS, days)
    database.rows(_EVENTS)
