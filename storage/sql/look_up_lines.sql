-- Which campaigns of a batch of import lines are there already, by uuid, and which ids are taken.
SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now,
       ARRAY(SELECT c.uuid FROM campaigns c WHERE c.uuid = ANY (CAST(:uuids AS uuid[]))) AS known,
       ARRAY(SELECT c.id FROM campaigns c WHERE c.id = ANY (CAST(:ids AS bigint[]))) AS taken
