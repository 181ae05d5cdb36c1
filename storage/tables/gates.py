"""What may hold an occurrence back: freezes, marks on overdue ones, shared calendars."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.tables.base import INSTANT, WALL_TIME, metadata

brakes = Table(
    "brakes",
    metadata,
    # "*" for all targets, or "target:NAME".
    Column("scope", Text, primary_key=True),
    Column("frozen_at", INSTANT),
    Column("frozen_by", Text),
    Column("note", Text),
    Column("thaw_at", INSTANT),
    # Occurrences due from overdue_since to before overdue_before go by overdue_action.
    Column("overdue_since", INSTANT),
    Column("overdue_before", INSTANT),
    Column("overdue_action", Text),
    Column("overdue_cause", Text),
    Column("changed_at", INSTANT, nullable=False),
    CheckConstraint("scope = '*' OR scope LIKE 'target:_%'", name="scope"),
    CheckConstraint(
        "(frozen_at IS NULL) = (frozen_by IS NULL) AND (frozen_at IS NOT NULL OR thaw_at IS NULL)",
        name="frozen",
    ),
    CheckConstraint(
        "num_nulls(overdue_since, overdue_before, overdue_action, overdue_cause) IN (0, 4)",
        name="overdue",
    ),
    CheckConstraint("overdue_action IN ('hold', 'skip')", name="overdue_action"),
)
"""Freezes, and marks on what came due during one; every statement that starts attempts reads it."""

control = Table(
    "control",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("system_identifier", Text),
    Column("timeline", Integer),
    # The last instant at which a node's heartbeat was written, within a few seconds.
    Column("served_at", INSTANT),
    Column("restored_at", INSTANT),
    Column("calendars_revision", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("id = 1", name="id"),
)
"""One row: which database this is, and the revision of all calendars together."""

calendars = Table(
    "calendars",
    metadata,
    Column("name", Text, primary_key=True),
    Column("title", Text),
    # Null: a floating calendar, read in the zone of the schedule.
    Column("timezone", Text),
    Column("weekly", JSONB),
    # Where the closed times came from, such as the holidays of a country.
    Column("source", JSONB),
    Column("covers_to", Date),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("updated_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("updated_by", Text, nullable=False),
    CheckConstraint("name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'", name="name"),
)
"""Named gates that schedules share."""

calendar_closed = Table(
    "calendar_closed",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("calendar", Text, ForeignKey("calendars.name", ondelete="CASCADE"), nullable=False),
    Column("first_on", Date),
    Column("last_on", Date),
    Column("starts_local", WALL_TIME),
    Column("ends_local", WALL_TIME),
    Column("starts_at", INSTANT),
    Column("ends_at", INSTANT),
    Column("label", Text),
    CheckConstraint(
        "num_nonnulls(first_on, starts_local, starts_at) = 1"
        " AND num_nonnulls(last_on, ends_local, ends_at) = 1"
        " AND coalesce(first_on <= last_on, starts_local < ends_local, starts_at < ends_at, false)",
        name="pair",
    ),
    Index("calendar_closed_calendar_idx", "calendar"),
)
"""Closed dates (inclusive) and closed times (half-open) of calendars, as they were given."""

schedule_calendars = Table(
    "schedule_calendars",
    metadata,
    Column(
        "campaign_id",
        BigInteger,
        ForeignKey("schedule_definitions.campaign_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("calendar", Text, ForeignKey("calendars.name"), primary_key=True),
    Index("schedule_calendars_calendar_idx", "calendar"),
)
"""Which schedule uses which calendars."""
