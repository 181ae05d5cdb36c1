"""Campaigns: create, search, read, edit, copy and delete."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from daemon.api.auth import READ, WRITE
from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import (
    CampaignRef,
    Cursor,
    IdempotencyKey,
    IfMatch,
    Limit,
    request_body,
    route_responses,
)
from daemon.api.pagination import decode_cursor, page_response
from daemon.api.parameters import (
    NextRunBefore,
    NextRunSince,
    TargetName,
    Text,
    parse_instant_parameter,
    parse_zone_parameter,
)
from daemon.api.requests import (
    actor_of,
    backend_of,
    etag_of,
    if_match_condition,
    parse_json,
    parse_ref,
    read_json_bytes,
)
from daemon.api.response_models import (
    CampaignAfterEdit,
    CampaignCopied,
    CampaignDeleted,
    CampaignFacets,
    CampaignPage,
    CampaignResponse,
)
from daemon.api.responses import (
    ResponseData,
    campaign_list_item,
    campaign_response,
    next_run_of,
)
from daemon.campaign_service import CampaignService
from daemon.domain.campaign.copying import COPY_REQUEST, read_copy_name
from daemon.domain.campaign.create_request import MESSAGE, NEW_CAMPAIGN, read_campaign
from daemon.domain.campaign.edit_request import CAMPAIGN_PATCH, content_tag
from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.listing import CampaignFilter
from daemon.domain.schedule.schedule import CampaignType

router = APIRouter(tags=["Campaigns"])

_ZoneFilter = Annotated[
    str | None,
    Query(max_length=64, description="Only campaigns whose schedule is in this IANA time zone."),
]


def _etag(campaign: Campaign) -> dict[str, str]:
    return {"ETag": etag_of(content_tag(campaign))}


@router.post(
    "/campaigns",
    name="campaign_create",
    dependencies=WRITE,
    summary="Create a campaign",
    status_code=201,
    responses=route_responses(CampaignResponse, 409, 422, status=201, headers=["Location", "ETag"]),
    openapi_extra=request_body(
        NEW_CAMPAIGN,
        examples={
            "weekly letter": {
                "name": "Weekly letter",
                "type": "recurring",
                "timezone": "Europe/Paris",
                "payload": {"template": "letter"},
            }
        },
    ),
)
async def create_campaign(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Creates a draft. A draft runs when it has a schedule or is started."""
    raw = await read_json_bytes(request)
    value = parse_json(raw, MESSAGE)

    async def create_draft(service: CampaignService) -> ResponseData:
        draft = read_campaign(value, backend_of(request).targets())
        created = await service.create(draft, actor_of(request))
        headers = {"Location": f"/api/v1/campaigns/{created.id}", **_etag(created)}
        return ResponseData(campaign_response(created, has_schedule=False), 201, headers)

    return await run_idempotently(request, create_draft, raw)


