"""Commands on campaigns and runs over the HTTP API of a server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import typer

from daemon.campaign_service import CampaignEdited, CommandResult, RevisionCheck
from daemon.cli.remote.http import HttpApi
from daemon.cli.remote.values import (
    campaign_of,
    instant,
)
from daemon.domain.campaign.copying import CampaignCopy
from daemon.domain.campaign.edit_request import content_tag
from daemon.domain.campaign.model import Campaign, Snapshot
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import PreconditionFailed
from daemon.domain.read_models import (
    Ref,
)
from daemon.domain.requests import (
    BodyContext,
    ParsedSchedule,
    is_schedule_body,
    read_schedule_body,
    read_update_body,
)
from daemon.runtime.clock import SystemClock


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
        due_at=instant(body.get("due_at")),
    )
