-- Locks campaigns in order of id, as every statement does that takes more than one. What the next
-- statement of the transaction reads of them, and of their runs, is then true until its end.
SELECT count(*) FROM (
    SELECT c.id FROM campaigns c
    WHERE c.id = ANY (CAST(:campaign_ids AS bigint[]))
    ORDER BY c.id
    FOR UPDATE
) AS locked
