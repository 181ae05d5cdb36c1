-- Runs that wait for their next attempt, due before an instant, of this node's shards or overdue.
SELECT r.campaign_id, r.scheduled_for, r.next_attempt_at, c.target
FROM runs r JOIN campaigns c ON c.id = r.campaign_id
WHERE r.next_attempt_at < CAST(:until AS timestamptz)
  AND r.status IN ('queued', 'retrying') AND c.status = 'executing'
  AND c.target <> ALL (CAST(:full_targets AS text[]))
  AND (r.campaign_id % {SHARDS} = ANY (CAST(:shards AS bigint[]))
       OR r.next_attempt_at < CAST(:overdue_before AS timestamptz))
ORDER BY r.next_attempt_at
LIMIT CAST(:max_rows AS integer)
