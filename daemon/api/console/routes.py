"""All routes of the console, and its files."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.console import calendar, campaigns, cluster, login, runs, today
from daemon.api.console.rendering import static_response
from daemon.domain.errors import NotFound

router = APIRouter(include_in_schema=False)


@router.get("/static/{name}")
async def static_file(request: Request, name: str) -> Response:
    """Return a file of the pages."""
    response = static_response(name)
    if response is None:
        raise NotFound(message="Not found", detail="the path does not exist")
    return response


for module in (login, today, calendar, campaigns, runs, cluster):
    router.include_router(module.router)
