"""A `Client` over the HTTP API of a server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from config.servers import ServerAccess
from daemon.cli.client import AgendaEntry
from daemon.cli.refs import find_campaign, find_run
from daemon.cli.remote.commands import RemoteCommands
from daemon.cli.remote.http import HttpApi
from daemon.cli.remote.reads import RemoteReads
from daemon.cli.remote.values import (
    instant,
    instant_of,
    node_of,
)
from daemon.cli.when import When, resolve_when
from daemon.domain.campaign.schedule_fields import timezone_in_force
from daemon.domain.read_models import (
    CampaignDetail,
    Overview,
    Ref,
    SchemaInfo,
    StatusCounts,
)
from daemon.domain.schedule.timezones import zone

_MAX_OCCURRENCES = 10_000


class RemoteClient:
    """campaignd over HTTP."""

    def __init__(self, server: ServerAccess, timeout: float) -> None:
        self._api = HttpApi(server, timeout)
        self.reads = RemoteReads(self._api)
        self.service = RemoteCommands(self._api)

    def close(self) -> None:
        """Close the connection."""
        self._api.close()

    def targets_with(self, wanted: str | None) -> Collection[str]:
        """Return the target that is wanted: the server decides whether it exists."""
        return {wanted or "log", "log"}

    async def campaign_ref(self, text: str) -> Ref:
        """Return the id or uuid that a REF means."""
        return await find_campaign(self.reads, text)

    async def run_id(self, text: str) -> UUID:
        """Return the run's id that a RUN means."""
        return await find_run(self.reads, text)

    async def explain(self, shown: CampaignDetail, when: When | None) -> dict[str, Any]:
        """Return the server's explanation."""
        at = None
        if when is not None:
            in_zone = zone(timezone_in_force(shown.snapshot))
            asked = resolve_when(when, shown.now, in_zone, past=True, hint="--at")
            is_minute = when.span == timedelta(minutes=1)
            at = asked.isoformat(timespec="minutes" if is_minute else "auto")
        found = self._api.get("campaigns", shown.campaign.id, "explain", at=at).body
        for each in (*found["explained"], *found["next"]):
            each["at"] = instant_of(each, "at")
            for event in each.get("events", ()):
                event["at"] = instant_of(event, "at")
        return found

    async def agenda(self, since: datetime, before: datetime) -> Sequence[AgendaEntry]:
        """Return runs of the past and to come."""
        found = self._api.get(
            "occurrences",
            **{"from": since.isoformat(), "before": before.isoformat()},
            limit=_MAX_OCCURRENCES,
        ).body
        return [
            AgendaEntry(
                instant_of(item, "at"),
                item["campaign_id"],
                item["campaign_name"],
                item["run_status"] or "to come",
            )
            for item in found["items"]
        ]

    async def overview(self) -> Overview:
        """Return the state of the cluster."""
        found = self._api.get("status").body
        now = instant_of(found, "now")
        return Overview(
            now=now,
            nodes=[node_of(item) for item in self._api.get("nodes").body["items"]],
            overdue=found["overdue"],
            backlog=found["backlog"],
            oldest_overdue_at=now - timedelta(seconds=found["lag_s"]) if found["overdue"] else None,
            next_event_at=instant(found["next_event_at"]),
            executing=found["executing"],
            retrying=found["retrying"],
            queued=found["queued"],
            held=found["held"],
            failed=found["failed_24h"],
            missed=found["missed_24h"],
            server_version=found["server_version"],
            schema=SchemaInfo(found["schema_version"], None, False),
        )

    async def counts(self) -> StatusCounts:
        """Return the number of campaigns by status; the API does not count all runs."""
        return StatusCounts(self._api.get("facets").body["status"], {})
