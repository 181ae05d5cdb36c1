"""Findings of the auditor over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi

AT = datetime(2026, 6, 2, 9, tzinfo=UTC)


def test_open_findings_are_listed_with_their_remedies(api: RunningApi) -> None:
    """Oldest first; those that are cleared are left out."""
    for kind, cleared_at in (("missing", None), ("extra", AT), ("held", None)):
        api.database.rows(
            "INSERT INTO audit_findings (kind, severity, campaign_id, scheduled_for, details,"
            " found_at, seen_at, cleared_at)"
            " VALUES (%s, 'error', 7000000, %s, '{\"a\": 1}', %s, %s, %s)",
            *(kind, AT, AT, AT, cleared_at),
        )
    with api.client(Scope.READ) as reader:
        page = reader.get("/audit", params={"limit": 1}).json()
        (first,) = page["items"]
        assert (first["kind"], first["scheduled_for"]) == ("missing", "2026-06-02T09:00:00Z")
        assert first["remedy"].startswith("campaignd explain 7000000 --at 2026-06-02T09:00:00Z")
        assert first["campaign_name"] is None
        rest = reader.get("/audit", params={"cursor": page["next_cursor"]}).json()
        assert [item["kind"] for item in rest["items"]] == ["held"]
        assert rest["next_cursor"] is None
