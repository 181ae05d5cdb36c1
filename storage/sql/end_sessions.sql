-- Ends the sessions of a lost node: a process that stands still keeps the locks of its transaction.
-- Its sessions carry the tag that ends its identity; see daemon.firing.membership.
SELECT count(pg_terminate_backend(a.pid)) AS ended
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
  AND a.application_name ~ ('^campaignd-(api-)?'
      || substring(CAST(:dead_node AS text) FROM '-([0-9a-f]{6})(-[0-9]+)?$') || '$')
  AND EXISTS (SELECT 1 FROM nodes n
              WHERE n.id = CAST(:dead_node AS text)
                AND n.lease_until < coalesce(CAST(:now AS timestamptz), clock_timestamp()))
