-- Events of any shard that no node claimed in time, due before an instant, after a position in the order
-- (instant, campaign). Events of full targets are left out: enough of these are in memory.
SELECT t.campaign_id, t.revision, t.fire_at FROM armed_timers t
WHERE (t.fire_at, t.campaign_id) > (CAST(:since AS timestamptz), CAST(:since_id AS bigint))
  AND t.fire_at < CAST(:before AS timestamptz)
  AND t.target <> ALL (CAST(:full_targets AS text[]))
ORDER BY t.fire_at, t.campaign_id
LIMIT CAST(:max_rows AS integer)
