-- The status and attempt of runs, and the status of their campaigns.
SELECT r.campaign_id, r.scheduled_for, r.status, r.attempt, c.status AS campaign
FROM unnest(CAST(:campaign_ids AS bigint[]), CAST(:scheduled_fors AS timestamptz[]))
         AS i (campaign_id, scheduled_for)
JOIN runs r ON r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for
JOIN campaigns c ON c.id = r.campaign_id
