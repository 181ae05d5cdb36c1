"""Errors as pages, for browsers; the API's clients get JSON (`daemon.api.errors`)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from daemon.api.console.rendering import render_page
from daemon.api.console.viewer import find_viewer
from daemon.domain.errors import CampaigndError

Handler = Callable[[Request, Exception], Awaitable[Response]]
_WITHOUT_PAGES = ("/api/", "/docs", "/healthz", "/readyz", "/metrics", "/openapi.json")


def as_page(handler: Handler) -> Handler:
    """Return a handler that shows the response of another handler as a page, to a browser."""

    async def handle(request: Request, error: Exception) -> Response:
        response = await handler(request, error)
        if request.url.path.startswith(_WITHOUT_PAGES):
            return response
        try:
            viewer = await find_viewer(request)
        except CampaigndError:  # the database cannot be reached
            viewer = None
        problem = json.loads(bytes(response.body))
        page = render_page(
            request,
            viewer,
            "error.html",
            response.status_code,
            code=response.status_code,
            problem=problem,
        )
        if "Retry-After" in response.headers:
            page.headers["Retry-After"] = response.headers["Retry-After"]
        return page

    return handle
