-- Removes a node that has no run left in its hands; to be run after its row was locked.
DELETE FROM nodes n
WHERE n.id = CAST(:dead_node AS text)
  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.node = n.id AND r.status = 'executing'
                                         AND r.lease_until IS NULL)
RETURNING n.id
