-- Releases held runs for an operator: they are due now, and their grace starts again.
-- In: default_grace, the seconds of grace of a campaign without a schedule. The caller has locked the campaigns.
-- Out: the runs that were held.
-- Moves: runs held -> retrying.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), released AS (
    UPDATE runs r
    SET status = 'retrying', next_attempt_at = clock.now, error = NULL,
        start_before = clock.now + make_interval(
            secs => coalesce((SELECT d.misfire_grace_time FROM schedule_definitions d
                              WHERE d.campaign_id = r.campaign_id), CAST(:default_grace AS integer)))
    FROM unnest(CAST(:campaign_ids AS bigint[]), CAST(:scheduled_fors AS timestamptz[]))
             AS i (campaign_id, scheduled_for)
    CROSS JOIN clock
    WHERE r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for AND r.status = 'held'
    RETURNING r.campaign_id, r.scheduled_for, r.id, r.attempt
), counted AS (
    -- A run without an attempt was in no other's way; now it is.
    UPDATE campaigns c SET held_runs = c.held_runs - f.runs
    FROM (SELECT campaign_id, count(*) AS runs FROM released WHERE attempt = 0 GROUP BY campaign_id) f
    WHERE c.id = f.campaign_id
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for, details)
    SELECT r.campaign_id, clock.now, 'run_retrying', c.status, c.status, 'released',
           CAST(:actor AS text), r.id, r.scheduled_for,
           CAST(:details AS jsonb)
    FROM released r JOIN campaigns c ON c.id = r.campaign_id CROSS JOIN clock
)
SELECT r.campaign_id, r.scheduled_for, r.id FROM released r
