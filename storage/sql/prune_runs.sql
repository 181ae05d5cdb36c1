-- Deletes runs of some campaigns that ended before an instant, but keeps each campaign's newest run.
-- In: campaign_ids, before, max_rows. Out: one row per deleted run.
-- The newest run records how far the schedule was carried out, so it stays whatever its age.
DELETE FROM runs r
WHERE (r.campaign_id, r.scheduled_for) IN (
    SELECT o.campaign_id, o.scheduled_for
    FROM runs o
    WHERE o.campaign_id = ANY(CAST(:campaign_ids AS bigint[]))
      AND o.finished_at < CAST(:before AS timestamptz)
      AND o.scheduled_for < (SELECT max(n.scheduled_for) FROM runs n
                             WHERE n.campaign_id = o.campaign_id)
    LIMIT CAST(:max_rows AS integer)
    FOR UPDATE SKIP LOCKED
)
RETURNING 1
