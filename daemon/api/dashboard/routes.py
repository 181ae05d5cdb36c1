"""The dashboard at ``/``, for browsers that have logged in with an API key."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from daemon.api.cross_site import is_cross_site
from daemon.api.dashboard import html
from daemon.api.dashboard.session import SessionGuard, client_address
from daemon.api.requests import backend_of, read_body, refusal_log_of
from daemon.domain.api_keys import Scope
from daemon.domain.audit import Action, AuditEntry, AuditOutcome
from daemon.domain.campaign.state_machine import RunStatus

router = APIRouter(include_in_schema=False)

RUNS = 100
"""Maximum runs in a table: in the newest runs, and in the runs of each open status."""
UPCOMING = 50
FORM_LIMIT = 2000
"""Bytes of the login form that are parsed."""


@router.get("/")
async def show_dashboard(request: Request) -> Response:
    """Show the dashboard, or the login form."""
    guard, backend = _session_guard(request), backend_of(request)
    key = await guard.find_key(request)
    if key is None:
        return _html_response(html.login_page())
    overview = await backend.overview()
    # Queried by status, so that an open run is shown however many newer runs have ended.
    open_runs = {
        status: await backend.reads.runs(limit=RUNS, status=status)
        for status in (RunStatus.EXECUTING, *html.WAITING)
    }
    runs = await backend.reads.runs(limit=RUNS)
    upcoming = await backend.reads.upcoming(limit=UPCOMING)
    return _html_response(html.overview_page(overview, open_runs, runs, upcoming, key.name))


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Check the key in the form and start a session."""
    guard = _session_guard(request)
    if is_cross_site(request.headers, guard.site.netloc):
        return _html_response(html.login_page("This form was sent from another site."), 403)
    if await guard.is_locked_out(request):
        return _too_many_logins()
    body = await read_body(request)
    secret = parse_qs(body[:FORM_LIMIT].decode("utf-8", "replace")).get("key", [""])[0].strip()
    key = await backend_of(request).keys.find(secret) if secret else None
    if key is None:
        await guard.count_failed_login(request)
        await _record_refused_login(request, "the key is not in force")
        return _html_response(
            html.login_page("This API key does not exist, is revoked or has expired."), 403
        )
    if not key.scope.includes(Scope.READ):
        await _record_refused_login(request, f"the key {key.name!r} has the scope {key.scope}")
        return _html_response(
            html.login_page(f"The scope {key.scope} is insufficient for this page."), 403
        )
    if not await guard.admit_login(key):
        return _too_many_logins()
    response = RedirectResponse(".", 303, headers={"Cache-Control": "no-store"})
    await guard.log_in(request, response, key, secret)
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session."""
    response = RedirectResponse(".", 303, headers={"Cache-Control": "no-store"})
    guard = _session_guard(request)
    if not is_cross_site(request.headers, guard.site.netloc):
        await guard.log_out(request, response)
    return response


async def _record_refused_login(request: Request, reason: str) -> None:
    entry = AuditEntry(Action.SESSION_REFUSED, outcome=AuditOutcome.REFUSED, note=reason)
    await refusal_log_of(request).record_refusal(f"address {client_address(request)}", entry)


def _session_guard(request: Request) -> SessionGuard:
    guard = request.app.state.session_guard
    assert isinstance(guard, SessionGuard)
    return guard


def _too_many_logins() -> Response:
    refused = _html_response(html.login_page("Too many attempts. Wait a minute."), 429)
    refused.headers["Retry-After"] = "60"
    return refused


def _html_response(text: str, status: int = 200) -> HTMLResponse:
    headers = {
        "Content-Security-Policy": html.content_security_policy(),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(text, status, headers)
