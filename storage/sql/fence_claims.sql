-- A row, if no claim of a node is in progress: every claim locks its node's row until it ends.
SELECT n.id FROM nodes n WHERE n.id = CAST(:node AS text) FOR UPDATE SKIP LOCKED
