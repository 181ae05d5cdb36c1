"""The pages that create a campaign, and that change its content or its schedule."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from daemon.api.console.planner import planner_of
from daemon.api.console.rendering import local, offset_text, render_page
from daemon.api.console.schedule_form import (
    ScheduleForm,
    campaign_type_of,
    form_of,
    is_update_body,
    read_form,
)
from daemon.api.console.schedule_preview import PreviewOfSchedule, preview_of
from daemon.api.console.schedule_undo import offer_undo
from daemon.api.console.viewer import Viewer, Writer
from daemon.api.requests import backend_of, parse_json, parse_ref
from daemon.domain.campaign.create_request import MESSAGE, read_campaign
from daemon.domain.campaign.edit_request import content_tag
from daemon.domain.campaign.model import Campaign, LoggedEvent, Snapshot
from daemon.domain.campaign.schedule_fields import timezone_in_force
from daemon.domain.campaign.state_machine import Event, Status
from daemon.domain.errors import CampaigndError, InvalidInput, PreconditionFailed
from daemon.domain.read_models import CampaignDetail
from daemon.domain.requests import ParsedSchedule
from daemon.domain.schedule.schedule import CampaignType
from daemon.domain.schedule.timezones import zone_names

router = APIRouter(include_in_schema=False)

_WINDOWS = [each for each in CampaignType if each.is_window]
_SCHEDULE_EVENTS = (Event.SCHEDULE_SAVED, Event.SCHEDULE_UPDATED, Event.SCHEDULE_CLEARED)
_NO_CAMPAIGN = UUID(int=0)


@router.get("/campaigns/new")
async def show_new(request: Request, viewer: Writer) -> Response:
    """Show the form of a new campaign, with the day that was clicked in the calendar."""
    day = request.query_params.get("day", "")
    form = ScheduleForm(kind="once", day=day, zone=viewer.zone)
    content = {"name": "", "target": "log", "payload": "{}"}
    return _new_page(request, viewer, content, form, None, {})


@router.post("/campaigns/new")
async def create(request: Request, viewer: Writer) -> Response:
    """Create a campaign, with its schedule if it gets one; or only preview that."""
    sent = await request.form()
    form = read_form(sent, None)
    content = {name: str(sent.get(name, "")).strip() for name in ("name", "target", "payload")}
    window = str(sent.get("window", ""))
    kind = campaign_type_of(
        form, CampaignType(window) if window in _WINDOWS else CampaignType.SEGMENT_TRIGGERED
    )
    draft = Campaign(0, _NO_CAMPAIGN, "", kind, Status.DRAFT, form.zone, content["target"])
    snapshot = Snapshot(draft, viewer.now)
    preview, parsed = await _preview(request, viewer, snapshot, form)
    if "preview" in sent or parsed is None:
        return _preview_or(
            request,
            viewer,
            sent,
            preview,
            lambda: _new_page(request, viewer, content, form, preview, {}),
        )
    try:
        payload = parse_json((content["payload"] or "{}").encode(), MESSAGE)
        body = {**content, "type": kind, "timezone": form.zone, "payload": payload}
        wanted = read_campaign(body, backend_of(request).targets())
    except InvalidInput as error:
        errors = error.errors or {"payload": [error.detail]}
        return _new_page(request, viewer, content, form, preview, errors, 400)
    service = backend_of(request).service
    made = await service.create(wanted, viewer.actor)
    if form.kind != "none":
        await _save(request, viewer, made.id, form.to_body(None, _today(viewer, form.zone)), None)
    return _redirect(f"/campaigns/{made.id}?done=create")


@router.get("/campaigns/{ref}/edit")
async def show_edit(request: Request, viewer: Writer, ref: str) -> Response:
    """Show the form of a campaign's name, target, zone and payload."""
    detail = await backend_of(request).reads.campaign(parse_ref(ref))
    return _edit_page(request, viewer, detail, _content_of(detail.campaign), {})


