-- The event that this node wrote with a run's outcome since the claim of the attempt.
SELECT e.from_status, e.to_status FROM campaign_events e
WHERE e.campaign_id = CAST(:campaign_id AS bigint) AND e.run_id = CAST(:run_id AS uuid)
  AND e.actor = CAST(:node AS text) AND e.event = CAST(:event AS text)
  AND e.at >= CAST(:since AS timestamptz)
ORDER BY e.id DESC
LIMIT 1
