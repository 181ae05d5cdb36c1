-- Claims due events of schedules: occurrences, and windows that open or close.
-- In: one element per event that a timer reports as due, with the event that follows it.
-- Out: the claimed events. Events with the same result share one row, which holds their positions in the
-- input, from 1. The row 'postponed' holds events that remain due, because the payloads before them reach
-- max_bytes. An event is missing if another node claimed it or its schedule changed. It
-- is also missing if it is not due by the database clock, or another session has locked its campaign; and
-- an occurrence is missing during a freeze, or if it was planned together with others before a change of brakes.
-- A brake's mark on an occurrence decides what it is made.
-- An occurrence with a status gets no attempt: it is made skipped, missed or held, with its cause.
-- Moves: scheduled, launched, executing -> executing | launched | completed | failed; inserts runs.
WITH waited AS MATERIALIZED (
    -- What is due is handed over a little early; nothing is locked before its instant.
    SELECT CASE WHEN CAST(:now AS timestamptz) IS NULL
                THEN pg_sleep_until(least(CAST(:due_at AS timestamptz), clock_timestamp() + interval '50 ms')) END
), clock AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now FROM waited
), alive AS MATERIALIZED (
    -- A node whose lease has ended claims nothing. The lock makes a rescuer wait for this commit.
    SELECT n.id FROM nodes n, clock
    WHERE n.id = CAST(:node AS text) AND n.lease_until > clock.now
    FOR KEY SHARE OF n
), item AS (
    SELECT * FROM unnest(
        CAST(:campaign_ids AS bigint[]), CAST(:revisions AS bigint[]),
        CAST(:armed_ats AS timestamptz[]), CAST(:kinds AS text[]),
        CAST(:fire_ats AS timestamptz[]), CAST(:run_ids AS uuid[]),
        CAST(:start_befores AS timestamptz[]), CAST(:statuses AS text[]), CAST(:causes AS text[]),
        CAST(:overlaps AS text[]),
        CAST(:missed_untils AS timestamptz[]),
        CAST(:next_ats AS timestamptz[]), CAST(:next_locals AS timestamp[]),
        CAST(:next_kinds AS text[]), CAST(:backlogs AS boolean[]), CAST(:mores AS boolean[]),
        CAST(:older_firsts AS integer[]), CAST(:older_lasts AS integer[]),
        CAST(:stretches AS boolean[]), CAST(:brakes_ats AS timestamptz[]),
        CAST(:due_ats AS timestamptz[]), CAST(:open_untils AS timestamptz[]),
        CAST(:valid_untils AS timestamptz[]), CAST(:next_due_ats AS timestamptz[]),
        CAST(:deferrals AS boolean[]), CAST(:calendars_revisions AS bigint[])
    ) WITH ORDINALITY AS i (campaign_id, revision, armed_at, kind, fire_at, run_id, start_before,
            decided, cause, overlap, missed_until, next_at, next_local, next_kind, backlog, more,
            older_first, older_last, is_stretch, brakes_at, due_at, open_until, valid_until,
            next_due_at, deferred, calendars_revision, number)
), won AS MATERIALIZED (
    SELECT i.*, clock.now, alive.id AS node, c.status, c.target, c.name,
           mark.status AS marked, mark.cause AS mark_cause,
           CASE WHEN i.fire_at IS NOT NULL AND c.target <> ALL (CAST(:without_payload AS text[]))
                THEN c.payload::text END AS payload,
           c.open_runs, c.held_runs, c.queued_runs, c.has_completed,
           c.has_due OR i.fire_at IS NOT NULL OR i.older_first <= i.older_last AS has_due,
           EXISTS (SELECT 1 FROM runs r WHERE r.campaign_id = i.campaign_id
                                          AND r.scheduled_for = i.fire_at) AS has_run
    FROM item i
    CROSS JOIN clock
    CROSS JOIN alive
    JOIN timers t ON t.campaign_id = i.campaign_id AND t.revision = i.revision
                 AND t.fire_at = i.armed_at AND t.kind = i.kind
    JOIN campaigns c ON c.id = t.campaign_id
    LEFT JOIN LATERAL (
        SELECT CASE b.overdue_action WHEN 'hold' THEN 'held' ELSE 'missed' END AS status, b.overdue_cause AS cause
        FROM brakes b
        WHERE b.scope IN ('*', 'target:' || c.target)
          AND coalesce(i.due_at, i.fire_at) >= b.overdue_since AND coalesce(i.due_at, i.fire_at) < b.overdue_before
        ORDER BY b.changed_at DESC LIMIT 1
    ) AS mark ON true
    WHERE t.fire_at <= clock.now
      AND (i.kind <> 'fire' OR NOT EXISTS (SELECT FROM brakes) OR NOT EXISTS (
          SELECT FROM brakes b WHERE b.scope IN ('*', 'target:' || c.target) AND b.frozen_at IS NOT NULL))
      AND (NOT i.is_stretch OR i.brakes_at IS NOT DISTINCT FROM (SELECT max(b.changed_at) FROM brakes b))
      -- The stretch was planned by the node's clock; it must be past by the database clock too.
      AND (i.fire_at IS NULL OR coalesce(i.due_at, i.fire_at) <= clock.now)
      AND (i.missed_until IS NULL OR i.missed_until < clock.now)
      -- Its send window may have closed since, or a calendar may have changed: it is planned again.
      AND (i.valid_until IS NULL OR clock.now <= i.valid_until)
      AND (i.calendars_revision < 0
           OR i.calendars_revision = (SELECT k.calendars_revision FROM control k))
      AND c.status IN ('scheduled', 'launched', 'executing', 'paused')
      AND NOT (t.backlog AND c.open_runs > c.held_runs AND i.overlap <> 'allow' AND c.status <> 'paused')
    ORDER BY c.id
    FOR UPDATE OF c, t SKIP LOCKED
), bound AS MATERIALIZED (
    -- The first event that is postponed; null when the payloads of all of them fit, as usual.
    SELECT CASE WHEN (SELECT sum(octet_length(w.payload)) FROM won w) > CAST(:max_bytes AS bigint) THEN (
        SELECT min(m.number) FROM (
            SELECT w.number, sum(octet_length(w.payload)) OVER (
                       ORDER BY w.number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
            FROM won w WHERE w.payload IS NOT NULL
        ) m WHERE m.before >= CAST(:max_bytes AS bigint)) END AS number
), judged AS MATERIALIZED (
    -- made is null for an event without a run, for an occurrence whose run exists already, and for one
    -- that waits. A run that is held before its first attempt is in no other's way.
    SELECT w.*, CASE WHEN w.fire_at IS NULL OR w.has_run THEN NULL
                     WHEN w.status = 'paused' THEN 'missed'
                     WHEN w.marked IS NOT NULL THEN w.marked
                     WHEN w.decided IS NOT NULL THEN w.decided
                     WHEN w.now > w.start_before THEN 'missed'
                     WHEN w.open_runs = w.held_runs OR w.overlap = 'allow' THEN 'executing'
                     WHEN w.overlap = 'queue' AND w.queued_runs = 0 THEN 'queued'
                     ELSE 'skipped' END AS made
    FROM won w
    CROSS JOIN bound b
    WHERE b.number IS NULL OR w.number < b.number OR w.payload IS NULL
), older AS MATERIALIZED (
    -- The older occurrences of a late stretch get no attempt; each event owns a slice of the arrays.
    SELECT j.campaign_id, j.now, j.node, j.status AS campaign_status,
           (CAST(:older_ats AS timestamptz[]))[n] AS at, (CAST(:older_run_ids AS uuid[]))[n] AS id,
           (CAST(:older_start_befores AS timestamptz[]))[n] AS start_before,
           CASE WHEN j.status = 'paused' THEN 'missed' ELSE (CAST(:older_statuses AS text[]))[n] END AS status,
           CASE WHEN j.status = 'paused' THEN 'missed: paused' ELSE (CAST(:older_causes AS text[]))[n] END AS cause
    FROM judged j CROSS JOIN LATERAL generate_series(j.older_first, j.older_last) AS n
    -- A window whose opening was edited while overdue is walked again; occurrences with a run are left out.
    WHERE j.older_first <= j.older_last
      AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.campaign_id = j.campaign_id
                      AND r.scheduled_for = (CAST(:older_ats AS timestamptz[]))[n])
), outcome AS MATERIALIZED (
    SELECT c.*, CASE
               WHEN c.status = 'paused' AND (c.kind <> 'close' OR c.open_runs > 0) THEN 'paused'
               WHEN c.status = 'executing' OR c.made = 'executing' OR c.newly_held > 0 THEN 'executing'
               WHEN c.kind = 'fire' AND c.fire_at IS NULL AND c.older_first > c.older_last AND NOT c.deferred
                    THEN c.status
               WHEN c.more THEN 'launched'
               WHEN c.has_completed OR NOT c.has_due THEN 'completed'
               ELSE 'failed' END AS to_status,
           CASE WHEN c.kind <> 'fire' OR c.fire_at IS NOT NULL THEN NULL
                WHEN c.deferred THEN jsonb_build_object('due_at', c.next_due_at)
                ELSE jsonb_build_object('scheduled_for', c.next_at, 'was', c.armed_at, 'now', c.next_due_at)
                END AS details
    FROM (
        SELECT j.*, CASE WHEN j.made = 'held' THEN 1 ELSE 0 END
                    + CASE WHEN j.older_first <= j.older_last
                           THEN (SELECT count(*) FROM older p
                                 WHERE p.campaign_id = j.campaign_id AND p.status = 'held')
                           ELSE 0 END AS newly_held
        FROM judged j
    ) c
), opened AS (
    INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, node, claimed_at,
                      started_at, start_before, finished_at, error, due_at, open_until)
    SELECT o.campaign_id, o.fire_at, o.run_id, o.made,
           CASE WHEN o.made = 'executing' THEN 1 ELSE 0 END,
           CASE WHEN o.made = 'executing' THEN o.node END, o.now,
           CASE WHEN o.made = 'executing' THEN o.now END, o.start_before,
           CASE WHEN o.made IN ('missed', 'skipped') THEN o.now END,
           CASE WHEN o.made = 'held' THEN coalesce(o.mark_cause, o.cause) END, o.due_at, o.open_until
    FROM outcome o WHERE o.made IS NOT NULL
), passed AS (
    INSERT INTO runs (campaign_id, scheduled_for, id, status, claimed_at, start_before, finished_at, error)
    SELECT p.campaign_id, p.at, p.id, p.status, p.now, p.start_before,
           CASE WHEN p.status <> 'held' THEN p.now END, CASE WHEN p.status = 'held' THEN p.cause END
    FROM older p
    ON CONFLICT DO NOTHING
), advanced AS (
    UPDATE timers t
    SET fire_at = coalesce(o.next_due_at, o.next_at),
        scheduled_for = CASE WHEN o.next_due_at IS NOT NULL THEN o.next_at END, local = o.next_local, kind = o.next_kind, backlog = o.backlog
    FROM outcome o WHERE t.campaign_id = o.campaign_id AND o.next_at IS NOT NULL
), spent AS (
    DELETE FROM timers t USING outcome o
    WHERE t.campaign_id = o.campaign_id AND o.next_at IS NULL
), moved AS (
    UPDATE campaigns c
    SET status = o.to_status, more_to_come = o.more, has_due = o.has_due, updated_at = o.now,
        open_runs = c.open_runs + o.newly_held + CASE WHEN o.made IN ('executing', 'queued') THEN 1 ELSE 0 END,
        held_runs = c.held_runs + o.newly_held,
        queued_runs = c.queued_runs + CASE WHEN o.made = 'queued' THEN 1 ELSE 0 END
    FROM outcome o WHERE c.id = o.campaign_id
), bulk AS MATERIALIZED (
    -- More occurrences than can be listed share one event row, that of the newest occurrence.
    SELECT b.campaign_id, b.last, b.cause,
           jsonb_build_object('from', b.first, 'to', b.last, 'count', b.count) AS details
    FROM unnest(
        CAST(:bulk_campaign_ids AS bigint[]), CAST(:bulk_firsts AS timestamptz[]),
        CAST(:bulk_lasts AS timestamptz[]), CAST(:bulk_counts AS bigint[]),
        CAST(:bulk_causes AS text[])
    ) AS b (campaign_id, first, last, count, cause)
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for, details)
    SELECT b.campaign_id, o.now, 'passed', o.status, o.status,
           CASE WHEN o.status = 'paused' THEN 'missed: paused' ELSE b.cause END, o.node,
           p.id, b.last, b.details
    FROM bulk b
    JOIN outcome o ON o.campaign_id = b.campaign_id AND o.fire_at IS DISTINCT FROM b.last
    LEFT JOIN older p ON p.campaign_id = b.campaign_id AND p.at = b.last
    UNION ALL
    SELECT p.campaign_id, p.now, CASE WHEN p.status = 'held' THEN 'run_held' ELSE 'passed' END,
           p.campaign_status, p.campaign_status, p.cause, p.node, p.id, p.at, NULL
    FROM older p
    WHERE NOT EXISTS (SELECT 1 FROM bulk b WHERE b.campaign_id = p.campaign_id AND b.last = p.at)
    UNION ALL
    SELECT o.campaign_id, o.now,
           CASE WHEN o.kind = 'open' THEN 'window_opened' WHEN o.kind = 'close' THEN 'window_closed'
                WHEN o.made IN ('executing', 'queued') THEN 'fire'
                WHEN o.made = 'held' THEN 'run_held' WHEN o.deferred THEN 'deferred'
                WHEN o.fire_at IS NULL THEN 'recomputed' ELSE 'passed' END,
           o.status, o.to_status,
           CASE WHEN o.kind <> 'fire' OR o.made = 'executing' THEN 'due'
                WHEN o.deferred THEN o.cause
                WHEN o.fire_at IS NULL THEN 'a calendar changed'
                WHEN o.made = 'queued' THEN 'queued: a run is open'
                WHEN o.made IS NULL THEN 'has its run already'
                WHEN o.status = 'paused' THEN 'missed: paused'
                WHEN o.marked IS NOT NULL THEN o.mark_cause
                WHEN o.decided IS NOT NULL THEN o.cause
                WHEN o.made = 'skipped' THEN 'skipped: a run is open' ELSE 'missed: too late' END,
           o.node, CASE WHEN o.kind = 'fire' THEN o.run_id END,
           coalesce(o.fire_at, CASE WHEN o.kind = 'fire' THEN o.next_at END, o.armed_at),
           coalesce(o.details, b.details)
    FROM outcome o
    LEFT JOIN bulk b ON b.campaign_id = o.campaign_id AND b.last = o.fire_at
)
SELECT o.made, o.status AS from_status, o.to_status, o.target, o.now, array_agg(o.number) AS numbers,
       array_agg(o.name) AS names,
       array_agg(CASE WHEN o.made = 'executing' THEN o.payload END) AS payloads
FROM outcome o
GROUP BY o.made, o.status, o.to_status, o.target, o.now
UNION ALL
SELECT 'postponed', NULL, NULL, NULL, NULL, array_agg(w.number), NULL, NULL
FROM won w JOIN bound b ON w.number >= b.number AND w.payload IS NOT NULL HAVING count(*) > 0
