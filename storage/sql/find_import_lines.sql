-- The campaigns of a batch of import lines that exist already, by uuid, and the ids in use.
SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now,
       ARRAY(SELECT c.uuid FROM campaigns c WHERE c.uuid = ANY (CAST(:uuids AS uuid[]))) AS known,
       ARRAY(SELECT c.id FROM campaigns c WHERE c.id = ANY (CAST(:ids AS bigint[]))) AS taken
