"""A `Client` over the HTTP API of a server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import typer

from config.servers import ServerAccess
from daemon.campaign_service import CampaignEdited, CommandResult, RevisionCheck
from daemon.cli.client import AgendaEntry
from daemon.cli.refs import find_campaign, find_run
from daemon.cli.remote.http import HttpApi
from daemon.cli.remote.values import (
    campaign_of,
    event_of,
    instant,
    instant_of,
    node_of,
    run_of,
    schedule_of,
    summary_of,
    upcoming_of,
)
from daemon.cli.when import When, resolve_when
from daemon.domain.campaign.copying import CampaignCopy
from daemon.domain.campaign.edit_request import content_tag
from daemon.domain.campaign.model import Campaign, LoggedEvent, Snapshot
from daemon.domain.campaign.schedule_fields import timezone_in_force
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.errors import PreconditionFailed
from daemon.domain.read_models import (
    CampaignDetail,
    CampaignSummary,
    Overview,
    Ref,
    RunDetail,
    RunKey,
    SchemaInfo,
    StatusCounts,
    UpcomingEvent,
    UpcomingKey,
)
from daemon.domain.requests import (
    BodyContext,
    ParsedSchedule,
    is_schedule_body,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.schedule.schedule import CampaignType, EventKind, TimedEvent
from daemon.domain.schedule.timezones import zone
from daemon.runtime.clock import SystemClock

_PAGE = 500
_SEARCHED_RUNS = 5000
"""Newest runs among which a short id is looked up."""
_MAX_OCCURRENCES = 10_000

ItemT = TypeVar("ItemT")


class RemoteReads:
    """Reads over HTTP."""

    def __init__(self, api: HttpApi) -> None:
        self._api = api
        self._cursors: dict[object, str | None] = {}

    async def campaigns(
        self,
        *,
        limit: int,
        before: int | None = None,
        status: Status | None = None,
        type: CampaignType | None = None,
    ) -> list[CampaignSummary]:
        """Return campaigns, newest first."""
        return self._page(
            *(("campaigns",), summary_of, lambda each: each.campaign.id, limit, before),
            status=status,
            type=type,
        )

    async def campaign(self, ref: Ref) -> CampaignDetail:
        """Return one campaign with its schedule."""
        item = self._api.get("campaigns", ref).body
        found = self._api.get("campaigns", ref, "schedule").body
        campaign = campaign_of(item)
        current = schedule_of(found, campaign)
        explained = self._api.get("campaigns", ref, "explain").body
        timer = None
        if explained["armed"] and explained["next"]:
            first = explained["next"][0]
            local = datetime.fromisoformat(first["local"])
            timer = TimedEvent(EventKind(first["event"]), instant_of(first, "at"), local)
        return CampaignDetail(
            campaign,
            current,
            timer,
            found["rrule"],
            found["revision"],
            instant(found["saved_at"]),
            SystemClock().now(),
        )

    async def runs(
        self,
        *,
        limit: int,
        ref: Ref | None = None,
        status: RunStatus | None = None,
        before: RunKey | None = None,
    ) -> list[RunDetail]:
        """Return runs, newest first."""
        path = ("runs",) if ref is None else ("campaigns", ref, "runs")
        return self._page(path, run_of, lambda each: each.key, limit, before, status=status)

    async def events(self, ref: Ref, *, limit: int) -> list[LoggedEvent]:
        """Return a campaign's newest events."""
        return self._page(("campaigns", ref, "events"), event_of, lambda each: each.id, limit, None)

    async def upcoming(
        self, *, limit: int, after: UpcomingKey | None = None
    ) -> list[UpcomingEvent]:
        """Return the armed event of each campaign, soonest first."""
        return self._page(("upcoming",), upcoming_of, lambda each: each.key, limit, after)

    async def upcoming_of(self, ref: Ref, count: int) -> list[UpcomingEvent]:
        """Return a campaign's next events, from its schedule."""
        shown = await self.campaign(ref)
        if shown.current is None:
            return []
        schedule, campaign = shown.current.schedule, shown.campaign
        event = shown.timer or schedule.event_after(shown.now)
        events: list[UpcomingEvent] = []
        while event is not None and len(events) < count:
            events.append(
                UpcomingEvent(
                    *(campaign.id, campaign.uuid, campaign.name, campaign.type, campaign.status),
                    *(event.kind, event.at, event.local, schedule.timezone),
                )
            )
            event = schedule.event_following(event)
        return events

    async def ids_of_name(self, name: str, limit: int) -> list[int]:
        """Return the ids of campaigns with exactly this name."""
        found = self._pages(("campaigns",), q=name)
        return [item["id"] for item in found if item["name"] == name][:limit]

    async def run_ids_between(self, first: UUID, last: UUID, limit: int) -> list[UUID]:
        """Return the ids of the newest runs from ``first`` to ``last``."""
        ids: list[UUID] = []
        for number, item in enumerate(self._pages(("runs",)), start=1):
            if first <= UUID(item["id"]) <= last:
                ids.append(UUID(item["id"]))
            if number >= _SEARCHED_RUNS or len(ids) >= limit:
                break
        return ids

    def _page(
        self,
        path: tuple[object, ...],
        value: Callable[[Mapping[str, Any]], ItemT],
        key: Callable[[ItemT], object],
        limit: int,
        after: object,
        **query: object,
    ) -> list[ItemT]:
        """Return the items after a key, which was the last one of a page before.

        The API's cursors are kept by that key.
        """
        found: list[ItemT] = []
        cursor = self._cursors.get((path, after)) if after is not None else None
        if after is not None and cursor is None:
            return []
        while len(found) < limit:
            wanted = min(limit - len(found), _PAGE)
            page = self._api.get(*path, limit=wanted, cursor=cursor, **query).body
            found += map(value, page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                break
        if found:
            self._cursors[path, key(found[-1])] = cursor
        return found

    def _pages(self, path: tuple[object, ...], **query: object) -> Iterator[Mapping[str, Any]]:
        cursor = None
        while True:
            page = self._api.get(*path, limit=_PAGE, cursor=cursor, **query).body
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


class RemoteCommands:
    """Commands over HTTP. The server records its API key as the actor, whatever actor is given."""

    def __init__(self, api: HttpApi) -> None:
        self._api = api

    def parse_schedule(self, snapshot: Snapshot, body: object) -> ParsedSchedule:
        """Parse a body here, to show it; the server parses what is saved."""
        campaign = snapshot.campaign
        context = BodyContext(
            now=snapshot.now,
            campaign_type=campaign.type,
            campaign_timezone=campaign.timezone,
            current=snapshot.current,
        )
        read = read_schedule_body if is_schedule_body(body) else read_update_body
        return read(body, context)

    async def create(self, campaign: Campaign, actor: str) -> Campaign:
        """Create a draft."""
        fields = ("name", "type", "timezone", "target", "payload")
        body = {name: getattr(campaign, name) for name in fields}
        return campaign_of(self._api.send("POST", "campaigns", body=body).body)

    async def copy_campaign(self, ref: Ref, actor: str, name: str | None = None) -> CampaignCopy:
        """Create a draft with the content and the schedule of a campaign."""
        body = None if name is None else {"name": name}
        made = self._api.send("POST", "campaigns", ref, "copy", body=body).body
        return CampaignCopy(campaign_of(made), None, tuple(made["notes"]))

    async def edit_campaign(
        self,
        ref: Ref,
        body: object,
        actor: str,
        *,
        targets: Collection[str],
        expect: RevisionCheck | None = None,
        replace_payload: bool = False,
    ) -> CampaignEdited:
        """Change a campaign's own fields by a merge patch."""
        assert isinstance(body, dict)
        read = self._api.get("campaigns", ref)
        before = campaign_of(read.body)
        _require(expect, content_tag(before))
        patch = dict(body)
        if replace_payload and isinstance(patch.get("payload"), dict):
            patch["payload"] = patch_between(before.payload, patch["payload"])
        edited = self._api.send(
            "PATCH", "campaigns", ref, body=patch, if_match=read.etag if expect else None
        ).body
        return CampaignEdited(
            campaign_of(edited),
            tuple(edited["changed"]),
            tuple(edited["notes"]),
            has_schedule=edited["next_run_at"] is not None,
            next_run_at=instant(edited["next_run_at"]),
        )

    async def save_schedule(
        self, ref: Ref, body: object, actor: str, expect: RevisionCheck | None = None
    ) -> CommandResult:
        """Replace the schedule."""
        tag = self._tag_of_schedule(ref, expect)
        saved = self._api.send("POST", "campaigns", ref, "schedule", body=body, if_match=tag)
        return _result_of(saved.body)

    async def update_schedule(
        self, ref: Ref, body: object, actor: str, expect: RevisionCheck | None = None
    ) -> CommandResult:
        """Merge a body into the schedule."""
        tag = self._tag_of_schedule(ref, expect)
        self._api.send("PATCH", "campaigns", ref, "update_schedule", body=body, if_match=tag)
        return _result_of(self._api.get("campaigns", ref, "schedule").body)

    async def clear_schedule(
        self, ref: Ref, actor: str, expect: RevisionCheck | None = None
    ) -> CommandResult:
        """Delete the schedule."""
        tag = self._tag_of_schedule(ref, expect)
        return _result_of(self._api.send("DELETE", "campaigns", ref, "schedule", if_match=tag).body)

    async def start(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Arm the campaign, run it now, or resume it."""
        return self._command(ref, "start", note=note)

    async def pause(
        self, ref: Ref, actor: str, note: str | None = None, until: datetime | None = None
    ) -> CommandResult:
        """Start no new run."""
        return self._command(
            ref, "pause", note=note, until=None if until is None else until.isoformat()
        )

    async def stop(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Cancel the campaign and every open run."""
        return self._command(ref, "stop", note=note)

    async def rerun(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Run an ended campaign once more, now."""
        return self._command(ref, "rerun", note=note)

    async def run_now(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Run a live campaign once, now."""
        return self._command(ref, "run_now", note=note)

    async def archive(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Archive an ended campaign."""
        return self._command(ref, "archive", note=note)

    async def unarchive(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Restore an archived campaign."""
        return self._command(ref, "unarchive", note=note)

    async def delete_campaign(self, ref: Ref, actor: str) -> CommandResult:
        """Delete the campaign and its history."""
        campaign = campaign_of(self._api.get("campaigns", ref).body)
        self._api.send("DELETE", "campaigns", ref)
        return CommandResult(
            *(campaign.id, campaign.uuid, campaign.status, campaign.status, True, None, None),
            timezone=campaign.timezone,
            now=SystemClock().now(),
        )

    async def retry(self, run_id: UUID, actor: str, note: str | None = None) -> CommandResult:
        """Make the next attempt of a failed run due now."""
        done = self._api.send("POST", "runs", run_id, "retry", body=_given(note=note)).body
        campaign = campaign_of(self._api.get("campaigns", done["campaign_id"]).body)
        status = Status(done["campaign_status"])
        return CommandResult(
            *(campaign.id, campaign.uuid, status, status, True, None, None),
            timezone=campaign.timezone,
            now=SystemClock().now(),
            run_id=run_id,
        )

    def _command(self, ref: Ref, name: str, **fields: str | None) -> CommandResult:
        body = _given(**fields)
        return _result_of(self._api.send("POST", "campaigns", ref, name, body=body).body)

    def _tag_of_schedule(self, ref: Ref, expect: RevisionCheck | None) -> str | None:
        """Return the entity tag to send, so that no change in between is lost."""
        if expect is None:
            return None
        read = self._api.get("campaigns", ref, "schedule")
        _require(expect, read.body["revision"])
        return read.etag


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


def patch_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7396) that makes one JSON object of another.

    Raises:
        typer.BadParameter: a value is null, which a merge patch cannot say.
    """
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        old = before.get(name)
        if value is None and (name not in before or old is not None):
            raise typer.BadParameter(f"a payload with null ({name}) cannot be saved over HTTP")
        if isinstance(value, dict) and isinstance(old, dict):
            inner = patch_between(old, value)
            patch |= {name: inner} if inner else {}
        elif value != old or name not in before:
            patch[name] = value
    return patch


def _given(**fields: str | None) -> dict[str, str] | None:
    """Return the body of a command; None when no field was given."""
    return {name: value for name, value in fields.items() if value is not None} or None


def _require(expect: RevisionCheck | None, found: int | None) -> None:
    if expect is not None and not expect(found):
        raise PreconditionFailed("it was changed by another session; read it again")


def _result_of(body: Mapping[str, Any]) -> CommandResult:
    """Return the result of a command; the API does not say the status before."""
    status = Status(body["status"])
    return CommandResult(
        campaign_id=body["campaign_id"],
        campaign_uuid=UUID(body["campaign_uuid"]),
        from_status=status,
        to_status=status,
        changed=body.get("changed", True),
        schedule=None,
        next_run_at=instant(body["next_run_at"]),
        timezone=body["timezone"],
        now=SystemClock().now(),
        notes=tuple(body.get("notes", ())),
    )
