-- Campaigns with the given uuids, and whether each payload equals the payload of the import line.
SELECT c.id AS known_id, c.uuid, c.name, c.type, c.status, c.timezone AS campaign_timezone, c.target,
       c.payload = CAST(i.payload AS jsonb) AS same_payload,
       d.campaign_id, d.revision, d.source, d.body, d.kind, d.timezone, d.tzdata, d.anchor_at,
       d.anchor_local, d.frequency, d.repeat_interval, d.first_on, d.time_of_day, d.weekdays,
       d.month_day, d.nth, d.skip, d.every_seconds, d.ends_at, d.ends_on, d.misfire_grace_time,
       d.coalesce, d.overlap, d.rrule, d.saved_at, d.conditions
FROM unnest(CAST(:uuids AS uuid[]), CAST(:payloads AS text[])) AS i (uuid, payload)
JOIN campaigns c ON c.uuid = i.uuid
LEFT JOIN schedule_definitions d ON d.campaign_id = c.id