@router.post("/campaigns/{ref}/edit")
async def edit(request: Request, viewer: Writer, ref: str) -> Response:
    """Save the content of a campaign; show both versions if it was changed meanwhile."""
    sent = await request.form()
    backend = backend_of(request)
    detail = await backend.reads.campaign(parse_ref(ref))
    content = {name: str(sent.get(name, "")).strip() for name in _content_of(detail.campaign)}
    tag = str(sent.get("tag", ""))
    try:
        payload = parse_json((content["payload"] or "{}").encode(), MESSAGE)
        await backend.service.edit_campaign(
            detail.campaign.id,
            {**content, "payload": payload},
            viewer.actor,
            targets=backend.targets(),
            expect=lambda found: str(found) == tag,
            replace_payload=True,
        )
    except PreconditionFailed:
        newest = await backend.reads.campaign(detail.campaign.id)
        events = await backend.reads.events(newest.campaign.id, limit=20)
        return render_page(
            request,
            viewer,
            "edit_conflict.html",
            412,
            campaign=newest.campaign,
            mine=content,
            theirs=_content_of(newest.campaign),
            tag=content_tag(newest.campaign),
            by=events[0] if events else None,
        )
    except CampaigndError as error:
        if error.status not in (400, 422):
            raise
        errors = error.errors or {"": [error.detail]}
        return _edit_page(request, viewer, detail, content, errors, error.status)
    return _redirect(f"/campaigns/{detail.campaign.id}?done=edit")


@router.get("/campaigns/{ref}/reschedule")
async def show_reschedule(request: Request, viewer: Writer, ref: str) -> Response:
    """Show the schedule editor; the query may move the schedule to another day or time."""
    detail = await backend_of(request).reads.campaign(parse_ref(ref))
    asked = request.query_params
    form = _form_of(detail).moved(asked.get("day", ""), asked.get("time", ""))
    preview, _ = await _preview(request, viewer, detail.snapshot, form)
    return _reschedule_page(request, viewer, detail, form, preview, detail.revision or 0)


@router.post("/campaigns/{ref}/reschedule")
async def reschedule(request: Request, viewer: Writer, ref: str) -> Response:
    """Save the schedule, or only preview it; show both if it was changed meanwhile."""
    sent = await request.form()
    reads = backend_of(request).reads
    detail = await reads.campaign(parse_ref(ref))
    form = read_form(sent, detail.current)
    expected = str(sent.get("revision", ""))
    preview, parsed = await _preview(request, viewer, detail.snapshot, form)
    if "preview" in sent or parsed is None:
        return _preview_or(
            request,
            viewer,
            sent,
            preview,
            lambda: _reschedule_page(request, viewer, detail, form, preview, expected),
        )
    body = form.to_body(detail.current, _today(viewer, form.zone))
    try:
        await _save(request, viewer, detail.campaign.id, body, expected)
    except PreconditionFailed:
        newest = await reads.campaign(detail.campaign.id)
        theirs, _ = await _preview(request, viewer, newest.snapshot, _form_of(newest))
        return render_page(
            request,
            viewer,
            "reschedule_conflict.html",
            412,
            campaign=newest.campaign,
            sent=_plain(sent),
            mine=preview,
            theirs=theirs,
            revision=newest.revision or 0,
            by=await _newest_schedule_event(request, newest.campaign.id),
        )
    except CampaigndError as error:
        if error.status not in (400, 422):
            raise
        refused = replace(preview, errors=error.errors or {"": [error.detail]})
        return _reschedule_page(request, viewer, detail, form, refused, expected, code=error.status)
    response = _redirect(f"/campaigns/{detail.campaign.id}?done=reschedule")
    if detail.current is not None:
        newest = await reads.campaign(detail.campaign.id)
        offer_undo(response, backend_of(request).service, detail.current, newest)
    return response


def _form_of(detail: CampaignDetail) -> ScheduleForm:
    if detail.current is not None:
        return form_of(detail.current)
    kind = "window" if detail.campaign.type.is_window else "once"
    return ScheduleForm(kind=kind, zone=detail.campaign.timezone)


