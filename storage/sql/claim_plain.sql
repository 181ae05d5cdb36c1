-- Claims single occurrences of campaigns that are idle: the usual case of claim_events, in its short form.
-- In: one element per occurrence, with the occurrence that follows it, if any. Nothing is locked before due_at,
-- for occurrences are handed over a little early.
-- Out: the claimed occurrences. Those with the same result share one row, which holds their positions in the
-- input, from 1. What is missing is put to claim_events: it is not due, too late or locked, its schedule has
-- changed, its campaign is paused or has an open run, the payloads of all exceed max_bytes, or there is a
-- freeze or the mark of one.
-- A run that exists already raises unique_violation, and nothing is claimed.
-- Moves: scheduled, launched -> executing; inserts runs.
WITH waited AS MATERIALIZED (
    SELECT CASE WHEN CAST(:now AS timestamptz) IS NULL
                THEN pg_sleep_until(least(CAST(:due_at AS timestamptz), clock_timestamp() + interval '50 ms')) END
), clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now FROM waited
), alive AS MATERIALIZED (
    -- A node whose lease has ended claims nothing. The lock makes a rescuer wait for this commit.
    SELECT n.id FROM nodes n, clock
    WHERE n.id = CAST(:node AS text) AND n.lease_until > clock.now
    FOR KEY SHARE OF n
), locked AS MATERIALIZED (
    SELECT i.*, clock.now, alive.id AS node, c.status, c.target, c.name, c.open_runs,
           CASE WHEN c.target <> ALL (CAST(:without_payload AS text[])) THEN c.payload::text END AS payload
    FROM unnest(
        CAST(:campaign_ids AS bigint[]), CAST(:revisions AS bigint[]), CAST(:run_ids AS uuid[]),
        CAST(:fire_ats AS timestamptz[]), CAST(:start_befores AS timestamptz[]),
        CAST(:next_ats AS timestamptz[]), CAST(:next_locals AS timestamp[])
    ) WITH ORDINALITY AS i (campaign_id, revision, run_id, fire_at, start_before, next_at, next_local, number)
    CROSS JOIN clock
    CROSS JOIN alive
    JOIN timers t ON t.campaign_id = i.campaign_id AND t.revision = i.revision AND t.fire_at = i.fire_at
                 AND t.kind = 'fire' AND NOT t.backlog
    JOIN campaigns c ON c.id = t.campaign_id
    WHERE i.fire_at <= clock.now AND clock.now <= i.start_before
    ORDER BY c.id
    FOR UPDATE OF c, t SKIP LOCKED
), won AS MATERIALIZED (
    SELECT l.* FROM locked l
    WHERE l.status IN ('scheduled', 'launched') AND l.open_runs = 0
      AND (SELECT coalesce(sum(octet_length(payload)), 0) FROM locked) <= CAST(:max_bytes AS bigint)
      -- Frozen, or marked because it came due in a freeze. Most databases have no brake, which is asked once.
      AND (NOT EXISTS (SELECT FROM brakes) OR NOT EXISTS (
          SELECT FROM brakes b WHERE b.scope IN ('*', 'target:' || l.target)
             AND (b.frozen_at IS NOT NULL OR l.fire_at >= b.overdue_since AND l.fire_at < b.overdue_before)))
), opened AS (
    INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, node, claimed_at, started_at, start_before)
    SELECT campaign_id, fire_at, run_id, 'executing', 1, node, now, now, start_before FROM won
), advanced AS (
    UPDATE timers t SET fire_at = w.next_at, local = w.next_local
    FROM won w WHERE t.campaign_id = w.campaign_id AND w.next_at IS NOT NULL
), spent AS (
    DELETE FROM timers t USING won w
    WHERE t.campaign_id = w.campaign_id AND w.next_at IS NULL
), moved AS (
    UPDATE campaigns c
    SET status = 'executing', more_to_come = w.next_at IS NOT NULL, has_due = true, updated_at = w.now,
        open_runs = 1
    FROM won w WHERE c.id = w.campaign_id
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT campaign_id, now, 'fire', status, 'executing', 'due', node, run_id, fire_at FROM won
)
SELECT 'executing' AS made, w.status AS from_status, 'executing' AS to_status, w.target, w.now,
       array_agg(w.number) AS numbers, array_agg(w.name) AS names, array_agg(w.payload) AS payloads
FROM won w
GROUP BY w.status, w.target, w.now
