-- Releases a held run for an operator: it is due now, and its grace starts again.
-- Out: the run, if it was held.
-- Moves: runs held -> retrying.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), locked AS MATERIALIZED (
    SELECT c.id, c.status FROM campaigns c
    WHERE c.id = CAST(:campaign_id AS bigint) FOR UPDATE
), released AS (
    UPDATE runs r
    SET status = 'retrying', next_attempt_at = clock.now, error = NULL,
        start_before = clock.now + make_interval(secs => CAST(:grace AS float8))
    FROM locked l CROSS JOIN clock
    WHERE r.campaign_id = l.id AND r.id = CAST(:run_id AS uuid) AND r.status = 'held'
    RETURNING r.campaign_id, r.scheduled_for, r.id
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT r.campaign_id, clock.now, 'run_retrying', l.status, l.status, 'released',
           CAST(:actor AS text), r.id, r.scheduled_for
    FROM released r JOIN locked l ON l.id = r.campaign_id CROSS JOIN clock
)
SELECT r.campaign_id, r.scheduled_for FROM released r
