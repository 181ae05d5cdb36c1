-- Reclaims accepted runs whose lease has ended without a result.
-- In: hold_targets, the targets with on_lost = "hold".
-- Out: one row per reclaimed run. Fewer rows than the limit mean that no expired run is left, except those
-- of campaigns that another session holds; the next call takes these.
-- Moves: runs executing -> retrying | held, takeovers + 1.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), ended AS MATERIALIZED (
    SELECT r.campaign_id, r.scheduled_for FROM runs r, clock
    WHERE r.lease_until < clock.now AND r.status = 'executing' AND r.answer IS NULL
    ORDER BY r.lease_until
    LIMIT CAST(:max_rows AS integer)
), locked AS MATERIALIZED (
    SELECT c.id, c.uuid, c.target, c.status,
           c.target = ANY (CAST(:hold_targets AS text[])) AS holds
    FROM campaigns c
    WHERE c.id IN (SELECT campaign_id FROM ended) ORDER BY c.id FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE runs r
    SET status = CASE WHEN l.holds THEN 'held' ELSE 'retrying' END, node = NULL, lease_until = NULL,
        next_attempt_at = CASE WHEN NOT l.holds THEN clock.now END, takeovers = r.takeovers + 1,
        error = 'not finished within its lease'
    FROM ended e JOIN locked l ON l.id = e.campaign_id CROSS JOIN clock
    WHERE r.campaign_id = e.campaign_id AND r.scheduled_for = e.scheduled_for
      -- Checked again under the lock: the lease may have been extended, or a result stored.
      AND r.status = 'executing' AND r.lease_until < clock.now AND r.answer IS NULL
    RETURNING r.campaign_id, r.scheduled_for, r.id, r.attempt, r.status, r.error
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT t.campaign_id, clock.now, 'run_' || t.status, l.status, l.status,
           'not finished within its lease', CAST(:node AS text), t.id, t.scheduled_for
    FROM taken t JOIN locked l ON l.id = t.campaign_id CROSS JOIN clock
)
SELECT t.campaign_id, l.uuid, t.scheduled_for, t.id AS run_id, t.attempt, t.status, t.error, l.target
FROM taken t JOIN locked l ON l.id = t.campaign_id
