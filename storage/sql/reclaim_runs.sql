-- Reclaims the runs of one node whose lease has ended. They are due now, for any live node to load; those
-- of targets that cannot recognise a repeated run are held for an operator.
-- In: hold_targets, the targets with on_lost = "hold". from_start true checks every run of the node, false
-- only those since its last mark.
-- Out: one row per reclaimed run. Fewer rows than the limit mean that no run is left, except those
-- that another session has locked, or their campaign; the next call takes these.
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
    SELECT r.campaign_id, r.scheduled_for, d.id AS lost_node, c.uuid, c.target, c.status,
           c.target = ANY (CAST(:hold_targets AS text[])) AS holds
    FROM dead d JOIN runs r ON r.node = d.id JOIN campaigns c ON c.id = r.campaign_id
    WHERE r.status = 'executing' AND r.lease_until IS NULL AND r.claimed_at >= d.since
    LIMIT CAST(:max_rows AS integer)
    FOR UPDATE OF r, c SKIP LOCKED
), taken AS (
    UPDATE runs r
    SET status = CASE WHEN o.holds THEN 'held' ELSE 'retrying' END, node = NULL,
        next_attempt_at = CASE WHEN NOT o.holds THEN clock.now END, takeovers = r.takeovers + 1,
        error = 'its node was lost: ' || o.lost_node
    FROM orphan o CROSS JOIN clock
    WHERE r.campaign_id = o.campaign_id AND r.scheduled_for = o.scheduled_for
    RETURNING r.campaign_id, o.uuid, r.scheduled_for, r.id, r.attempt, r.status, r.error, o.target,
              o.status AS campaign_status, o.lost_node
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT t.campaign_id, clock.now, 'run_' || t.status, t.campaign_status, t.campaign_status,
           'taken over from ' || t.lost_node, CAST(:node AS text), t.id, t.scheduled_for
    FROM taken t CROSS JOIN clock
)
SELECT t.campaign_id, t.uuid, t.scheduled_for, t.id AS run_id, t.attempt, t.status, t.error, t.target
FROM taken t
