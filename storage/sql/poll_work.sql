-- The poll of every second; most polls find nothing. Out: the campaigns whose schedules were written by
-- transaction xmin or a later one; the oldest transaction that is open now, from which the next poll
-- starts; whether any event is overdue, any run waits for an attempt, or the pause of any campaign is over; the
-- snapshot of all that was found; the last change of the brakes; and the revision of all calendars.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin,
       ARRAY(SELECT d.campaign_id FROM schedule_definitions d
             WHERE d.changed_in >= CAST(CAST(:xmin AS text) AS xid8)
             ORDER BY d.changed_in LIMIT CAST(:max_rows AS integer)) AS campaign_ids,
       EXISTS (SELECT 1 FROM timers t
               WHERE t.fire_at < CAST(:overdue_before AS timestamptz)) AS overdue,
       EXISTS (SELECT 1 FROM runs r
               WHERE r.next_attempt_at < CAST(:until AS timestamptz)) AS waiting,
       EXISTS (SELECT 1 FROM campaigns c WHERE c.paused_until <= now()) AS pause_over,
       pg_current_snapshot()::text AS snapshot,
       (SELECT max(b.changed_at) FROM brakes b) AS brakes_at,
       (SELECT c.calendars_revision FROM control c) AS calendars_revision
