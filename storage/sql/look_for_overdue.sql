-- Events of any shard that are due since before an instant, after a place in the order (instant,
-- campaign): nobody claimed them in time. Not those of full targets, for which enough is in memory.
SELECT t.campaign_id, t.revision, t.fire_at FROM armed_timers t
WHERE (t.fire_at, t.campaign_id) > (CAST(:since AS timestamptz), CAST(:since_id AS bigint))
  AND t.fire_at < CAST(:before AS timestamptz)
  AND t.target <> ALL (CAST(:full_targets AS text[]))
ORDER BY t.fire_at, t.campaign_id
LIMIT CAST(:max_rows AS integer)
