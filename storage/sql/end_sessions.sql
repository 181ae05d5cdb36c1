-- Ends the sessions of a lost node: a stopped process would keep the locks of its transaction.
-- A session's application name ends with the tag of its node; see daemon.cluster.heartbeat.
SELECT count(pg_terminate_backend(a.pid)) AS ended
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
  AND a.application_name ~ ('^campaignd-(api-)?'
      || substring(CAST(:lost_node AS text) FROM '-([0-9a-f]{6})(-[0-9]+)?$') || '$')
  AND EXISTS (SELECT 1 FROM nodes n
              WHERE n.id = CAST(:lost_node AS text)
                AND n.lease_until < coalesce(CAST(:now AS timestamptz), clock_timestamp()))
