"""All campaigns as JSON lines: import and export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from daemon.api.auth import READ, WRITE
from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import IdempotencyKey, lines_body, lines_responses, route_responses
from daemon.api.requests import LINES_TYPES, actor_of, backend_of, extend_deadline, read_lines
from daemon.api.response_models import ImportResponse
from daemon.api.responses import ResponseData, import_response
from daemon.campaign_service import CampaignService

router = APIRouter(tags=["Import and export"])

CHUNK_LINES = 500
"""Lines that are sent at a time, so that other requests wait for no longer than these take."""
_EXAMPLE = (
    '{"campaign": {"name": "Weekly letter", "type": "recurring", "timezone": "Europe/Paris"}, '
    '"schedule": {"schedule_type": "recurring", "recurring_config": '
    '{"frequency": "weekly", "days_of_week": [1], "time": "09:00"}}}\n'
)


@router.post(
    "/import",
    name="campaign_import",
    dependencies=WRITE,
    summary="Import campaigns",
    responses=route_responses(ImportResponse, 409, 422),
    openapi_extra=lines_body(_EXAMPLE),
)
async def import_campaigns(
    request: Request,
    update: Annotated[
        bool, Query(description="Whether lines change the campaigns that have their uuid.")
    ] = False,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Loads campaigns from JSON lines, one campaign a line, as `campaignd import` does.

    A line whose uuid and content are known changes nothing. Bad lines are counted, the first 100
    are listed with their reasons, and the others are loaded. The command reads files of any size.
    """
    raw, lines = await read_lines(request)

    async def load(service: CampaignService) -> ResponseData:
        report = await service.import_campaigns(lines, actor_of(request), update=update)
        return ResponseData(import_response(report))

    return await run_idempotently(request, load, raw + request.url.query.encode())


@router.get(
    "/export",
    name="campaign_export",
    dependencies=READ,
    summary="Export campaigns",
    responses=lines_responses(_EXAMPLE),
)
async def export_campaigns(request: Request) -> Response:
    """Returns every campaign as a JSON line that an import reads, in order of their ids.

    The response is complete if its end arrived; a connection that breaks off before is an error.
    """
    return StreamingResponse(_export_chunks(request), media_type=LINES_TYPES[0])


async def _export_chunks(request: Request) -> AsyncIterator[bytes]:
    chunk: list[str] = []
    async with aclosing(backend_of(request).export()) as lines:
        async for line in lines:
            chunk += (line, "\n")
            if len(chunk) >= 2 * CHUNK_LINES:
                yield "".join(chunk).encode()
                chunk.clear()
                extend_deadline(request)
                await asyncio.sleep(0)
    yield "".join(chunk).encode()
