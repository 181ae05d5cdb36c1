-- Runs that the database holds as in flight on a node, claimed since an instant.
SELECT r.campaign_id, r.scheduled_for, r.attempt FROM runs r
WHERE r.claimed_at >= CAST(:since AS timestamptz) AND r.status = 'executing'
  AND r.node = CAST(:node AS text) AND r.lease_until IS NULL
