-- Locks campaigns in order of id, as every statement does that locks several of them. The next statement
-- of the transaction then reads the campaigns and their runs as they stay until its end.
SELECT count(*) FROM (
    SELECT c.id FROM campaigns c
    WHERE c.id = ANY (CAST(:campaign_ids AS bigint[]))
    ORDER BY c.id
    FOR UPDATE
) AS locked
