-- Runs that wait for their next attempt, of this node's shards or overdue. They are due before an instant,
-- and after a position in the order (instant, campaign, scheduled for). Runs of full targets are left out:
-- enough of these are in memory.
SELECT r.campaign_id, r.scheduled_for, r.next_attempt_at, c.target
FROM runs r JOIN campaigns c ON c.id = r.campaign_id
WHERE (r.next_attempt_at, r.campaign_id, r.scheduled_for)
      > (CAST(:since AS timestamptz), CAST(:since_id AS bigint), CAST(:since_scheduled_for AS timestamptz))
  AND r.next_attempt_at < CAST(:until AS timestamptz)
  AND r.status IN ('queued', 'retrying') AND c.status = 'executing'
  AND c.target <> ALL (CAST(:full_targets AS text[]))
  AND (r.campaign_id % {SHARDS} = ANY (CAST(:shards AS bigint[]))
       OR r.next_attempt_at < CAST(:overdue_before AS timestamptz))
ORDER BY r.next_attempt_at, r.campaign_id, r.scheduled_for
LIMIT CAST(:max_rows AS integer)
