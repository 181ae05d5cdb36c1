-- Whether a node has runs in flight that were claimed since its last mark.
SELECT EXISTS (SELECT 1 FROM nodes n JOIN runs r ON r.claimed_at >= n.oldest_claim_at
               WHERE n.id = CAST(:lost_node AS text) AND r.node = n.id AND r.status = 'executing'
                 AND r.lease_until IS NULL) AS found
