-- Whether no claim of a node is under way: each of them holds its node's row until it has ended.
SELECT n.id FROM nodes n WHERE n.id = CAST(:node AS text) FOR UPDATE SKIP LOCKED
