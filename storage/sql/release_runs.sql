-- Releases the runs that a stopping node could not finish in time, and claimed runs that the node never
-- learned of. They are due now for any node, and no attempt is counted.
-- In: dispositions are not_started (the target has not received the run), retrying, or held (the target
-- received it and cannot recognise a repeat).
-- Out: one row per released run, as it is now; the error of a held run states the cause. A run is missing
-- if it is not this node's any more, or if another session has locked it or its campaign.
-- Moves: runs executing -> retrying | held; takeovers + 1 where the attempt had started.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), item AS (
    SELECT * FROM unnest(
        CAST(:campaign_ids AS bigint[]), CAST(:scheduled_fors AS timestamptz[]),
        CAST(:attempts AS smallint[]), CAST(:dispositions AS text[])
    ) AS i (campaign_id, scheduled_for, attempt, disposition)
), ready AS MATERIALIZED (
    SELECT i.*, c.uuid, c.target, c.status AS campaign_status
    FROM item i
    JOIN campaigns c ON c.id = i.campaign_id
    JOIN runs r ON r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for
    WHERE r.attempt = i.attempt AND r.status = 'executing' AND r.node = CAST(:node AS text)
    FOR UPDATE OF c, r SKIP LOCKED
), released AS (
    UPDATE runs r
    SET status = CASE WHEN i.disposition = 'held' THEN 'held' ELSE 'retrying' END, node = NULL,
        next_attempt_at = CASE WHEN i.disposition <> 'held' THEN clock.now END,
        takeovers = CASE WHEN i.disposition = 'not_started' THEN r.takeovers ELSE r.takeovers + 1 END,
        attempt = CASE WHEN i.disposition = 'not_started' THEN r.attempt - 1 ELSE r.attempt END,
        error = CASE WHEN i.disposition = 'held' THEN CAST(:cause AS text) ELSE r.error END,
        started_at = CASE WHEN i.disposition <> 'not_started' OR r.attempt > 1 THEN r.started_at END
    FROM ready i CROSS JOIN clock
    WHERE r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for
    RETURNING r.campaign_id, i.uuid, r.scheduled_for, r.id, r.attempt, r.status, r.error, i.target,
              i.campaign_status
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT r.campaign_id, clock.now, 'run_' || r.status, r.campaign_status, r.campaign_status,
           CAST(:cause AS text), CAST(:node AS text), r.id, r.scheduled_for
    FROM released r CROSS JOIN clock
)
SELECT r.campaign_id, r.uuid, r.scheduled_for, r.id AS run_id, r.attempt, r.status, r.error, r.target
FROM released r
