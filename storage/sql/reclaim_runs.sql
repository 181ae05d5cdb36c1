-- Reclaims the runs of one node whose lease has ended. They are due now, for any live node to load; those
-- of targets that cannot recognise a repeated run are held for an operator.
-- In: hold_targets, the targets with on_lost = "hold". from_start true checks every run of the node, false
-- only those since its last mark.
-- Out: one row per reclaimed run. Fewer rows than the limit mean that no run is left, except those of
-- campaigns that another session holds; the next call takes these.
-- Moves: runs executing -> retrying | held, takeovers + 1.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), dead AS MATERIALIZED (
    SELECT n.id, CASE WHEN CAST(:from_start AS boolean) THEN '-infinity' ELSE n.oldest_claim_at END
                 AS since
    FROM nodes n, clock
    WHERE n.id = CAST(:lost_node AS text) AND n.lease_until < clock.now
    FOR UPDATE OF n SKIP LOCKED
), orphan AS MATERIALIZED (
    SELECT r.campaign_id, r.scheduled_for FROM runs r JOIN dead d ON r.node = d.id
    WHERE r.status = 'executing' AND r.lease_until IS NULL AND r.claimed_at >= d.since
    LIMIT CAST(:max_rows AS integer)
), locked AS MATERIALIZED (
    SELECT c.id, c.uuid, c.target, c.status,
           c.target = ANY (CAST(:hold_targets AS text[])) AS holds
    FROM campaigns c
    WHERE c.id IN (SELECT campaign_id FROM orphan) ORDER BY c.id FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE runs r
    SET status = CASE WHEN l.holds THEN 'held' ELSE 'retrying' END, node = NULL,
        next_attempt_at = CASE WHEN NOT l.holds THEN clock.now END, takeovers = r.takeovers + 1,
        error = 'its node was lost: ' || d.id
    FROM orphan o JOIN locked l ON l.id = o.campaign_id CROSS JOIN clock CROSS JOIN dead d
    WHERE r.campaign_id = o.campaign_id AND r.scheduled_for = o.scheduled_for
      AND r.status = 'executing' AND r.node = d.id
    RETURNING r.campaign_id, r.scheduled_for, r.id, r.attempt, r.status, r.error
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT t.campaign_id, clock.now, 'run_' || t.status, l.status, l.status,
           'taken over from ' || d.id, CAST(:node AS text), t.id, t.scheduled_for
    FROM taken t JOIN locked l ON l.id = t.campaign_id CROSS JOIN clock CROSS JOIN dead d
)
SELECT t.campaign_id, l.uuid, t.scheduled_for, t.id AS run_id, t.attempt, t.status, t.error, l.target
FROM taken t JOIN locked l ON l.id = t.campaign_id
