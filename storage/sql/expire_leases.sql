-- Reclaims accepted runs whose lease has ended without a result.
-- In: hold_targets, the targets with on_lost = "hold".
-- Out: one row per reclaimed run. Fewer rows than the limit mean that no expired run is left, except those
-- that another session has locked, or their campaign; the next call takes these.
-- Moves: runs executing -> retrying | held, takeovers + 1.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), ended AS MATERIALIZED (
    SELECT r.campaign_id, r.scheduled_for, c.uuid, c.target, c.status,
           c.target = ANY (CAST(:hold_targets AS text[])) AS holds
    FROM clock, runs r JOIN campaigns c ON c.id = r.campaign_id
    WHERE r.lease_until < clock.now AND r.status = 'executing' AND r.answer IS NULL
    ORDER BY r.lease_until
    LIMIT CAST(:max_rows AS integer)
    FOR UPDATE OF r, c SKIP LOCKED
), taken AS (
    UPDATE runs r
    SET status = CASE WHEN e.holds THEN 'held' ELSE 'retrying' END, node = NULL, lease_until = NULL,
        next_attempt_at = CASE WHEN NOT e.holds THEN clock.now END, takeovers = r.takeovers + 1,
        error = 'not finished within its lease'
    FROM ended e CROSS JOIN clock
    WHERE r.campaign_id = e.campaign_id AND r.scheduled_for = e.scheduled_for
    RETURNING r.campaign_id, e.uuid, r.scheduled_for, r.id, r.attempt, r.status, r.error, e.target,
              e.status AS campaign_status
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT t.campaign_id, clock.now, 'run_' || t.status, t.campaign_status, t.campaign_status,
           'not finished within its lease', CAST(:node AS text), t.id, t.scheduled_for
    FROM taken t CROSS JOIN clock
)
SELECT t.campaign_id, t.uuid, t.scheduled_for, t.id AS run_id, t.attempt, t.status, t.error, t.target
FROM taken t
