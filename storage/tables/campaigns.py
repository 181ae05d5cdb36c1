"""Campaigns, their schedules and timers, their runs and history."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Sequence,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from daemon.domain.campaign.state_machine import ARMED, RunStatus, Status
from daemon.domain.schedule.schedule import (
    CampaignType,
    EventKind,
    Frequency,
    Kind,
    Overlap,
    ScheduleSource,
    Skip,
)
from storage.tables.base import INSTANT, WALL_TIME, XID8, metadata, one_of_check

revision_seq = Sequence("schedule_revision_seq", metadata=metadata)
"""A revision is never used twice, so a stale timer cannot match a later schedule."""

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("uuid", UUID(as_uuid=True), nullable=False, server_default=text("gen_random_uuid()")),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False, server_default=CampaignType.ONE_TIME),
    Column("status", Text, nullable=False, server_default=Status.DRAFT),
    Column("timezone", Text, nullable=False, server_default="UTC"),
    Column("target", Text, nullable=False, server_default="log"),
    Column("payload", JSONB, nullable=False, server_default=text("'{}'")),
    Column("open_runs", Integer, nullable=False, server_default="0"),
    Column("queued_runs", SmallInteger, nullable=False, server_default="0"),
    # Open runs that wait for an operator before their first attempt; no occurrence waits for them.
    Column("held_runs", SmallInteger, nullable=False, server_default=text("0")),
    Column("more_to_come", Boolean, nullable=False, server_default=text("false")),
    Column("has_due", Boolean, nullable=False, server_default=text("false")),
    Column("has_completed", Boolean, nullable=False, server_default=text("false")),
    Column("archived_from", Text),
    # A campaign that ends while it is paused keeps it until this instant, and then logs why not.
    Column("paused_until", INSTANT),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("updated_at", INSTANT, nullable=False, server_default=text("now()")),
    UniqueConstraint("uuid"),
    CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
    CheckConstraint(one_of_check("type", CampaignType), name="type"),
    CheckConstraint(one_of_check("status", Status), name="status"),
    CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload"),
    CheckConstraint(
        "CASE status WHEN 'executing' THEN open_runs > 0 WHEN 'paused' THEN open_runs >= 0"
        " ELSE open_runs = 0 END",
        name="open_runs",
    ),
    CheckConstraint("queued_runs BETWEEN 0 AND open_runs", name="queued_runs"),
    CheckConstraint("held_runs BETWEEN 0 AND open_runs", name="held_runs"),
    CheckConstraint(
        "CASE WHEN more_to_come THEN "
        + one_of_check("status", [s for s in Status if s in ARMED])
        + " ELSE status NOT IN ('scheduled', 'launched') END",
        name="more_to_come",
    ),
    CheckConstraint("has_due OR NOT has_completed", name="has_completed"),
    CheckConstraint(
        "(status = 'archived') = (archived_from IS NOT NULL)"
        " AND archived_from IN ('draft', 'completed', 'failed', 'cancelled')",
        name="archived_from",
    ),
    # Half-filled pages keep the two updates of every run on the same page.
    postgresql_with={"fillfactor": "50"},
)
Index(
    "campaigns_paused_until_idx",
    campaigns.c.paused_until,
    postgresql_where=campaigns.c.paused_until.is_not(None),
)

schedule_definitions = Table(
    "schedule_definitions",
    metadata,
    Column(
        "campaign_id",
        BigInteger,
        ForeignKey("campaigns.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("revision", BigInteger, nullable=False),
    Column("changed_in", XID8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("source", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("kind", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("tzdata", Text, nullable=False),
    Column("anchor_at", INSTANT, nullable=False),
    Column("anchor_local", WALL_TIME, nullable=False),
    Column("frequency", Text),
    Column("repeat_interval", SmallInteger),
    Column("first_on", Date),
    Column("time_of_day", Time),
    Column("weekdays", ARRAY(SmallInteger)),
    Column("month_day", SmallInteger),
    Column("nth", SmallInteger),
    Column("skip", Text),
    Column("every_seconds", Integer),
    Column("ends_at", INSTANT),
    Column("ends_on", Date),
    Column("misfire_grace_time", Integer, nullable=False),
    Column("coalesce", Boolean, nullable=False),
    Column("overlap", Text, nullable=False),
    Column("rrule", Text),
    Column("saved_at", INSTANT, nullable=False, server_default=text("now()")),
    # Send window, lateness and daylight-saving policy; null when each has its default.
    Column("conditions", JSONB(none_as_null=True)),
    # Every occurrence after this instant is owed; null where an older release armed the schedule.
    Column("armed_from", INSTANT),
    CheckConstraint(one_of_check("source", ScheduleSource), name="source"),
    CheckConstraint(one_of_check("kind", Kind), name="kind"),
    CheckConstraint("jsonb_typeof(body) = 'object'", name="body"),
    CheckConstraint(one_of_check("overlap", Overlap), name="overlap"),
    CheckConstraint("misfire_grace_time > 0", name="misfire_grace_time"),
    CheckConstraint(
        one_of_check("frequency", Frequency)
        + " AND repeat_interval BETWEEN 1 AND 999 AND "
        + one_of_check("skip", Skip)
        + " AND weekdays <@ '{1,2,3,4,5,6,7}'::smallint[]"
        " AND month_day BETWEEN 1 AND 31 AND nth BETWEEN 1 AND 5 AND every_seconds > 0",
        name="range",
    ),
    CheckConstraint(
        "num_nulls(frequency, repeat_interval, first_on, time_of_day, weekdays, skip) IN (0, 6)",
        name="rule",
    ),
    CheckConstraint(
        "CASE kind WHEN 'once' THEN frequency IS NULL AND every_seconds IS NULL"
        " WHEN 'recurring' THEN frequency IS NOT NULL AND every_seconds IS NULL"
        " ELSE frequency IS NULL OR every_seconds IS NULL END",
        name="recurrence",
    ),
    CheckConstraint(
        "CASE frequency WHEN 'monthly' THEN num_nonnulls(month_day, nth) = 1"
        " AND (nth IS NULL OR cardinality(weekdays) > 0)"
        " ELSE num_nonnulls(month_day, nth) = 0"
        " AND (frequency IS DISTINCT FROM 'weekly' OR cardinality(weekdays) > 0) END",
        name="days",
    ),
    CheckConstraint("ends_on IS NULL OR ends_at IS NOT NULL", name="end"),
    Index("schedule_definitions_changed_in_idx", "changed_in"),
    Index("schedule_definitions_tzdata_idx", "tzdata"),
)
"""A schedule: the input as given (``body``), and the canonical columns read from it."""

timers = Table(
    "timers",
    metadata,
    Column(
        "campaign_id",
        BigInteger,
        ForeignKey("campaigns.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("revision", BigInteger, nullable=False),
    Column("fire_at", INSTANT, nullable=False),
    Column("local", WALL_TIME, nullable=False),
    Column("kind", Text, nullable=False),
    Column("backlog", Boolean, nullable=False, server_default=text("false")),
    # The nominal instant of an occurrence that is due later; null means fire_at.
    Column("scheduled_for", INSTANT),
    CheckConstraint(one_of_check("kind", EventKind), name="kind"),
    Index("timers_fire_at_idx", "fire_at", "campaign_id"),
)
"""The next event of each armed schedule: an occurrence, or its window's opening or closing."""

