-- Inserts a node with a lease.
INSERT INTO nodes (id, name, host, pid, version, tzdata, started_at, heartbeat_at, lease_until,
                   oldest_claim_at, schema_version)
SELECT CAST(:node AS text), CAST(:name AS text), CAST(:host AS text), CAST(:pid AS integer),
       CAST(:version AS text), CAST(:tzdata AS text), clock.now, clock.now,
       clock.now + make_interval(secs => CAST(:lease AS float8)), clock.now - interval '60 seconds',
       CAST(:schema_version AS text)
FROM (SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now) AS clock
RETURNING heartbeat_at
