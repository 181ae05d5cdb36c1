"""The findings of the auditor; the audit log is another table (`storage.tables.access`)."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from daemon.domain.auditor.finding import Severity
from storage.tables.base import INSTANT, metadata, one_of_check

audit_findings = Table(
    "audit_findings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("campaign_id", BigInteger, nullable=False),
    Column("run_id", UUID(as_uuid=True)),
    Column("scheduled_for", INSTANT),
    Column("details", JSONB),
    Column("found_at", INSTANT, nullable=False),
    # The last look at which the finding stood.
    Column("seen_at", INSTANT, nullable=False),
    Column("cleared_at", INSTANT),
    CheckConstraint(one_of_check("severity", Severity), name="severity"),
    Index(
        "audit_findings_open_idx",
        "campaign_id",
        "kind",
        text("coalesce(scheduled_for, '-infinity'::timestamptz)"),
        unique=True,
        postgresql_where=text("cleared_at IS NULL"),
    ),
    Index("audit_findings_found_at_idx", "found_at"),
)
"""What contradicts a schedule; without a foreign key, so that a finding locks no campaign."""
