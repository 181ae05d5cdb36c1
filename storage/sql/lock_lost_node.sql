-- Locks a node whose lease has ended, unless another session holds the lock.
SELECT n.id FROM nodes n
WHERE n.id = CAST(:lost_node AS text)
  AND n.lease_until < coalesce(CAST(:now AS timestamptz), clock_timestamp())
FOR UPDATE SKIP LOCKED
