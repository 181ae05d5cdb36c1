-- Every campaign with its schedule as given, in order of id. The payload is text: numbers keep their
-- spelling.
SELECT c.id, c.uuid, c.name, c.type, c.status, c.archived_from, c.timezone, c.target,
       CAST(c.payload AS text) AS payload, c.has_due, c.has_completed, c.created_at,
       d.kind, d.body, d.anchor_local, d.every_seconds, d.misfire_grace_time,
       CASE WHEN t.kind = 'fire' OR t.kind = 'open' AND num_nonnulls(d.frequency, d.every_seconds) > 0
            THEN t.fire_at END AS next_run_at
FROM campaigns c
LEFT JOIN schedule_definitions d ON d.campaign_id = c.id
LEFT JOIN timers t ON t.campaign_id = c.id
ORDER BY c.id
