-- Removes a node that has no run in flight; the caller locks the node's row first.
-- In: from_start true checks every run of the node, which is slow; false only those since its last mark.
DELETE FROM nodes n
WHERE n.id = CAST(:lost_node AS text)
  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.node = n.id AND r.status = 'executing'
                    AND r.lease_until IS NULL
                    AND (CAST(:from_start AS boolean) OR r.claimed_at >= n.oldest_claim_at))
RETURNING n.id
