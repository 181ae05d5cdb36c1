-- Lets pending runs wait for the next opening of their send window; no attempt is counted.
-- In: one element per run, with the instants from and until when its next attempt may start.
-- Out: the campaigns of the runs that wait. A run that has started, ended or moved since is left as it is.
-- Moves: runs queued, retrying stay so, due at the opening.
WITH item AS (
    SELECT * FROM unnest(
        CAST(:campaign_ids AS bigint[]), CAST(:scheduled_fors AS timestamptz[]), CAST(:attempts AS smallint[]),
        CAST(:openings AS timestamptz[]), CAST(:start_befores AS timestamptz[]),
        CAST(:open_untils AS timestamptz[])
    ) AS i (campaign_id, scheduled_for, attempt, opening, start_before, open_until)
), waits AS (
    UPDATE runs r
    SET next_attempt_at = i.opening, start_before = i.start_before, open_until = i.open_until,
        worker_queue = NULL, due_at = CASE WHEN r.attempt = 0 THEN i.opening ELSE r.due_at END
    FROM item i
    WHERE r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for AND r.attempt = i.attempt
      AND r.status IN ('queued', 'retrying')
    RETURNING r.campaign_id, r.scheduled_for, r.id
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT w.campaign_id, CAST(:now AS timestamptz), 'run_retrying', c.status, c.status,
           'waits for its send window', CAST(:node AS text), w.id, w.scheduled_for
    FROM waits w JOIN campaigns c ON c.id = w.campaign_id
)
SELECT w.campaign_id FROM waits w
