"""A campaign's schedule: both bodies, what it is now, and what a body would come to."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from daemon.api.idempotency import backend_of, run_idempotently
from daemon.api.openapi import (
    CampaignRef,
    Count,
    IdempotencyKey,
    IfMatch,
    answers,
    body,
)
from daemon.api.requests import (
    actor_of,
    etag_of,
    expectation,
    parse_json,
    parse_ref,
    read_body,
)
from daemon.api.response_models import PreviewAnswer, SavedAnswer, ScheduleAnswer, UpdatedAnswer
from daemon.api.responses import Answer, acted, schedule_answer
from daemon.api.routes.campaigns import READ, WRITE, body_limit
from daemon.campaign_service import CampaignService, CommandResult
from daemon.domain.campaign.model import Snapshot
from daemon.domain.errors import INVALID_CONFIGURATION, INVALID_VALUES
from daemon.domain.preview import occurrences_answer
from daemon.domain.requests.save_schedule import SAVE_SCHEDULE
from daemon.domain.requests.update_schedule import UPDATE_SCHEDULE

router = APIRouter(tags=["Schedules"])

_QUICK = 100
"""So many occurrences are computed in no time."""
_computing = ThreadPoolExecutor(1, thread_name_prefix="preview")
"""For more: one after the other, or they would take the interpreter from whatever fires."""

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


def _saved(done: CommandResult) -> Answer:
    message = "Schedule cleared" if done.schedule is None else "Schedule saved"
    return Answer(acted(done, message), headers={"ETag": etag_of(done.revision)})


@router.post(
    "/campaigns/{campaign_id}/schedule",
    dependencies=WRITE,
    summary="Save a campaign's schedule",
    responses=answers(SavedAnswer, 404, 409, 412, 422, headers=["ETag"]),
    openapi_extra=body(SAVE_SCHEDULE, examples=_SAVE_EXAMPLES),
)
async def save_schedule(
    request: Request,
    campaign_id: CampaignRef,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Replaces the schedule and arms the campaign; `immediate` clears it, back to draft."""
    ref, expect = parse_ref(campaign_id), expectation(request)
    raw = await read_body(request, body_limit(request))
    value = parse_json(raw, INVALID_CONFIGURATION)

    async def act(control: CampaignService) -> Answer:
        done = await control.save_schedule(ref, value, actor_of(request), expect)
        answer = _saved(done)
        # "Schedule saved" is the seed's word, also for the immediate one.
        return Answer({**answer.body, "message": "Schedule saved"}, 200, answer.headers)

    return await run_idempotently(request, act, raw)


@router.get(
    "/campaigns/{campaign_id}/schedule",
    dependencies=READ,
    summary="Read a campaign's schedule",
    responses=answers(ScheduleAnswer, 404, headers=["ETag"]),
)
async def read_schedule(request: Request, campaign_id: CampaignRef) -> Response:
    """The current schedule as it was given, with `next_run_at`; without one, `immediate`."""
    shown = await backend_of(request).reads.campaign(parse_ref(campaign_id))
    return schedule_answer(shown).response()


@router.delete(
    "/campaigns/{campaign_id}/schedule",
    dependencies=WRITE,
    summary="Clear a campaign's schedule",
    responses=answers(SavedAnswer, 404, 409, 412, headers=["ETag"]),
)
async def clear_schedule(
    request: Request, campaign_id: CampaignRef, if_match: IfMatch = None
) -> Response:
    """No schedule any more; the campaign is a draft again."""
    done = await backend_of(request).service.clear_schedule(
        parse_ref(campaign_id), actor_of(request), expectation(request)
    )
    return _saved(done).response()


@router.post(
    "/campaigns/{ref}/schedule/preview",
    dependencies=READ,
    summary="Say when a body would run",
    responses=answers(PreviewAnswer, 404, 422),
    openapi_extra=body(
        SAVE_SCHEDULE, UPDATE_SCHEDULE, examples={**_SAVE_EXAMPLES, **_UPDATE_EXAMPLES}
    ),
)
async def preview_schedule(request: Request, ref: CampaignRef, count: Count = 10) -> Response:
    """The next occurrences of either body for this campaign. Nothing is saved."""
    identity = parse_ref(ref)
    value = parse_json(await read_body(request, body_limit(request)), INVALID_CONFIGURATION)
    backend = backend_of(request)
    shown = await backend.reads.campaign(identity)
    snapshot = Snapshot(shown.campaign, shown.now, shown.current, shown.timer)

    def compute() -> dict[str, object]:
        saved = backend.service.parse(snapshot, value)
        return occurrences_answer(saved, shown.now, count)

    if count <= _QUICK:
        return JSONResponse(compute())
    return JSONResponse(await asyncio.get_running_loop().run_in_executor(_computing, compute))


@router.patch(
    "/campaigns/{campaign_uuid}/update_schedule",
    dependencies=WRITE,
    summary="Update a campaign's schedule",
    responses=answers(
        UpdatedAnswer, 404, 409, 412, 422, headers=["ETag"], example={"success": True}
    ),
    openapi_extra=body(UPDATE_SCHEDULE, examples=_UPDATE_EXAMPLES),
)
async def update_schedule(
    request: Request,
    campaign_uuid: CampaignRef,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Changes what is named; the campaign's status stays as it is."""
    ref, expect = parse_ref(campaign_uuid), expectation(request)
    raw = await read_body(request, body_limit(request))
    value = parse_json(raw, INVALID_VALUES)

    async def act(control: CampaignService) -> Answer:
        done = await control.update_schedule(ref, value, actor_of(request), expect)
        return Answer({"success": True}, headers={"ETag": etag_of(done.revision)})

    return await run_idempotently(request, act, raw)
