-- Draws the campaign ids and schedule revisions that one batch of an import needs.
SELECT ARRAY(SELECT nextval(pg_get_serial_sequence('campaigns', 'id'))
             FROM generate_series(1, CAST(:ids AS integer))) AS ids,
       ARRAY(SELECT nextval('schedule_revision_seq')
             FROM generate_series(1, CAST(:revisions AS integer))) AS revisions
