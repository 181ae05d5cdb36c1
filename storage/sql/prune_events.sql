-- Deletes events of some campaigns from before an instant, but keeps each campaign's newest event.
-- In: campaign_ids, before, max_rows. Out: one row per deleted event.
DELETE FROM campaign_events e
WHERE (e.campaign_id, e.id) IN (
    SELECT o.campaign_id, o.id
    FROM campaign_events o
    WHERE o.campaign_id = ANY(CAST(:campaign_ids AS bigint[]))
      AND o.at < CAST(:before AS timestamptz)
      AND o.id < (SELECT max(n.id) FROM campaign_events n WHERE n.campaign_id = o.campaign_id)
    LIMIT CAST(:max_rows AS integer)
    FOR UPDATE SKIP LOCKED
)
RETURNING 1