async def _save(
    request: Request, viewer: Viewer, campaign_id: int, body: dict[str, Any], expected: str | None
) -> None:
    """Save the schedule if its revision is the expected one; None expects any."""
    service = backend_of(request).service

    def expect(revision: int | None) -> bool:
        return expected is None or str(revision or 0) == expected

    if not is_update_body(body):
        await service.save_schedule(campaign_id, body, viewer.actor, expect)
        return
    saved = await service.update_schedule(campaign_id, body, viewer.actor, expect)
    if expected is None and saved.to_status is Status.DRAFT:
        await service.start(campaign_id, viewer.actor)


async def _preview(
    request: Request, viewer: Viewer, snapshot: Snapshot, form: ScheduleForm
) -> tuple[PreviewOfSchedule, ParsedSchedule | None]:
    """Return the preview, and the schedule unless something is wrong with it."""
    try:
        body = form.to_body(snapshot.current, _today(viewer, form.zone))
        parsed = backend_of(request).service.parse_schedule(snapshot, body)
    except InvalidInput as error:
        return PreviewOfSchedule(errors=error.errors or {"": [error.detail]}), None
    campaign = snapshot.campaign
    preview = await preview_of(
        parsed,
        snapshot.current,
        snapshot.now,
        await planner_of(request).current(),
        campaign_id=campaign.id,
        target=campaign.target,
    )
    return preview, parsed


def _today(viewer: Viewer, zone_name: str) -> date:
    return local(viewer.now, zone_name).date()


def _preview_or(
    request: Request,
    viewer: Viewer,
    sent: FormData,
    preview: PreviewOfSchedule,
    page: Callable[[], Response],
) -> Response:
    """Return the fragment that the script asks for, or the whole page."""
    if sent.get("preview") == "fragment":
        return render_page(request, viewer, "schedule_preview.html", preview=preview)
    return page()


async def _newest_schedule_event(request: Request, campaign_id: int) -> LoggedEvent | None:
    events = await backend_of(request).reads.events(campaign_id, limit=50)
    return next((event for event in events if event.event in _SCHEDULE_EVENTS), None)


def _content_of(campaign: Campaign) -> dict[str, str]:
    return {
        "name": campaign.name,
        "target": campaign.target,
        "timezone": campaign.timezone,
        "payload": json.dumps(campaign.payload, indent=2, ensure_ascii=False),
    }


def _plain(sent: FormData) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in sent.multi_items() if name != "revision"]


def _zones(now: datetime) -> list[tuple[str, str]]:
    return [(name, offset_text(name, now)) for name in sorted(zone_names())]


def _new_page(
    request: Request,
    viewer: Viewer,
    content: dict[str, str],
    form: ScheduleForm,
    preview: PreviewOfSchedule | None,
    errors: Any,
    code: int = 200,
) -> Response:
    return render_page(
        request,
        viewer,
        "new.html",
        code,
        content=content,
        form=form,
        preview=preview,
        errors=errors,
        windows=_WINDOWS,
        targets=sorted(backend_of(request).targets()),
        zones=_zones(viewer.now),
        has_windows=True,
        has_rules=True,
    )


def _edit_page(
    request: Request,
    viewer: Viewer,
    detail: CampaignDetail,
    content: dict[str, str],
    errors: Any,
    code: int = 200,
) -> Response:
    return render_page(
        request,
        viewer,
        "edit.html",
        code,
        campaign=detail.campaign,
        content=content,
        errors=errors,
        tag=content_tag(detail.campaign),
        targets=sorted({*backend_of(request).targets(), detail.campaign.target}),
        zones=_zones(viewer.now),
    )


def _reschedule_page(
    request: Request,
    viewer: Viewer,
    detail: CampaignDetail,
    form: ScheduleForm,
    preview: PreviewOfSchedule,
    revision: int | str,
    code: int = 200,
) -> Response:
    is_window = detail.campaign.type.is_window
    return render_page(
        request,
        viewer,
        "reschedule.html",
        code,
        campaign=detail.campaign,
        timezone=timezone_in_force(detail.snapshot),
        current=detail.current,
        form=form,
        preview=preview,
        revision=revision,
        zones=_zones(viewer.now),
        has_windows=is_window,
        has_rules=not is_window,
    )


def _redirect(where: str) -> Response:
    return RedirectResponse(where, 303, headers={"Cache-Control": "no-store"})