@router.get(
    "/campaigns",
    name="campaign_list",
    dependencies=READ,
    summary="Search campaigns",
    responses=route_responses(CampaignPage),
)
async def list_campaigns(
    request: Request,
    q: Text = None,
    status: Status | None = None,
    type: CampaignType | None = None,
    target: TargetName = None,
    timezone: _ZoneFilter = None,
    since: NextRunSince = None,
    before: NextRunBefore = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Returns campaigns without their payloads, newest first, and how many there are."""
    wanted = _filter_of(q, status, type, target, timezone, since, before)
    position = decode_cursor(cursor, int)
    search = backend_of(request).search
    found = await search.campaigns(wanted, limit=limit + 1, before=position and position[0])
    return page_response(
        found,
        limit,
        campaign_list_item,
        lambda listed: (listed.campaign.id,),
        await search.count_campaigns(wanted),
    )


@router.get(
    "/facets",
    name="campaign_facets",
    dependencies=READ,
    summary="Count campaigns by their fields",
    responses=route_responses(CampaignFacets),
)
async def count_campaigns(
    request: Request,
    q: Text = None,
    status: Status | None = None,
    type: CampaignType | None = None,
    target: TargetName = None,
    timezone: _ZoneFilter = None,
    since: NextRunSince = None,
    before: NextRunBefore = None,
) -> Response:
    """Returns the number of campaigns of each status, type, target and time zone."""
    wanted = _filter_of(q, status, type, target, timezone, since, before)
    return JSONResponse(asdict(await backend_of(request).search.facets(wanted)))


def _filter_of(
    q: str | None,
    status: Status | None,
    type: CampaignType | None,
    target: str | None,
    timezone: str | None,
    since: str | None,
    before: str | None,
) -> CampaignFilter:
    return CampaignFilter(
        q=q,
        status=status,
        type=type,
        target=target,
        timezone=None if timezone is None else parse_zone_parameter("timezone", timezone),
        since=parse_instant_parameter("from", since),
        before=parse_instant_parameter("before", before),
    )


@router.get(
    "/campaigns/{ref}",
    name="campaign_read",
    dependencies=READ,
    summary="Read a campaign",
    responses=route_responses(CampaignResponse, 404, headers=["ETag"]),
)
async def show_campaign(request: Request, ref: CampaignRef) -> Response:
    """Returns a campaign with its payload and its next run."""
    shown = await backend_of(request).reads.campaign(parse_ref(ref))
    body = campaign_response(
        shown.campaign, next_run_of(shown), shown.pause, has_schedule=shown.current is not None
    )
    return JSONResponse(body, headers=_etag(shown.campaign))


@router.patch(
    "/campaigns/{ref}",
    name="campaign_edit",
    dependencies=WRITE,
    summary="Edit a campaign",
    responses=route_responses(CampaignAfterEdit, 404, 409, 412, 422, headers=["ETag"]),
    openapi_extra=request_body(
        CAMPAIGN_PATCH,
        examples={
            "another name": {"name": "Weekly letter, new"},
            "one field of the payload": {"payload": {"template": "letter-2", "draft": None}},
        },
    ),
)
async def edit_campaign(
    request: Request,
    ref: CampaignRef,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Changes name, time zone, target or payload by a merge patch (RFC 7396).

    An absent field stays; a field of the payload that is null is removed. An archived campaign
    does not change, and a target does not change while a run is open. The schedule has its own
    calls.
    """
    identity, expect = parse_ref(ref), if_match_condition(request)
    raw = await read_json_bytes(request)
    value = parse_json(raw, MESSAGE)

    async def edit(service: CampaignService) -> ResponseData:
        edited = await service.edit_campaign(
            identity,
            value,
            actor_of(request),
            targets=backend_of(request).targets(),
            expect=expect,
        )
        body = {
            **campaign_response(
                edited.campaign, edited.next_run_at, has_schedule=edited.has_schedule
            ),
            "changed": list(edited.changed),
            "notes": list(edited.notes),
        }
        return ResponseData(body, headers=_etag(edited.campaign))

    return await run_idempotently(request, edit, raw)


@router.post(
    "/campaigns/{ref}/copy",
    name="campaign_copy",
    dependencies=WRITE,
    summary="Copy a campaign",
    status_code=201,
    responses=route_responses(
        CampaignCopied, 404, 409, 422, status=201, headers=["Location", "ETag"]
    ),
    openapi_extra=request_body(
        COPY_REQUEST, examples={"with a name": {"name": "Weekly letter, June"}}, required=False
    ),
)
async def copy_campaign(
    request: Request, ref: CampaignRef, idempotency_key: IdempotencyKey = None
) -> Response:
    """Creates a draft with the same content and schedule.

    A schedule with nothing to come is not copied; `notes` says so.
    """
    identity = parse_ref(ref)
    raw = await read_json_bytes(request)
    name = read_copy_name(parse_json(raw, MESSAGE)) if raw else None

    async def copy(service: CampaignService) -> ResponseData:
        made = await service.copy_campaign(identity, actor_of(request), name)
        body = {
            **campaign_response(made.campaign, has_schedule=made.schedule is not None),
            "notes": list(made.notes),
        }
        headers = {"Location": f"/api/v1/campaigns/{made.campaign.id}", **_etag(made.campaign)}
        return ResponseData(body, 201, headers)

    return await run_idempotently(request, copy, raw)


@router.delete(
    "/campaigns/{ref}",
    name="campaign_delete",
    dependencies=WRITE,
    summary="Delete a campaign",
    responses=route_responses(CampaignDeleted, 404, 409),
)
async def delete_campaign(request: Request, ref: CampaignRef) -> Response:
    """Deletes a draft or archived campaign with its history."""
    await backend_of(request).service.delete_campaign(parse_ref(ref), actor_of(request))
    return JSONResponse({"success": True, "message": "Campaign deleted"})
