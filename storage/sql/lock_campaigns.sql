-- Locks campaigns, except those that another session has locked. The next statement of the transaction
-- then reads the locked campaigns and their runs as they stay until its end.
-- In: campaign_ids; wanted, the number of different ones.
-- Out: the ids of the locked campaigns; null if all of them are locked.
SELECT CASE WHEN count(*) < CAST(:wanted AS integer) THEN coalesce(array_agg(l.id), '{}') END AS locked
FROM (
    SELECT c.id FROM campaigns c
    WHERE c.id = ANY (CAST(:campaign_ids AS bigint[]))
    ORDER BY c.id
    FOR UPDATE SKIP LOCKED
) AS l
