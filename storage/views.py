"""The views: ``schedules`` for operators, and ``armed_timers`` for the timer."""

from __future__ import annotations

from sqlalchemy import DDL, MetaData, event

from daemon.domain.sharding import SHARDS

SCHEDULES_VIEW = f"""
CREATE VIEW schedules AS
SELECT d.campaign_id, d.revision, d.source, d.kind, d.timezone, d.tzdata,
       d.anchor_at, d.anchor_local, t.kind AS next_event, t.fire_at AS next_event_at,
       CASE t.kind WHEN 'fire' THEN t.fire_at
                   WHEN 'open' THEN CASE WHEN num_nonnulls(d.frequency, d.every_seconds) > 0
                                         THEN t.fire_at END END AS next_fire_at,
       t.local AS next_local, d.ends_at, d.ends_on, d.rrule, d.body,
       d.misfire_grace_time, d.coalesce, d.overlap, d.saved_at,
       (d.campaign_id % {SHARDS})::smallint AS shard,
       d.conditions, coalesce(t.scheduled_for, t.fire_at) AS next_scheduled_for
FROM schedule_definitions d
LEFT JOIN timers t ON t.campaign_id = d.campaign_id
"""

ARMED_TIMERS_VIEW = f"""
CREATE VIEW armed_timers AS
SELECT t.campaign_id, t.revision, t.fire_at, t.local, t.kind AS event_kind, t.backlog, c.uuid,
       c.target, t.campaign_id % {SHARDS} AS shard, d.source, d.kind, d.timezone,
       d.anchor_at, d.anchor_local, d.frequency, d.repeat_interval, d.first_on, d.time_of_day,
       d.weekdays, d.month_day, d.nth, d.skip, d.every_seconds, d.ends_at,
       d.ends_on, d.misfire_grace_time, d.coalesce, d.overlap,
       t.scheduled_for, d.conditions
FROM timers t
JOIN campaigns c ON c.id = t.campaign_id
JOIN schedule_definitions d ON d.campaign_id = t.campaign_id
WHERE c.status IN ('scheduled', 'launched', 'executing', 'paused')
  AND NOT (t.backlog AND c.open_runs > c.held_runs AND d.overlap <> 'allow'
           AND c.status <> 'paused')
"""
"""The events that the timer loads, without those that wait for their campaign's open run."""

VIEWS = {"schedules": SCHEDULES_VIEW, "armed_timers": ARMED_TIMERS_VIEW}


def add_views(metadata: MetaData) -> None:
    """Have the views created after the tables of ``metadata``, and dropped before them."""
    for name, statement in VIEWS.items():
        event.listen(metadata, "after_create", _executable_ddl(statement))
        event.listen(metadata, "before_drop", _executable_ddl(f"DROP VIEW IF EXISTS {name}"))


def _executable_ddl(statement: str) -> DDL:
    return DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
