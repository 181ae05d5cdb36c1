"""Login, logout and the viewer's preferences."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from daemon.api.console.rendering import render_page
from daemon.api.console.session import client_address
from daemon.api.console.viewer import (
    PREFERENCES,
    PREFERENCES_LIFE_S,
    Preferences,
    Reader,
    find_viewer,
    safe_next,
    session_guard_of,
)
from daemon.api.cross_site import is_cross_site
from daemon.api.errors import Forbidden
from daemon.api.requests import backend_of, refusal_log_of
from daemon.domain.api_keys import Scope
from daemon.domain.audit import Action, AuditEntry, AuditOutcome
from daemon.domain.schedule.timezones import is_zone, zone_names

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def show_login(request: Request) -> Response:
    """Show the login form; a browser that has a session goes on."""
    where = safe_next(request.query_params.get("next", "/"))
    link = request.query_params.get("link", "")
    if link:
        return render_page(request, None, "login_link.html", link=link)
    if await find_viewer(request) is not None:
        return _redirect(where)
    return render_page(request, None, "login.html", error=None, next=where)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Check the key in the form and start a session."""
    guard = session_guard_of(request)
    form = await request.form()
    where = safe_next(str(form.get("next", "/")))

    def refuse(error: str, status: int = 403) -> Response:
        return render_page(request, None, "login.html", status, error=error, next=where)

    if is_cross_site(request.headers, guard.site.netloc):
        return refuse("This form was sent from another site.")
    if await guard.is_locked_out(request):
        return _too_many_logins(request)
    secret = str(form.get("key", "")).strip()
    key = await backend_of(request).keys.find(secret) if secret else None
    if key is None:
        await guard.count_failed_login(request)
        await _record_refused_login(request, "the key is not in force")
        return refuse("This API key does not exist, is revoked or has expired.")
    if not key.scope.includes(Scope.READ):
        await _record_refused_login(request, f"the key {key.name!r} has the scope {key.scope}")
        return refuse(f"The scope {key.scope} is insufficient for this page.")
    if not await guard.admit_login(key):
        return _too_many_logins(request)
    response = _redirect(where)
    await guard.log_in(request, response, key, secret)
    return response


@router.post("/login/link")
async def open_link(request: Request) -> Response:
    """Start a session by a link of `campaignd open`, which works once."""
    guard = session_guard_of(request)
    form = await request.form()

    def refuse(error: str) -> Response:
        return render_page(request, None, "login.html", 403, error=error, next="/")

    if is_cross_site(request.headers, guard.site.netloc):
        return refuse("This form was sent from another site.")
    if await guard.is_locked_out(request):
        return _too_many_logins(request)
    response = _redirect("/")
    if not await guard.open_link(request, response, str(form.get("link", ""))):
        await guard.count_failed_login(request)
        await _record_refused_login(request, "the link is not in force")
        return refuse("This link was opened before, or has expired. Print another one.")
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session."""
    response = _redirect("/login")
    guard = session_guard_of(request)
    if not is_cross_site(request.headers, guard.site.netloc):
        await guard.log_out(request, response)
    return response


@router.get("/preferences")
async def show_preferences(request: Request, viewer: Reader) -> Response:
    """Show the viewer's time zone, first day of the week and keyboard shortcuts."""
    return render_page(request, viewer, "preferences.html", zones=sorted(zone_names()), error=None)


@router.post("/preferences")
async def save_preferences(request: Request, viewer: Reader) -> Response:
    """Store the preferences in a cookie."""
    guard = session_guard_of(request)
    if is_cross_site(request.headers, guard.site.netloc):
        raise Forbidden("the form was sent from another site")
    form = await request.form()
    zone, week = str(form.get("zone", "")).strip(), str(form.get("week_start", "1"))
    if not is_zone(zone):
        error = f"There is no time zone {zone}. Zones are named as Europe/Paris."
        zones = sorted(zone_names())
        return render_page(request, viewer, "preferences.html", 400, zones=zones, error=error)
    chosen = Preferences(zone, int(week) if week in tuple("1234567") else 1, "shortcuts" in form)
    response = _redirect(safe_next(str(form.get("next", "/"))))
    response.set_cookie(
        PREFERENCES, chosen.cookie_text(), max_age=PREFERENCES_LIFE_S, samesite="strict"
    )
    return response


async def _record_refused_login(request: Request, reason: str) -> None:
    entry = AuditEntry(Action.SESSION_REFUSED, outcome=AuditOutcome.REFUSED, note=reason)
    await refusal_log_of(request).record_refusal(f"address {client_address(request)}", entry)


def _too_many_logins(request: Request) -> Response:
    text = "Too many attempts. Wait a minute."
    refused = render_page(request, None, "login.html", 429, error=text, next="/")
    refused.headers["Retry-After"] = "60"
    return refused


def _redirect(where: str) -> Response:
    return RedirectResponse(where, 303, headers={"Cache-Control": "no-store"})
