"""The ASGI application: routes, error handlers and OpenAPI document, behind the middleware."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.api.console import routes as console
from daemon.api.console.error_pages import as_page
from daemon.api.console.live import LiveFeed
from daemon.api.console.planner import Planner
from daemon.api.console.session import SessionGuard
from daemon.api.console.viewer import LoginRequired, on_login_required
from daemon.api.errors import (
    on_campaignd_error,
    on_http_error,
    on_invalid_parameters,
    on_unexpected_error,
)
from daemon.api.key_uses import KeyUses
from daemon.api.middleware import PREFIX, RequestMiddleware
from daemon.api.openapi import specification_builder
from daemon.api.ports import ApiOptions, Backend
from daemon.api.proxies import Site
from daemon.api.refusal_log import RefusalLog
from daemon.api.routes import API_ROUTES, operations
from daemon.domain.errors import CampaigndError
from daemon.domain.ports import Emit


class _StripTrailingSlash:
    """Serves ``/api/v1/campaigns/`` as ``/api/v1/campaigns``: clients write both."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        """Strip the slash and pass the request on."""
        path = scope["path"]
        if path.startswith("/api/") and path.endswith("/"):
            scope["path"] = path.rstrip("/")
            scope["raw_path"] = scope["raw_path"].rstrip(b"/")
        await self._app(scope, receive, send)


class _HeadAsGet:
    """Serves HEAD wherever GET is served: the same response without its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if "body" in message else message)

        scope["method"] = "GET"
        try:
            await self._app(scope, receive, send_without_body)
        finally:
            scope["method"] = "HEAD"


def build_application(
    backend: Backend, options: ApiOptions, emit: Emit, live_feed: LiveFeed
) -> ASGIApp:
    """Build the application; the caller closes `live_feed` when the server drains."""
    app = FastAPI(
        title="campaignd",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        debug=False,
        generate_unique_id_function=lambda route: route.name,
    )

    app.state.backend = backend
    app.state.options = options
    key_uses = KeyUses(backend.keys, emit)
    site = Site(options.public_url, options.hosts)
    app.state.refusals = RefusalLog(backend.audit)
    app.state.planner = Planner(backend.calendar, backend.schedules)
    app.state.live_feed = live_feed
    app.state.session_guard = SessionGuard(site, backend.sessions, key_uses)
    app.add_exception_handler(LoginRequired, on_login_required)
    app.add_exception_handler(CampaigndError, as_page(on_campaignd_error))
    app.add_exception_handler(HTTPException, as_page(on_http_error))
    app.add_exception_handler(RequestValidationError, as_page(on_invalid_parameters))
    app.add_exception_handler(Exception, as_page(on_unexpected_error))
    for module in API_ROUTES:
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(operations.router)
    app.include_router(console.router)
    app.openapi = specification_builder(app)  # type: ignore[method-assign]
    app.state.patterns = [
        (path, compile_path(path)[0], tuple(item)) for path, item in app.openapi()["paths"].items()
    ]
    served = _HeadAsGet(_StripTrailingSlash(app))
    return RequestMiddleware(served, backend, options, key_uses, emit)
