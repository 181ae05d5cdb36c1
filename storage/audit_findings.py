"""The findings of the auditor: recorded, cleared and read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from daemon.domain.auditor.finding import AuditFinding, FindingKind, RecordedFinding, Severity
from daemon.domain.sharding import SHARDS
from storage.engine import Database
from storage.tables import audit_findings, campaigns

_RECORD = sa.text("""
    INSERT INTO audit_findings (kind, severity, campaign_id, run_id, scheduled_for, details,
                                found_at, seen_at)
    SELECT f.kind, f.severity, f.campaign_id, f.run_id, f.scheduled_for, f.details,
           clock.now, clock.now
    FROM unnest(
        CAST(:kinds AS text[]), CAST(:severities AS text[]), CAST(:campaign_ids AS bigint[]),
        CAST(:run_ids AS uuid[]), CAST(:scheduled_fors AS timestamptz[]), CAST(:details AS jsonb[])
    ) AS f (kind, severity, campaign_id, run_id, scheduled_for, details),
    (SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now) AS clock
    ON CONFLICT (campaign_id, kind, coalesce(scheduled_for, '-infinity'::timestamptz))
        WHERE cleared_at IS NULL
    DO UPDATE SET seen_at = excluded.seen_at, details = excluded.details
    RETURNING *, xmax = 0 AS is_new
""")


class AuditFindings:
    """The table ``audit_findings`` of one database.

    Args:
        database: of the table.
        now: the present, for tests; by default the database's clock.
    """

    def __init__(self, database: Database, now: datetime | None = None) -> None:
        self._database = database
        self.now = now

    async def record(self, findings: Sequence[AuditFinding]) -> list[RecordedFinding]:
        """Record findings; return those that were not open before."""
        if not findings:
            return []
        rows = await self._database.rows(
            _RECORD,
            kinds=[each.kind.value for each in findings],
            severities=[each.severity.value for each in findings],
            campaign_ids=[each.campaign_id for each in findings],
            run_ids=[each.run_id for each in findings],
            scheduled_fors=[each.scheduled_for for each in findings],
            details=[None if not each.details else json.dumps(each.details) for each in findings],
            now=self.now,
        )
        return [_finding_from(row) for row in rows if row.is_new]

    async def clear(self, ids: Sequence[int]) -> list[RecordedFinding]:
        """Mark open findings as cleared; return them."""
        if not ids:
            return []
        now = sa.func.clock_timestamp() if self.now is None else sa.literal(self.now)
        rows = await self._database.rows(
            sa.update(audit_findings)
            .where(audit_findings.c.id.in_(ids), audit_findings.c.cleared_at.is_(None))
            .values(cleared_at=now)
            .returning(audit_findings)
        )
        return [_finding_from(row) for row in rows]

    async def open_findings(
        self,
        *,
        limit: int,
        shards: Sequence[int] | None = None,
        campaign_id: int | None = None,
        after: int = 0,
    ) -> list[RecordedFinding]:
        """Return the findings that stand, oldest first, with the names of their campaigns.

        Args:
            limit: maximum number of findings.
            shards: only of campaigns of these shards.
            campaign_id: only of this campaign.
            after: the id after which they begin.
        """
        statement = (
            sa.select(audit_findings, campaigns.c.name.label("campaign_name"))
            .outerjoin(campaigns, campaigns.c.id == audit_findings.c.campaign_id)
            .where(audit_findings.c.cleared_at.is_(None), audit_findings.c.id > after)
            .order_by(audit_findings.c.id)
            .limit(limit)
        )
        if shards is not None:
            statement = statement.where((audit_findings.c.campaign_id % SHARDS).in_(shards))
        if campaign_id is not None:
            statement = statement.where(audit_findings.c.campaign_id == campaign_id)
        return [_finding_from(row) for row in await self._database.rows(statement)]


def _finding_from(row: Any) -> RecordedFinding:
    return RecordedFinding(
        row.id,
        FindingKind(row.kind),
        Severity(row.severity),
        row.campaign_id,
        row.run_id,
        row.scheduled_for,
        row.details,
        row.found_at,
        row.seen_at,
        row.cleared_at,
        getattr(row, "campaign_name", None),
    )
