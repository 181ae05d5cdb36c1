-- Writes the outcomes of attempts, each guarded by (run, attempt, node) and the expected status.
-- In: actor is the caller, if not the node; details is what a person said about it. Without a node (null) the attempt alone is the guard: the
-- caller that finishes a run later knows its attempt, and another node has another attempt.
-- Out: the outcomes written. Those with the same result share one row, which holds their positions in the
-- input, from 1. An outcome is missing when its run was reclaimed, cancelled or finished before. It is
-- also missing if another session has locked its run, or the queued run that it would promote.
-- Moves: runs executing -> completed | failed | retrying | held | queued (for a worker), held -> failed;
-- executing -> missed when the attempt did not start in time; a pending run that is too late ->
-- missed | failed; a run that is held before its first attempt -> missed, when it is dropped;
-- campaigns executing -> launched | completed | failed when the last open run ends.
-- The caller runs lock_campaigns first, so that the rows read here are current. No part joins another: a
-- planner that expects one row from a batch would use nested loops.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), item AS (
    SELECT * FROM unnest(
        CAST(:campaign_ids AS bigint[]), CAST(:scheduled_fors AS timestamptz[]),
        CAST(:attempts AS smallint[]), CAST(:expected AS text[]), CAST(:outcomes AS text[]),
        CAST(:errors AS text[]), CAST(:waits AS float8[]), CAST(:started_ats AS timestamptz[])
    ) WITH ORDINALITY
        AS i (campaign_id, scheduled_for, attempt, expected, outcome, error, wait, started_at, number)
), locked AS MATERIALIZED (
    SELECT i.*, clock.now, c.status AS campaign_status, c.open_runs, c.held_runs, c.queued_runs, c.more_to_come,
           c.has_completed, c.target
    FROM item i CROSS JOIN clock JOIN campaigns c ON c.id = i.campaign_id
    ORDER BY c.id
    FOR UPDATE OF c
), ready AS MATERIALIZED (
    SELECT l.*, r.id AS run_id, l.outcome IN ('completed', 'failed', 'missed') AS closes,
           -- Runs that are held before their first attempt are counted apart, for they are in no other's way.
           CASE WHEN l.attempt > 0 THEN 0 ELSE CASE WHEN l.outcome = 'held' THEN 1 ELSE 0 END
                                               - CASE WHEN l.expected = 'held' THEN 1 ELSE 0 END END AS holds
    FROM locked l
    JOIN runs r ON r.campaign_id = l.campaign_id AND r.scheduled_for = l.scheduled_for
    WHERE r.attempt = l.attempt AND r.status = l.expected
      AND (l.expected <> 'executing' OR r.node = CAST(:node AS text) OR CAST(:node AS text) IS NULL
           OR r.answer IS NOT NULL)
    FOR UPDATE OF r SKIP LOCKED
), tallied AS MATERIALIZED (
    SELECT r.*, count(*) FILTER (WHERE r.closes) OVER campaign AS closed,
           sum(r.holds) OVER campaign AS newly_held,
           bool_or(r.outcome = 'completed') OVER campaign AS completed,
           min(r.scheduled_for) OVER campaign AS earliest,
           r.scheduled_for = max(r.scheduled_for) OVER campaign AS is_last
    FROM ready r
    WINDOW campaign AS (PARTITION BY r.campaign_id)
), decided AS MATERIALIZED (
    -- The campaign's new status is on the last of its runs in the batch.
    SELECT t.*, (t.closed > 0 OR t.newly_held > 0) AND t.queued_runs > 0
                AND t.open_runs - t.closed - t.held_runs - t.newly_held = t.queued_runs AS promotes,
           CASE WHEN NOT t.is_last OR t.closed = 0 OR t.open_runs > t.closed THEN t.campaign_status
                WHEN t.more_to_come AND t.campaign_status = 'executing' THEN 'launched'
                WHEN t.more_to_come THEN t.campaign_status
                WHEN t.has_completed OR t.completed THEN 'completed'
                ELSE 'failed' END AS to_status
    FROM tallied t
), successor AS MATERIALIZED (
    -- The run that waited for its predecessor may start once no other run is open.
    SELECT r.campaign_id, r.scheduled_for
    FROM decided d
    JOIN runs r ON r.campaign_id = d.campaign_id AND r.scheduled_for > d.earliest
    WHERE d.is_last AND d.promotes AND r.status = 'queued' AND r.next_attempt_at IS NULL
), promotable AS MATERIALIZED (
    SELECT s.* FROM successor s
    JOIN runs r ON r.campaign_id = s.campaign_id AND r.scheduled_for = s.scheduled_for
    FOR UPDATE OF r SKIP LOCKED
), outcome AS MATERIALIZED (
    SELECT d.* FROM decided d
    WHERE NOT d.promotes
       OR d.campaign_id NOT IN (SELECT campaign_id FROM successor EXCEPT
                                SELECT campaign_id FROM promotable)
), written AS (
    UPDATE runs r
    SET status = o.outcome, error = o.error,
        -- A run that waits for a worker is checked again once it is too late to start.
        next_attempt_at = CASE o.outcome
            WHEN 'retrying' THEN o.now + make_interval(secs => o.wait)
            WHEN 'queued' THEN least(r.start_before + interval '1 millisecond',
                                     '9999-12-31 00:00:00+00') END,
        worker_queue = CASE WHEN o.outcome = 'queued' THEN o.target END,
        answer = NULL,
        -- An attempt that a worker will make, or that did not start in time, does not count.
        attempt = CASE WHEN o.expected = 'executing' AND o.outcome IN ('queued', 'missed')
                       THEN r.attempt - 1 ELSE r.attempt END,
        -- A first attempt starts after its claim: the node's instant counts, within bounds.
        started_at = CASE WHEN r.attempt > 1 THEN r.started_at
                          WHEN o.outcome NOT IN ('queued', 'missed')
                          THEN coalesce(least(greatest(o.started_at, r.claimed_at), o.now),
                                        r.started_at) END,
        lease_until = CASE WHEN o.outcome = 'executing'
                           THEN o.now + make_interval(secs => o.wait) END,
        node = CASE WHEN o.outcome IN ('retrying', 'held', 'queued') THEN NULL ELSE r.node END,
        finished_at = CASE WHEN o.closes THEN o.now END
    FROM outcome o
    WHERE r.campaign_id = o.campaign_id AND r.scheduled_for = o.scheduled_for
), promoted AS (
    UPDATE runs r SET next_attempt_at = clock.now
    FROM promotable p CROSS JOIN clock
    WHERE r.campaign_id = p.campaign_id AND r.scheduled_for = p.scheduled_for
), moved AS (
    UPDATE campaigns c
    SET open_runs = o.open_runs - o.closed, held_runs = o.held_runs + o.newly_held, updated_at = o.now,
        status = o.to_status,
        queued_runs = CASE WHEN o.promotes THEN 0 ELSE o.queued_runs END,
        has_completed = o.has_completed OR o.completed
    FROM outcome o
    WHERE c.id = o.campaign_id AND o.is_last AND (o.closed > 0 OR o.newly_held <> 0)
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for, details)
    SELECT o.campaign_id, o.now, CASE WHEN o.closes THEN 'run_ended' ELSE 'run_' || o.outcome END,
           o.campaign_status, o.to_status, o.outcome || coalesce(': ' || o.error, ''),
           coalesce(CAST(:actor AS text), CAST(:node AS text)), o.run_id, o.scheduled_for,
           CAST(:details AS jsonb)
    FROM outcome o
    ORDER BY o.campaign_id, o.scheduled_for  -- the run that moves the campaign comes last
)
SELECT o.outcome AS status, o.campaign_status AS from_status, o.to_status, o.promotes AS promoted,
       array_agg(o.number) AS numbers
FROM outcome o
GROUP BY o.outcome, o.campaign_status, o.to_status, o.promotes
