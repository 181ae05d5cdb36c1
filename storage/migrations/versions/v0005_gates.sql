-- Schema version 0005, frozen: later changes are later versions.
-- Each change of a large table is a nullable column or a constant default, so no row is rewritten.
ALTER TABLE campaigns ADD COLUMN held_runs SMALLINT DEFAULT 0 NOT NULL;

ALTER TABLE campaigns ADD CONSTRAINT campaigns_held_runs_check CHECK (held_runs BETWEEN 0 AND open_runs);

ALTER TABLE schedule_definitions ADD COLUMN conditions JSONB;

ALTER TABLE timers ADD COLUMN scheduled_for TIMESTAMP WITH TIME ZONE;

ALTER TABLE runs ADD COLUMN due_at TIMESTAMP WITH TIME ZONE;

ALTER TABLE runs ADD COLUMN open_until TIMESTAMP WITH TIME ZONE;

ALTER TABLE nodes ADD COLUMN beats BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE nodes ADD COLUMN applied_to pg_snapshot;

ALTER TABLE nodes ADD COLUMN targets JSONB;

CREATE TABLE brakes (
    scope TEXT NOT NULL,
    frozen_at TIMESTAMP WITH TIME ZONE,
    frozen_by TEXT,
    note TEXT,
    thaw_at TIMESTAMP WITH TIME ZONE,
    overdue_since TIMESTAMP WITH TIME ZONE,
    overdue_before TIMESTAMP WITH TIME ZONE,
    overdue_action TEXT,
    overdue_cause TEXT,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT brakes_pkey PRIMARY KEY (scope),
    CONSTRAINT brakes_scope_check CHECK (scope = '*' OR scope LIKE 'target:_%'),
    CONSTRAINT brakes_frozen_check CHECK
        ((frozen_at IS NULL) = (frozen_by IS NULL) AND (frozen_at IS NOT NULL OR thaw_at IS NULL)),
    CONSTRAINT brakes_overdue_check CHECK
        (num_nulls(overdue_since, overdue_before, overdue_action, overdue_cause) IN (0, 4)),
    CONSTRAINT brakes_overdue_action_check CHECK (overdue_action IN ('hold', 'skip'))
);

CREATE TABLE control (
    id SMALLINT NOT NULL,
    system_identifier TEXT,
    timeline INTEGER,
    served_at TIMESTAMP WITH TIME ZONE,
    restored_at TIMESTAMP WITH TIME ZONE,
    calendars_revision BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT control_pkey PRIMARY KEY (id),
    CONSTRAINT control_id_check CHECK (id = 1)
);

INSERT INTO control (id) VALUES (1);

CREATE TABLE calendars (
    name TEXT NOT NULL,
    title TEXT,
    timezone TEXT,
    weekly JSONB,
    source JSONB,
    covers_to DATE,
    revision BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_by TEXT NOT NULL,
    CONSTRAINT calendars_pkey PRIMARY KEY (name),
    CONSTRAINT calendars_name_check CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$')
);

CREATE TABLE calendar_closed (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    calendar TEXT NOT NULL,
    first_on DATE,
    last_on DATE,
    starts_local TIMESTAMP WITHOUT TIME ZONE,
    ends_local TIMESTAMP WITHOUT TIME ZONE,
    starts_at TIMESTAMP WITH TIME ZONE,
    ends_at TIMESTAMP WITH TIME ZONE,
    label TEXT,
    CONSTRAINT calendar_closed_pkey PRIMARY KEY (id),
    CONSTRAINT calendar_closed_calendar_fkey FOREIGN KEY (calendar) REFERENCES calendars (name) ON DELETE CASCADE,
    CONSTRAINT calendar_closed_pair_check CHECK
        (num_nonnulls(first_on, starts_local, starts_at) = 1 AND num_nonnulls(last_on, ends_local, ends_at) = 1
         AND coalesce(first_on <= last_on, starts_local < ends_local, starts_at < ends_at, false))
);

CREATE INDEX calendar_closed_calendar_idx ON calendar_closed (calendar);

CREATE TABLE schedule_calendars (
    campaign_id BIGINT NOT NULL,
    calendar TEXT NOT NULL,
    CONSTRAINT schedule_calendars_pkey PRIMARY KEY (campaign_id, calendar),
    CONSTRAINT schedule_calendars_campaign_id_fkey FOREIGN KEY (campaign_id)
        REFERENCES schedule_definitions (campaign_id) ON DELETE CASCADE,
    CONSTRAINT schedule_calendars_calendar_fkey FOREIGN KEY (calendar) REFERENCES calendars (name)
);

CREATE INDEX schedule_calendars_calendar_idx ON schedule_calendars (calendar);

DROP VIEW armed_timers;

DROP VIEW schedules;

CREATE VIEW schedules AS
SELECT d.campaign_id, d.revision, d.source, d.kind, d.timezone, d.tzdata,
       d.anchor_at, d.anchor_local, t.kind AS next_event, t.fire_at AS next_event_at,
       CASE t.kind WHEN 'fire' THEN t.fire_at
                   WHEN 'open' THEN CASE WHEN num_nonnulls(d.frequency, d.every_seconds) > 0
                                         THEN t.fire_at END END AS next_fire_at,
       t.local AS next_local, d.ends_at, d.ends_on, d.rrule, d.body,
       d.misfire_grace_time, d.coalesce, d.overlap, d.saved_at,
       (d.campaign_id % 64)::smallint AS shard,
       d.conditions, coalesce(t.scheduled_for, t.fire_at) AS next_scheduled_for
FROM schedule_definitions d
LEFT JOIN timers t ON t.campaign_id = d.campaign_id;

CREATE VIEW armed_timers AS
SELECT t.campaign_id, t.revision, t.fire_at, t.local, t.kind AS event_kind, t.backlog, c.uuid,
       c.target, t.campaign_id % 64 AS shard, d.source, d.kind, d.timezone,
       d.anchor_at, d.anchor_local, d.frequency, d.repeat_interval, d.first_on, d.time_of_day,
       d.weekdays, d.month_day, d.nth, d.skip, d.every_seconds, d.ends_at,
       d.ends_on, d.misfire_grace_time, d.coalesce, d.overlap,
       t.scheduled_for, d.conditions
FROM timers t
JOIN campaigns c ON c.id = t.campaign_id
JOIN schedule_definitions d ON d.campaign_id = t.campaign_id
WHERE c.status IN ('scheduled', 'launched', 'executing', 'paused')
  AND NOT (t.backlog AND c.open_runs > c.held_runs AND d.overlap <> 'allow'
           AND c.status <> 'paused');
