"""A campaign's schedule: save, update, read, clear and preview."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from daemon.api.auth import READ, WRITE
from daemon.api.dry_runs import compare_schedules
from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import (
    CampaignRef,
    Count,
    Days,
    DryRunQuery,
    IdempotencyKey,
    IfMatch,
    Prefer,
    request_body,
    route_responses,
)
from daemon.api.requests import (
    actor_of,
    backend_of,
    etag_of,
    if_match_condition,
    parse_json,
    parse_ref,
    read_json_bytes,
    wants_representation,
)
from daemon.api.response_models import (
    SchedulePreview,
    ScheduleResponse,
    ScheduleSavedOrCompared,
    ScheduleUpdatedOrCompared,
)
from daemon.api.responses import ResponseData, command_response, schedule_response
from daemon.campaign_service import CampaignService, CommandResult, ScheduleCommand
from daemon.domain.errors import INVALID_CONFIGURATION, INVALID_VALUES
from daemon.domain.preview import campaign_answer
from daemon.domain.requests.notes import affected_by_clock_changes
from daemon.domain.requests.save_schedule import SAVE_SCHEDULE
from daemon.domain.requests.send_window import names_calendars
from daemon.domain.requests.update_schedule import UPDATE_SCHEDULE

router = APIRouter(tags=["Schedules"])

_INLINE_COUNT = 100
"""Maximum occurrences that are computed in the event loop."""
_previews = ThreadPoolExecutor(1, thread_name_prefix="preview")
"""Computes longer previews one at a time, so that they leave the interpreter to the scheduler."""

_SAVE_EXAMPLES = {
    "immediate": {"schedule_type": "immediate"},
    "once": {
        "schedule_type": "scheduled",
        "scheduled_at": "2031-02-15T09:00:00",
        "timezone": "America/New_York",
    },
    "every other week": {
        "schedule_type": "recurring",
        "recurring_config": {
            "frequency": "weekly",
            "interval": 2,
            "days_of_week": [1, 3, 5],
            "time": "09:00",
            "time_zone": "America/New_York",
            "end_date": "2031-12-31",
        },
    },
    "the last Friday of each month": {
        "schedule_type": "recurring",
        "recurring_config": {"rrule": "FREQ=MONTHLY;BYDAY=-1FR", "time": "09:00"},
    },
}
_UPDATE_EXAMPLES = {
    "start and end": {
        "startdate": "2031-07-01T14:02:36.000Z",
        "enddate": "2031-07-03T14:02:36.000Z",
    },
    "recurrence": {
        "repeating_schedule_attributes": {
            "interval_size": 2,
            "interval_unit": "day",
            "day_of_month": "nth_day",
            "days_of_week": ["tue", "thu"],
        },
        "startdate": "2031-07-01T09:00:00.000Z",
        "enddate": "2031-07-15T18:00:00.000Z",
        "recurring_schedule": "daily",
    },
}


def _schedule_saved_response(result: CommandResult, message: str) -> ResponseData:
    body = {**command_response(result, message), "notes": list(result.notes)}
    if result.schedule is not None and (
        affected := affected_by_clock_changes(result.schedule, result.now)
    ):
        body["dst_affected"] = affected
    return ResponseData(body, headers={"ETag": etag_of(result.revision)})


@router.post(
    "/campaigns/{ref}/schedule",
    dependencies=WRITE,
    name="schedule_save",
    summary="Save a campaign's schedule",
    responses=route_responses(ScheduleSavedOrCompared, 404, 409, 412, 422, headers=["ETag"]),
    openapi_extra=request_body(SAVE_SCHEDULE, examples=_SAVE_EXAMPLES),
)
async def save_schedule(
    request: Request,
    ref: CampaignRef,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    dry_run: DryRunQuery = "false",
    days: Days = 30,
) -> Response:
    """Replaces the schedule and arms the campaign; `immediate` clears the schedule."""
    return await _write_schedule(
        request,
        ref,
        INVALID_CONFIGURATION,
        CampaignService.save_schedule,
        "save" if dry_run == "true" else None,
        days,
        # The message is fixed, also for `immediate`: see docs/semantics.md#input-the-schedule-body
        lambda result: _schedule_saved_response(result, "Schedule saved"),
    )


@router.get(
    "/campaigns/{ref}/schedule",
    dependencies=READ,
    name="schedule_read",
    summary="Read a campaign's schedule",
    responses=route_responses(ScheduleResponse, 404, headers=["ETag"]),
)
async def read_schedule(request: Request, ref: CampaignRef) -> Response:
    """Returns the schedule as it was sent, with the zone in force and the next run.

    Without a schedule it is `immediate`. The response can be sent back as a body.
    """
    shown = await backend_of(request).reads.campaign(parse_ref(ref))
    return schedule_response(shown).to_response()


@router.delete(
    "/campaigns/{ref}/schedule",
    dependencies=WRITE,
    name="schedule_clear",
    summary="Clear a campaign's schedule",
    responses=route_responses(ScheduleSavedOrCompared, 404, 409, 412, headers=["ETag"]),
)
async def clear_schedule(
    request: Request,
    ref: CampaignRef,
    if_match: IfMatch = None,
    dry_run: DryRunQuery = "false",
    days: Days = 30,
) -> Response:
    """Deletes the schedule; the campaign becomes a draft."""
    if dry_run == "true":
        return await compare_schedules(request, ref, "clear", days)
    result = await backend_of(request).service.clear_schedule(
        parse_ref(ref), actor_of(request), if_match_condition(request)
    )
    return _schedule_saved_response(result, "Schedule cleared").to_response()


@router.post(
    "/campaigns/{ref}/schedule/preview",
    dependencies=READ,
    name="schedule_preview",
    summary="Preview a schedule",
    responses=route_responses(SchedulePreview, 404, 422),
    openapi_extra=request_body(
        SAVE_SCHEDULE, UPDATE_SCHEDULE, examples={**_SAVE_EXAMPLES, **_UPDATE_EXAMPLES}
    ),
)
async def preview_schedule(request: Request, ref: CampaignRef, count: Count = 10) -> Response:
    """Returns the next occurrences of a body of either form. Nothing is saved."""
    identity = parse_ref(ref)
    value = parse_json(await read_json_bytes(request), INVALID_CONFIGURATION)
    backend = backend_of(request)
    shown = await backend.reads.campaign(identity, with_calendars=names_calendars(value))

    def compute_occurrences() -> dict[str, object]:
        saved = backend.service.parse_schedule(shown.snapshot, value)
        return campaign_answer(saved, shown.snapshot, count)

    if count <= _INLINE_COUNT:
        return JSONResponse(compute_occurrences())
    return JSONResponse(
        await asyncio.get_running_loop().run_in_executor(_previews, compute_occurrences)
    )


@router.patch(
    "/campaigns/{ref}/update_schedule",
    dependencies=WRITE,
    name="schedule_update",
    summary="Update a campaign's schedule",
    responses=route_responses(
        ScheduleUpdatedOrCompared, 404, 409, 412, 422, headers=["ETag"], example={"success": True}
    ),
    openapi_extra=request_body(UPDATE_SCHEDULE, examples=_UPDATE_EXAMPLES),
)
async def update_schedule(
    request: Request,
    ref: CampaignRef,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    dry_run: DryRunQuery = "false",
    days: Days = 30,
    prefer: Prefer = None,
) -> Response:
    """Changes the fields that the body names; the campaign's status does not change."""

    def respond(result: CommandResult) -> ResponseData:
        if not wants_representation(request):
            return ResponseData({"success": True}, headers={"ETag": etag_of(result.revision)})
        response = _schedule_saved_response(result, "Schedule updated")
        response.headers["Preference-Applied"] = "return=representation"
        return response

    return await _write_schedule(
        request,
        ref,
        INVALID_VALUES,
        CampaignService.update_schedule,
        "update" if dry_run == "true" else None,
        days,
        respond,
    )


async def _write_schedule(
    request: Request,
    campaign: str,
    invalid: str,
    command: Callable[..., Awaitable[CommandResult]],
    compared: ScheduleCommand | None,
    days: int,
    respond: Callable[[CommandResult], ResponseData],
) -> Response:
    """Carry out a command with the request's body and If-Match.

    Args:
        campaign: the campaign's id or uuid, as in the path.
        invalid: the `message` of the error when the body is not JSON.
        command: the method of the campaign service.
        compared: the command whose effect is shown instead; None: the command is carried out.
        days: the days that are compared.
        respond: returns the response for the command's result.
    """
    ref, expect = parse_ref(campaign), if_match_condition(request)
    raw = await read_json_bytes(request)
    value = parse_json(raw, invalid)
    if compared is not None:
        return await compare_schedules(request, campaign, compared, days, value)

    async def write_schedule(service: CampaignService) -> ResponseData:
        return respond(await command(service, ref, value, actor_of(request), expect))

    return await run_idempotently(request, write_schedule, raw)
