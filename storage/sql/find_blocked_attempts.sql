-- Finds attempts whose outcome is still expected: those of runs or campaigns that another session has
-- locked. The caller tries these again; all others have ended or belong to another node.
-- Out: blocking_pid is the session that holds the lock, null if unknown. A row's xmax is the transaction
-- that locked it last, unless several share the lock.
WITH holder AS MATERIALIZED (
    SELECT l.transactionid AS xid, min(l.pid) AS pid FROM pg_locks l
    WHERE l.locktype = 'transactionid' AND l.granted
    GROUP BY l.transactionid
)
SELECT r.campaign_id, r.scheduled_for, coalesce(of_campaign.pid, of_run.pid) AS blocking_pid
FROM unnest(CAST(:campaign_ids AS bigint[]), CAST(:scheduled_fors AS timestamptz[]),
            CAST(:attempts AS smallint[]), CAST(:expected AS text[]))
         AS i (campaign_id, scheduled_for, attempt, expected)
JOIN runs r ON r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for
JOIN campaigns c ON c.id = r.campaign_id
LEFT JOIN holder of_campaign ON of_campaign.xid = c.xmax
LEFT JOIN holder of_run ON of_run.xid = r.xmax
WHERE r.attempt = i.attempt AND r.status = i.expected
  AND (i.expected <> 'executing' OR r.node = CAST(:node AS text) OR r.answer IS NOT NULL)
