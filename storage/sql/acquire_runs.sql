-- Acquires queued runs for one worker, oldest first, each for the length of a lease.
-- Out: one row per acquired run. No lock is waited for: a run or campaign locked by another session is
-- skipped.
-- Moves: runs queued -> executing, attempt + 1. A paused campaign starts nothing, nor does a freeze.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), queued AS MATERIALIZED (
    SELECT r.campaign_id, r.scheduled_for, c.uuid, c.name, c.target, c.payload
    FROM clock, runs r JOIN campaigns c ON c.id = r.campaign_id
    WHERE r.worker_queue = CAST(:target AS text) AND r.status = 'queued'
      AND r.start_before >= clock.now AND c.status = 'executing'
      AND (r.open_until IS NULL OR r.open_until > clock.now)
      AND NOT EXISTS (SELECT FROM brakes b WHERE b.scope IN ('*', 'target:' || CAST(:target AS text))
                         AND b.frozen_at IS NOT NULL)
    ORDER BY r.scheduled_for
    LIMIT CAST(:max_rows AS integer)
    FOR UPDATE OF r SKIP LOCKED FOR SHARE OF c SKIP LOCKED
), taken AS (
    UPDATE runs r
    SET status = 'executing', attempt = r.attempt + 1, node = CAST(:worker AS text),
        claimed_at = clock.now, started_at = coalesce(r.started_at, clock.now),
        lease_until = clock.now + make_interval(secs => CAST(:lease AS float8)),
        next_attempt_at = NULL, worker_queue = NULL
    FROM queued q CROSS JOIN clock
    WHERE r.campaign_id = q.campaign_id AND r.scheduled_for = q.scheduled_for
    RETURNING r.*
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT t.campaign_id, t.claimed_at, 'attempt', 'executing', 'executing',
           'attempt ' || t.attempt, CAST(:worker AS text), t.id, t.scheduled_for
    FROM taken t
)
SELECT t.campaign_id, t.scheduled_for, t.id AS run_id, t.attempt, t.takeovers, t.start_before,
       t.started_at,
       t.claimed_at AS now, q.uuid, q.name, q.target, q.payload
FROM taken t
JOIN queued q ON q.campaign_id = t.campaign_id AND q.scheduled_for = t.scheduled_for
ORDER BY t.scheduled_for
