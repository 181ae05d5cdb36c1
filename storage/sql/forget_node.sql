-- Removes a node that has no run left in its hands; to be run after its row was locked.
-- In: from_start true looks at every run there is, which takes long; false at those since its last mark.
DELETE FROM nodes n
WHERE n.id = CAST(:dead_node AS text)
  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.node = n.id AND r.status = 'executing'
                    AND r.lease_until IS NULL
                    AND (CAST(:from_start AS boolean) OR r.claimed_at >= n.oldest_claim_at))
RETURNING n.id
