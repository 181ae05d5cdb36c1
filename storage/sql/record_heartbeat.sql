-- Renews a node's lease and returns the other live nodes, and the last change of the brakes.
-- In: applied_to, the snapshot of the last look for work whose changes the node obeys.
-- No row: another node has replaced this one.
WITH clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
), beat AS (
    UPDATE nodes n
    SET heartbeat_at = clock.now, skew_ms = CAST(:skew_ms AS integer),
        lease_until = clock.now + make_interval(secs => CAST(:lease AS float8)),
        draining = CAST(:draining AS boolean), shards = CAST(:shards AS smallint),
        applied_to = CAST(CAST(:applied_to AS text) AS pg_snapshot),
        targets = coalesce(CAST(:targets AS jsonb), n.targets),
        -- A claim in progress may have an instant a little older than this statement's.
        oldest_claim_at = coalesce(CAST(:oldest_claim_at AS timestamptz), clock.now)
                          - interval '60 seconds'
    FROM clock WHERE n.id = CAST(:node AS text)
    RETURNING n.id
)
SELECT clock.now,
       ARRAY(SELECT n.id FROM nodes n
             WHERE n.lease_until > clock.now AND NOT n.draining AND n.id <> beat.id
             ORDER BY n.id) AS others,
       ARRAY(SELECT n.id FROM nodes n
             WHERE n.lease_until < clock.now AND n.id <> beat.id ORDER BY n.id) AS lost,
       (SELECT max(b.changed_at) FROM brakes b) AS brakes_at,
       (SELECT jsonb_object_agg(r.target, r.resumed_at) FROM target_resumes r) AS resumes
FROM beat, clock
