-- Runs whose worker has written a result into the table: of this node's shards, or written a while ago.
SELECT r.campaign_id, r.scheduled_for, r.id AS run_id, r.attempt, r.takeovers, r.claimed_at AS now,
       r.start_before, r.started_at, r.answer, r.error, c.uuid, c.name, c.target,
       CAST('{}' AS jsonb) AS payload,
       -- Storing a result sets the lease's end to that instant.
       r.node, CAST(extract(epoch FROM r.lease_until - r.claimed_at) AS float8) AS seconds
FROM runs r JOIN campaigns c ON c.id = r.campaign_id
WHERE r.lease_until IS NOT NULL AND r.answer IS NOT NULL
  AND (r.campaign_id % {SHARDS} = ANY (CAST(:shards AS bigint[]))
       OR r.lease_until < CAST(:overdue_before AS timestamptz))
ORDER BY r.lease_until
LIMIT CAST(:max_rows AS integer)