runs = Table(
    "runs",
    metadata,
    Column("campaign_id", BigInteger, primary_key=True, autoincrement=False),
    Column("scheduled_for", INSTANT, primary_key=True),
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", SmallInteger, nullable=False, server_default="0"),
    Column("takeovers", SmallInteger, nullable=False, server_default="0"),
    Column("cause", Text, nullable=False, server_default="schedule"),
    Column("node", Text),
    Column("claimed_at", INSTANT, nullable=False),
    Column("started_at", INSTANT),
    Column("next_attempt_at", INSTANT),
    Column("start_before", INSTANT, nullable=False),
    Column("lease_until", INSTANT),
    Column("finished_at", INSTANT),
    Column("error", Text),
    # The earliest start of the first attempt; null means scheduled_for.
    Column("due_at", INSTANT),
    # No attempt starts from this instant on, the end of the open send window; null means no end.
    Column("open_until", INSTANT),
    # The target whose workers may acquire the run; null unless the run waits for a worker.
    Column("worker_queue", Text),
    # The result that a worker reported for its attempt, until a node has written the outcome.
    Column("answer", Text),
    # The status; null in an ordinary run from its claim to its end.
    Column(
        "rare_status",
        Text,
        Computed("CASE WHEN status NOT IN ('executing', 'completed') THEN status END", True),
    ),
    CheckConstraint(one_of_check("status", RunStatus), name="status"),
    CheckConstraint("cause IN ('schedule', 'start', 'rerun')", name="cause"),
    CheckConstraint(
        "(finished_at IS NULL) = (status IN ('queued', 'executing', 'retrying', 'held'))",
        name="finished_at",
    ),
    CheckConstraint(
        "CASE status WHEN 'executing' THEN node IS NOT NULL AND attempt > 0"
        " AND started_at IS NOT NULL WHEN 'completed' THEN attempt > 0"
        " WHEN 'failed' THEN error IS NOT NULL"
        " WHEN 'missed' THEN attempt = 0 AND started_at IS NULL"
        " WHEN 'skipped' THEN attempt = 0 AND started_at IS NULL ELSE true END",
        name="attempt",
    ),
    CheckConstraint(
        "CASE status WHEN 'retrying' THEN next_attempt_at IS NOT NULL"
        " WHEN 'queued' THEN true ELSE next_attempt_at IS NULL END",
        name="next_attempt_at",
    ),
    CheckConstraint("lease_until IS NULL OR status = 'executing'", name="lease_until"),
    CheckConstraint("worker_queue IS NULL OR status = 'queued'", name="worker_queue"),
    CheckConstraint(
        "answer IS NULL"
        " OR (answer IN ('completed', 'failed', 'retry') AND lease_until IS NOT NULL)",
        name="answer",
    ),
    Index("runs_id_idx", "id"),
    Index("runs_claimed_at_idx", "claimed_at"),
    # These predicates name columns that stay null in an ordinary run, so finishing one is HOT.
    Index(
        "runs_next_attempt_at_idx",
        "next_attempt_at",
        postgresql_where=text("next_attempt_at IS NOT NULL"),
    ),
    Index("runs_lease_until_idx", "lease_until", postgresql_where=text("lease_until IS NOT NULL")),
    Index(
        "runs_worker_queue_idx",
        "worker_queue",
        "scheduled_for",
        postgresql_where=text("worker_queue IS NOT NULL"),
    ),
    Index(
        "runs_rare_status_idx",
        "rare_status",
        "claimed_at",
        "campaign_id",
        "scheduled_for",
        postgresql_where=text("rare_status IS NOT NULL"),
    ),
    postgresql_with={"fillfactor": "50"},
)
"""One row per occurrence that came due, and per run asked for by a person."""

NOTABLE_EVENT = "event NOT IN ('fire', 'run_ended') OR cause NOT IN ('due', 'completed')"
"""Every event but the ordinary start and end of a run, which write nothing to its index."""

campaign_events = Table(
    "campaign_events",
    metadata,
    Column("campaign_id", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("event", Text, nullable=False),
    Column("from_status", Text),
    Column("to_status", Text),
    Column("cause", Text),
    Column("actor", Text, nullable=False),
    Column("run_id", UUID(as_uuid=True)),
    Column("scheduled_for", INSTANT),
    Column("details", JSONB),
    Index("campaign_events_notable_idx", "id", postgresql_where=text(NOTABLE_EVENT)),
)
"""Whatever changed a campaign, in the transaction that changed it."""
