-- Moves the sequence of campaign ids past an id that an import line gives. Up to a million ids are drawn
-- one by one, because such steps cannot undo what other sessions draw at the same time.
WITH behind AS MATERIALIZED (
    SELECT s.name,
           CAST(:highest AS bigint) - coalesce(pg_sequence_last_value(s.name), 0) AS steps
    FROM (SELECT CAST(pg_get_serial_sequence('campaigns', 'id') AS regclass) AS name) AS s
), jumped AS (
    SELECT setval(b.name, CAST(:highest AS bigint)) AS moved FROM behind b WHERE b.steps > 1000000
), stepped AS (
    SELECT nextval(b.name) AS moved FROM behind b CROSS JOIN LATERAL generate_series(1, b.steps)
    WHERE b.steps BETWEEN 1 AND 1000000
)
SELECT max(moved) FROM (SELECT moved FROM jumped UNION ALL SELECT moved FROM stepped) AS each
