-- Ends the sessions of a lost node: a stopped process would keep the locks of its transaction. Waits at
-- most 200 ms for each, so that the rows are free for what follows.
-- The application name of a session begins with the tag of its node; see storage.session. Nodes may
-- log in as different roles.
-- Out: for each role, whether this one may end its sessions; the server's rule for pg_terminate_backend.
WITH found AS (
  SELECT a.pid, a.usename AS role,
         me.rolsuper OR (NOT r.rolsuper AND (pg_has_role(r.oid, 'USAGE')
                         OR pg_has_role('pg_signal_backend', 'USAGE'))) AS may_end
  FROM pg_stat_activity a
  JOIN pg_roles r ON r.oid = a.usesysid
  JOIN pg_roles me ON me.rolname = current_user
  WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
    AND a.application_name ~ ('^campaignd-(api-)?'
        || substring(CAST(:lost_node AS text) FROM '-([0-9a-f]{6})(-[0-9]+)?$') || '( |$)')
    AND EXISTS (SELECT 1 FROM nodes n
                WHERE n.id = CAST(:lost_node AS text)
                  AND n.lease_until < coalesce(CAST(:now AS timestamptz), clock_timestamp()))
)
SELECT role, may_end, count(CASE WHEN may_end THEN pg_terminate_backend(pid, 200) END) AS ended
FROM found GROUP BY role, may_end ORDER BY role
