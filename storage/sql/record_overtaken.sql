-- Records attempts whose outcome was refused because another node had the run by then: their receiver may
-- have the run twice. Cancelled runs are left out.
-- In: node made the attempts. Out: the number of rows.
WITH logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, cause, actor, run_id, scheduled_for, details)
    SELECT r.campaign_id, coalesce(CAST(:now AS timestamptz), clock_timestamp()), 'overtaken',
           'attempt ' || i.attempt || ' of ' || CAST(:node AS text) || ': ' || i.outcome,
           CAST(:node AS text), r.id, r.scheduled_for, jsonb_build_object('attempt', i.attempt)
    FROM unnest(CAST(:campaign_ids AS bigint[]), CAST(:scheduled_fors AS timestamptz[]),
                CAST(:attempts AS smallint[]), CAST(:takeovers AS smallint[]),
                CAST(:outcomes AS text[]))
             AS i (campaign_id, scheduled_for, attempt, takeovers, outcome)
    JOIN runs r ON r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for
    WHERE r.status <> 'cancelled' AND (r.attempt > i.attempt OR r.takeovers > i.takeovers)
    RETURNING 1
)
SELECT count(*) AS count FROM logged
