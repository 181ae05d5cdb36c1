"""The tables, as SQLAlchemy metadata; no behaviour.

Shape, and why (measured for a burst of due campaigns):

- ``timers`` is narrow and holds one row per campaign with an event to come. A claim deletes or
  moves the row, so no indexed column of ``campaigns`` changes when a campaign runs (HOT updates).
- ``runs`` is keyed by (campaign_id, scheduled_for): one row per occurrence, even after a crash.
- ``campaigns`` carries the facts that decide a transition: open runs, and whether an event is to
  come. So a statement that holds the row's lock decides on current facts, not on its snapshot.
- ``runs`` and ``campaign_events`` have no foreign key: rows are only written by statements that
  hold the campaign's row lock, and the check would cost as much as the write.

Operators read ``campaigns``, ``schedules`` (a view), ``runs``, ``campaign_events``, ``nodes``,
``api_keys`` and ``audit_log``.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.types import UserDefinedType

from daemon.domain.api_keys import Scope
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
from storage.views import add_views

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    },
)


class XID8(UserDefinedType[int]):
    """PostgreSQL's full transaction id; a poll of changes compares it with a snapshot's xmin."""

    cache_ok = True

    def get_col_spec(self, **_kw: object) -> str:
        """Return the type's name in DDL."""
        return "xid8"


INSTANT = DateTime(timezone=True)
WALL_TIME = DateTime(timezone=False)

revision_seq = Sequence("schedule_revision_seq", metadata=metadata)
"""A revision is never used twice, so a stale timer cannot match a later schedule."""


def _one_of_check(column: str, values: type[StrEnum] | list[Status]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


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
    Column("more_to_come", Boolean, nullable=False, server_default=text("false")),
    Column("has_due", Boolean, nullable=False, server_default=text("false")),
    Column("has_completed", Boolean, nullable=False, server_default=text("false")),
    Column("archived_from", Text),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("updated_at", INSTANT, nullable=False, server_default=text("now()")),
    UniqueConstraint("uuid"),
    CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
    CheckConstraint(_one_of_check("type", CampaignType), name="type"),
    CheckConstraint(_one_of_check("status", Status), name="status"),
    CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload"),
    CheckConstraint(
        "CASE status WHEN 'executing' THEN open_runs > 0 WHEN 'paused' THEN open_runs >= 0"
        " ELSE open_runs = 0 END",
        name="open_runs",
    ),
    CheckConstraint("queued_runs BETWEEN 0 AND open_runs", name="queued_runs"),
    CheckConstraint(
        "CASE WHEN more_to_come THEN "
        + _one_of_check("status", [s for s in Status if s in ARMED])
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
    CheckConstraint(_one_of_check("source", ScheduleSource), name="source"),
    CheckConstraint(_one_of_check("kind", Kind), name="kind"),
    CheckConstraint("jsonb_typeof(body) = 'object'", name="body"),
    CheckConstraint(_one_of_check("overlap", Overlap), name="overlap"),
    CheckConstraint("misfire_grace_time > 0", name="misfire_grace_time"),
    CheckConstraint(
        _one_of_check("frequency", Frequency)
        + " AND repeat_interval BETWEEN 1 AND 999 AND "
        + _one_of_check("skip", Skip)
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
    CheckConstraint(_one_of_check("kind", EventKind), name="kind"),
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
    CheckConstraint(_one_of_check("status", RunStatus), name="status"),
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
)
"""Whatever changed a campaign, in the transaction that changed it."""

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("tzdata", Text, nullable=False),
    Column("started_at", INSTANT, nullable=False),
    Column("heartbeat_at", INSTANT, nullable=False),
    Column("lease_until", INSTANT, nullable=False),
    Column("draining", Boolean, nullable=False, server_default=text("false")),
    # Every executing run of this node was claimed at or after this instant.
    Column("oldest_claim_at", INSTANT, nullable=False),
    Column("skew_ms", Integer, nullable=False, server_default="0"),
    Column("shards", SmallInteger, nullable=False, server_default="0"),
    # The newest schema that the node's release knows; null means 0002, which did not record it.
    Column("schema_version", Text),
    CheckConstraint("lease_until >= heartbeat_at", name="lease_until"),
)
"""The nodes of this database: live ones, and lost ones whose runs are not reclaimed yet."""

schema_versions = Table(
    "schema_versions",
    metadata,
    Column("version", Text, primary_key=True),
    # Releases that know this version or a later one work on a database of ``version``.
    Column("compatible_since", Text, nullable=False),
    Column("applied_at", INSTANT, nullable=False, server_default=text("now()")),
)
"""The migrations applied from 0003 on, and the releases that each is compatible with."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("last_used_at", INSTANT),
    Column("revoked_at", INSTANT),
    Column("expires_at", INSTANT),
    # The client address of the last use.
    Column("last_used_from", Text),
    # The secret before the last rotation, and the end of its use.
    Column("previous_digest", LargeBinary),
    Column("previous_until", INSTANT),
    UniqueConstraint("digest"),
    UniqueConstraint("previous_digest"),
    CheckConstraint("length(name) BETWEEN 1 AND 100", name="name"),
    CheckConstraint(_one_of_check("scope", Scope), name="scope"),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint(
        "octet_length(previous_digest) = 32"
        " AND (previous_digest IS NULL) = (previous_until IS NULL)",
        name="previous_digest",
    ),
    # A name may be used again once its key is revoked.
    Index("api_keys_name_idx", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
)
"""Keys for the HTTP API. ``digest`` is the key's SHA-256; the key itself is not stored."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("api_key_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("answer", JSONB, nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Index("idempotency_keys_created_at_idx", "created_at"),
)
"""Responses to requests with an Idempotency-Key, written with the change itself."""

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("api_key_id", BigInteger, ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    # The hash of the secret that started the session, which ends with that secret.
    Column("key_digest", LargeBinary, nullable=False),
    Column("address", Text),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("used_at", INSTANT, nullable=False, server_default=text("now()")),
    Index("sessions_used_at_idx", "used_at"),
)
"""Sessions of the page; ``digest`` is the SHA-256 of the cookie's token."""

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", INSTANT, nullable=False, server_default=text("now()")),
    # The name of the API key, or of the operating system's user.
    Column("actor", Text, nullable=False),
    # The command, where a command made the change.
    Column("command", Text),
    Column("address", Text),
    Column("action", Text, nullable=False),
    # The type of the object, such as "campaign", its id and its name.
    Column("object", Text),
    Column("object_id", Text),
    Column("object_name", Text),
    Column("outcome", Text, nullable=False),
    Column("request_id", Text),
    Column("note", Text),
    CheckConstraint("outcome IN ('done', 'refused', 'failed')", name="outcome"),
    Index("audit_log_at_idx", "at"),
)
"""Who changed what; rows are only added, and pruned after ``history.audit_days``."""

add_views(metadata)
