"""All routes of the console, and its files."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.console import (
    actions,
    calendar,
    campaigns,
    cluster,
    editor,
    live,
    login,
    runs,
    today,
)
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


# The editor comes before the pages of a campaign, and both before the commands: the paths of the
# later ones also match those of the earlier ones.
for module in (login, live, today, calendar, editor, campaigns, runs, cluster, actions):
    router.include_router(module.router)
