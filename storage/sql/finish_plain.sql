-- Completes first attempts of this node that are the only open runs of their campaigns: the usual case of
-- finish_runs, in its short form.
-- Out: the outcomes written. Those with the same result share one row, which holds their positions in the
-- input, from 1. What is missing is put to finish_runs: the run was reclaimed, cancelled or finished before,
-- another one is open or queued, the campaign is paused, or another session has locked one of the two rows.
-- Each row that is read is locked, so that it is current; no other row matters.
-- Moves: runs executing -> completed; campaigns executing -> launched | completed.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), locked AS MATERIALIZED (
    SELECT i.*, clock.now, c.status AS campaign_status, c.open_runs, c.queued_runs, c.more_to_come,
           r.id AS run_id, r.status, r.attempt, r.node, r.answer
    FROM unnest(
        CAST(:campaign_ids AS bigint[]), CAST(:scheduled_fors AS timestamptz[]),
        CAST(:started_ats AS timestamptz[])
    ) WITH ORDINALITY AS i (campaign_id, scheduled_for, started_at, number)
    CROSS JOIN clock
    JOIN campaigns c ON c.id = i.campaign_id
    JOIN runs r ON r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for
    ORDER BY c.id
    FOR UPDATE OF c, r SKIP LOCKED
), done AS MATERIALIZED (
    SELECT l.*, CASE WHEN l.more_to_come THEN 'launched' ELSE 'completed' END AS to_status
    FROM locked l
    WHERE l.campaign_status = 'executing' AND l.open_runs = 1 AND l.queued_runs = 0
      AND l.status = 'executing' AND l.attempt = 1 AND l.node = CAST(:node AS text) AND l.answer IS NULL
), written AS (
    UPDATE runs r
    SET status = 'completed', error = NULL, lease_until = NULL, finished_at = d.now,
        -- A first attempt starts after its claim: the node's instant counts, within bounds.
        started_at = coalesce(least(greatest(d.started_at, r.claimed_at), d.now), r.started_at)
    FROM done d
    WHERE r.campaign_id = d.campaign_id AND r.scheduled_for = d.scheduled_for
), moved AS (
    UPDATE campaigns c
    SET open_runs = 0, updated_at = d.now, status = d.to_status, has_completed = true
    FROM done d WHERE c.id = d.campaign_id
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT d.campaign_id, d.now, 'run_ended', 'executing', d.to_status, 'completed', CAST(:node AS text),
           d.run_id, d.scheduled_for
    FROM done d
)
SELECT 'completed' AS status, 'executing' AS from_status, d.to_status, false AS promoted,
       array_agg(d.number) AS numbers
FROM done d
GROUP BY d.to_status
