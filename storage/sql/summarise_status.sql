-- The state of the cluster in one row. The counts read only due, pending and rare rows, never a whole table.
-- In: since, the oldest instant at which a run that is still executing can have been claimed.
WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
SELECT clock.now, current_setting('server_version') AS server_version,
       (SELECT count(*) FROM timers t WHERE t.fire_at <= clock.now AND NOT t.backlog) AS overdue,
       (SELECT count(*) FROM timers t WHERE t.fire_at <= clock.now AND t.backlog) AS backlog,
       (SELECT t.fire_at FROM timers t WHERE t.fire_at <= clock.now AND NOT t.backlog
        ORDER BY t.fire_at LIMIT 1) AS oldest_overdue_at,
       (SELECT t.fire_at FROM timers t WHERE t.fire_at > clock.now
        ORDER BY t.fire_at LIMIT 1) AS next_event_at,
       (SELECT count(*) FROM runs r
        WHERE r.claimed_at >= CAST(:since AS timestamptz) AND r.status = 'executing') AS executing,
       (SELECT count(*) FROM runs r
        WHERE r.next_attempt_at IS NOT NULL AND r.status = 'retrying') AS retrying,
       (SELECT count(*) FROM runs r
        WHERE r.next_attempt_at IS NOT NULL AND r.status = 'queued') AS queued,
       (SELECT count(*) FROM runs r WHERE r.rare_status = 'held') AS held,
       (SELECT count(*) FROM runs r
        WHERE r.rare_status = 'failed' AND r.claimed_at >= clock.now - interval '24 hours') AS failed,
       (SELECT count(*) FROM runs r
        WHERE r.rare_status = 'missed' AND r.claimed_at >= clock.now - interval '24 hours') AS missed
FROM clock
