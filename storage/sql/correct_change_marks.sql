-- Corrects marks of changes that lie in the future. A dump of an older server has transaction ids that a
-- younger one has not reached, and every poll would take these schedules for just changed.
-- Out: one row per corrected schedule; fewer rows than the limit mean that no other is left, except locked
-- ones. The new mark is this transaction, so a schedule that was edited meanwhile is not missed.
UPDATE schedule_definitions d
SET changed_in = pg_current_xact_id()
WHERE d.campaign_id IN (
    SELECT o.campaign_id FROM schedule_definitions o
    WHERE o.changed_in >= pg_snapshot_xmax(pg_current_snapshot())
    ORDER BY o.changed_in
    LIMIT CAST(:max_rows AS integer)
    FOR UPDATE SKIP LOCKED
)
RETURNING 1
