-- Counts the runs of each period by status.
-- In: bounds, ascending instants; campaign_ids, or null for all campaigns. Out: period from 1, status, runs.
SELECT width_bucket(scheduled_for, CAST(:bounds AS timestamptz[])) AS period, status, count(*) AS runs
FROM runs
WHERE claimed_at >= CAST(:since AS timestamptz) AND claimed_at < CAST(:until AS timestamptz) + interval '7 days'
  AND scheduled_for >= CAST(:since AS timestamptz) AND scheduled_for < CAST(:until AS timestamptz)
  AND (CAST(:campaign_ids AS bigint[]) IS NULL OR campaign_id = ANY (CAST(:campaign_ids AS bigint[])))
GROUP BY 1, 2
