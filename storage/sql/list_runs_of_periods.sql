-- Lists the first runs of each period: those that did not complete, then the others, each by instant.
-- In: bounds, ascending instants; since and until, the first and the last bound; campaign_ids, or null for all
-- campaigns; max_rows for each period. Out: the runs, with their period from 1 and their campaign.
SELECT p.period, r.id, r.campaign_id, r.scheduled_for, r.status, r.attempt, r.claimed_at, r.start_before, r.node,
       r.takeovers, r.cause, r.started_at, r.next_attempt_at, r.finished_at, r.error,
       c.uuid AS campaign_uuid, c.name, c.target
FROM (
    SELECT campaign_id, scheduled_for, status,
           width_bucket(scheduled_for, CAST(:bounds AS timestamptz[])) AS period,
           row_number() OVER (
               PARTITION BY width_bucket(scheduled_for, CAST(:bounds AS timestamptz[]))
               ORDER BY status = 'completed', scheduled_for, campaign_id
           ) AS place
    FROM runs
    WHERE claimed_at >= CAST(:since AS timestamptz) AND claimed_at < CAST(:until AS timestamptz) + interval '7 days'
      AND scheduled_for >= CAST(:since AS timestamptz) AND scheduled_for < CAST(:until AS timestamptz)
      AND (CAST(:campaign_ids AS bigint[]) IS NULL OR campaign_id = ANY (CAST(:campaign_ids AS bigint[])))
) AS p
JOIN runs r ON r.campaign_id = p.campaign_id AND r.scheduled_for = p.scheduled_for
JOIN campaigns c ON c.id = r.campaign_id
WHERE p.place <= CAST(:max_rows AS integer)
ORDER BY p.period, p.status = 'completed', r.scheduled_for, r.campaign_id
