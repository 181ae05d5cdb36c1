"""The nodes, and the applied migrations."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.tables.base import INSTANT, PgSnapshot, metadata

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
    # Heartbeats written; a restored database has fewer than the node has sent.
    Column("beats", BigInteger, nullable=False, server_default=text("0")),
    # Every change that this snapshot contains is loaded by the node.
    Column("applied_to", PgSnapshot),
    # The state of the node's targets by name, as of the last change.
    Column("targets", JSONB),
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

target_resumes = Table(
    "target_resumes",
    metadata,
    Column("target", Text, primary_key=True),
    Column("resumed_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
)
"""When an operator last closed the circuits of a target; every node compares it at each beat."""
