-- The runs of the last hour by target: their ends, and the seconds of the completed ones.
-- In: max_rows, the maximum of runs to read, newest first.
WITH newest AS MATERIALIZED (
    SELECT r.campaign_id, r.status, r.started_at, r.finished_at
    FROM runs r
    WHERE r.claimed_at >= clock_timestamp() - interval '1 hour'
    ORDER BY r.claimed_at DESC
    LIMIT CAST(:max_rows AS integer)
)
SELECT c.target, count(*) AS runs,
       count(*) FILTER (WHERE n.status = 'completed') AS completed,
       count(*) FILTER (WHERE n.status = 'failed') AS failed,
       CAST(avg(extract(epoch FROM n.finished_at - n.started_at))
            FILTER (WHERE n.status = 'completed') AS float8) AS mean_seconds,
       CAST(max(extract(epoch FROM n.finished_at - n.started_at))
            FILTER (WHERE n.status = 'completed') AS float8) AS slowest_seconds
FROM newest n
JOIN campaigns c ON c.id = n.campaign_id
GROUP BY c.target
