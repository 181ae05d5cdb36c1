-- In: campaigns of which a run has just failed. Out: those of them that are live, and whose schedule asks for a
-- pause now: so many of its newest runs in a row have failed. Runs that are open or cancelled, that passed or
-- that a person asked for, count neither way. It reads the last runs of a campaign by the primary key.
SELECT c.id AS campaign_id, wanted.failures
FROM campaigns c
JOIN schedule_definitions d ON d.campaign_id = c.id
CROSS JOIN LATERAL (SELECT CAST(d.body ->> 'pause_after_failures' AS integer) AS failures) AS wanted
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE newest.status = 'failed') AS failed
    FROM (SELECT r.status FROM runs r
          WHERE r.campaign_id = c.id AND r.cause = 'schedule' AND r.status IN ('completed', 'failed')
            AND r.claimed_at > d.saved_at
          ORDER BY r.scheduled_for DESC LIMIT wanted.failures) AS newest
) AS seen
WHERE c.id = ANY(CAST(:campaign_ids AS bigint[])) AND c.status IN ('scheduled', 'launched', 'executing')
  AND d.body -> 'pause_after_failures' IS NOT NULL AND seen.failed >= wanted.failures
ORDER BY c.id
