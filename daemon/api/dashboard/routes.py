"""The page at ``/``: behind a key, by a log-in that lasts as long as somebody looks."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from daemon.api.dashboard import html
from daemon.api.dashboard.session import COOKIE, LIFE_S, Sessions, comes_from_elsewhere
from daemon.api.idempotency import backend_of
from daemon.api.rate_limit import RateLimiter
from daemon.api.requests import read_body
from daemon.api.routes.campaigns import body_limit
from daemon.domain.api_keys import ApiKey
from daemon.domain.campaign.state_machine import RunStatus

router = APIRouter(include_in_schema=False)

RUNS = 100
"""Of the newest, and of those of each status that is not an end."""
UPCOMING = 50
LOGIN_LIMIT = "20/minute"
FORM_LIMIT = 2000
"""Bytes of the form that are looked at."""


class SessionGuard:
    """What the page needs beside the backend; one for each application."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self.attempts = RateLimiter(LOGIN_LIMIT)


@router.get("/")
async def look(request: Request) -> Response:
    """The page, or the form to log in."""
    key = await _who(request)
    if key is None:
        return _html(html.login())
    backend = backend_of(request)
    found = await backend.overview()
    # Asked for by status: however many newer runs there are, what is open is shown.
    open_runs = {
        status: await backend.reads.runs(limit=RUNS, status=status)
        for status in (RunStatus.EXECUTING, *html.WAITING)
    }
    runs = await backend.reads.runs(limit=RUNS)
    upcoming = await backend.reads.upcoming(limit=UPCOMING)
    response = _html(html.overview_page(found, open_runs, runs, upcoming, key.name))
    _admit(request, response, key)
    return response


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Take a key, give a cookie."""
    if comes_from_elsewhere(request.headers):
        return _html(html.login("This form was sent from another site."), 403)
    address = request.client.host if request.client else ""
    is_within, headers = await _door(request).attempts.hit(address)
    if not is_within:
        refused = _html(html.login("Too many attempts: wait a minute."), 429)
        refused.headers.update(headers)
        return refused
    body = await read_body(request, body_limit(request))
    given = parse_qs(body[:FORM_LIMIT].decode("utf-8", "replace")).get("key", [""])[0].strip()
    key = await backend_of(request).keys.find(given) if given else None
    if key is None:
        return _html(html.login("There is no such key, or it was revoked."), 403)
    response = RedirectResponse(".", 303, headers={"Cache-Control": "no-store"})
    _admit(request, response, key)
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """Forget the cookie."""
    response = RedirectResponse(".", 303, headers={"Cache-Control": "no-store"})
    if not comes_from_elsewhere(request.headers):
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _door(request: Request) -> SessionGuard:
    door = request.app.state.door
    assert isinstance(door, SessionGuard)
    return door


async def _who(request: Request) -> ApiKey | None:
    """The key behind the cookie, if it is still in force."""
    key_id = _door(request).sessions.read(request.cookies.get(COOKIE))
    if key_id is None:
        return None
    keys = await backend_of(request).keys.list()
    return next((key for key in keys if key.id == key_id and key.revoked_at is None), None)


def _admit(request: Request, response: Response, key: ApiKey) -> None:
    response.set_cookie(
        COOKIE,
        _door(request).sessions.issue(key.id),
        max_age=LIFE_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _html(text: str, status: int = 200) -> HTMLResponse:
    headers = {
        "Content-Security-Policy": html.policy(),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(text, status, headers)
