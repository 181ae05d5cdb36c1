-- Takes hold of a node whose lease ended, if nobody else has.
SELECT n.id FROM nodes n
WHERE n.id = CAST(:dead_node AS text)
  AND n.lease_until < coalesce(CAST(:now AS timestamptz), clock_timestamp())
FOR UPDATE SKIP LOCKED
