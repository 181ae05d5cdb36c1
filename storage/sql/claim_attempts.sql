-- Starts the next attempts of pending runs: promoted from the queue, retrying, or reclaimed.
-- Out: one row per run found due, except those that another session has locked, or their campaign. The
-- verdict is started; or late or lost, and then the caller finishes it; or closed, and then the caller
-- decides by the run's send window and by `late`; or postponed, and then the run
-- remains due, because the payloads before it reach max_bytes.
-- Moves: runs queued, retrying -> executing, attempt + 1. A paused campaign starts nothing, nor does a freeze.
WITH waited AS MATERIALIZED (
    -- What is due is handed over a little early; nothing is locked before its instant.
    SELECT CASE WHEN CAST(:now AS timestamptz) IS NULL
                THEN pg_sleep_until(least(CAST(:due_at AS timestamptz), clock_timestamp() + interval '50 ms')) END
), clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now FROM waited
), alive AS MATERIALIZED (
    SELECT n.id FROM nodes n, clock
    WHERE n.id = CAST(:node AS text) AND n.lease_until > clock.now
    FOR KEY SHARE OF n
), item AS (
    -- A run may have been loaded twice, as due at two instants; it still gets one attempt.
    SELECT DISTINCT * FROM unnest(
        CAST(:campaign_ids AS bigint[]), CAST(:scheduled_fors AS timestamptz[])
    ) AS i (campaign_id, scheduled_for)
), locked AS MATERIALIZED (
    SELECT c.id, c.uuid, c.status, c.target, c.name,
           CASE WHEN c.target <> ALL (CAST(:without_payload AS text[])) THEN c.payload END AS payload
    FROM campaigns c
    WHERE c.id IN (SELECT campaign_id FROM item) AND c.status = 'executing'
    ORDER BY c.id
    FOR UPDATE SKIP LOCKED
), found AS MATERIALIZED (
    SELECT r.campaign_id, r.scheduled_for, r.id, r.status, r.attempt, r.takeovers, r.start_before,
           r.next_attempt_at, r.started_at, clock.now, alive.id AS node, l.uuid, l.target, l.payload, l.name,
           r.due_at, r.open_until,
           CASE WHEN r.open_until <= clock.now AND r.open_until <= r.start_before THEN 'closed'
                WHEN r.start_before < clock.now AND r.attempt = 0 AND EXISTS (
                         SELECT FROM schedule_definitions d WHERE d.campaign_id = r.campaign_id
                                                              AND d.conditions ->> 'late' IS NOT NULL) THEN 'closed'
                WHEN r.start_before < clock.now THEN 'late'
                WHEN r.takeovers >= CAST(:max_takeovers AS integer) THEN 'lost'
                ELSE 'started' END AS ready
    FROM item i
    JOIN locked l ON l.id = i.campaign_id
    JOIN runs r ON r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for
    CROSS JOIN clock
    CROSS JOIN alive
    WHERE r.status IN ('queued', 'retrying') AND r.next_attempt_at <= clock.now
      -- During a freeze it waits; after it, it may be late.
      AND (NOT EXISTS (SELECT FROM brakes) OR NOT EXISTS (
          SELECT FROM brakes b WHERE b.scope IN ('*', 'target:' || l.target) AND b.frozen_at IS NOT NULL))
    FOR UPDATE OF r SKIP LOCKED
), due AS MATERIALIZED (
    SELECT f.*, CASE WHEN f.ready = 'started' AND f.payload IS NOT NULL
                          AND sum(octet_length(f.payload::text)) OVER before
                              >= CAST(:max_bytes AS bigint)
                     THEN 'postponed' ELSE f.ready END AS verdict
    FROM found f
    WINDOW before AS (PARTITION BY f.ready ORDER BY f.next_attempt_at, f.campaign_id, f.scheduled_for
                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), started AS (
    UPDATE runs r
    SET status = 'executing', attempt = r.attempt + 1, node = d.node, claimed_at = d.now,
        started_at = coalesce(r.started_at, d.now), next_attempt_at = NULL
    FROM due d
    WHERE d.verdict = 'started' AND r.campaign_id = d.campaign_id
      AND r.scheduled_for = d.scheduled_for
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT d.campaign_id, d.now, 'attempt', 'executing', 'executing',
           'attempt ' || (d.attempt + 1), d.node, d.id, d.scheduled_for
    FROM due d WHERE d.verdict = 'started'
)
SELECT d.campaign_id, d.uuid, d.scheduled_for, d.id AS run_id, d.status, d.verdict, d.takeovers,
       CASE WHEN d.verdict = 'started' THEN d.attempt + 1 ELSE d.attempt END AS attempt,
       d.target, d.name, CASE WHEN d.verdict = 'started' THEN d.payload END AS payload,
       d.now, d.start_before, d.started_at, d.due_at, d.open_until
FROM due d
