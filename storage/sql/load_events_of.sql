-- Events of the given campaigns that are due before an instant.
SELECT t.campaign_id, t.revision, t.fire_at, t.local, t.event_kind, t.uuid, t.target, t.source, t.kind,
       t.timezone, t.anchor_at, t.anchor_local, t.frequency, t.repeat_interval, t.first_on,
       t.time_of_day, t.weekdays, t.month_day, t.nth, t.skip, t.every_seconds, t.ends_at, t.ends_on,
       t.misfire_grace_time, t.coalesce, t.overlap, t.conditions, t.scheduled_for
FROM armed_timers t
WHERE t.campaign_id = ANY (CAST(:campaign_ids AS bigint[]))
  AND t.fire_at < CAST(:until AS timestamptz)
