"""The viewer of a page: the key of the session, what it permits, and the viewer's preferences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from urllib.parse import quote, unquote, urlencode

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from daemon.api.console.session import SessionGuard
from daemon.api.cross_site import is_cross_site
from daemon.api.errors import Forbidden
from daemon.domain.api_keys import ApiKey, Scope
from daemon.domain.audit import ORIGIN
from daemon.domain.schedule.timezones import is_zone
from daemon.runtime.clock import SystemClock

PREFERENCES = "campaignd_preferences"
"""The cookie with the viewer's zone, week and shortcuts. A script may read and set it."""
PREFERENCES_LIFE_S = 400 * 86_400
_clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a viewer has chosen, kept in a cookie of the browser."""

    zone: str = "UTC"
    week_start: int = 1
    """ISO number of the day on which weeks begin: 1 is Monday."""
    shortcuts: bool = True

    def cookie_text(self) -> str:
        """Return the cookie's value."""
        return f"{quote(self.zone, safe='')}|{self.week_start}|{int(self.shortcuts)}"


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person in front of the page."""

    key: ApiKey
    preferences: Preferences
    now: datetime

    @property
    def zone(self) -> str:
        """The zone in which instants are shown."""
        return self.preferences.zone

    @property
    def actor(self) -> str:
        """The actor of the viewer's changes, in the history and in the audit log."""
        return actor_of_key(self.key)

    @property
    def may_write(self) -> bool:
        """Whether the key permits changes; buttons of changes are drawn only then."""
        return self.key.scope.includes(Scope.WRITE)

    @property
    def is_admin(self) -> bool:
        """Whether the key permits the pages of administrators."""
        return self.key.scope.includes(Scope.ADMIN)


class LoginRequired(Exception):
    """The request has no session in force."""


def actor_of_key(key: ApiKey) -> str:
    """Return the actor of changes by a session of this key."""
    return f"web:{key.name}"


def session_guard_of(request: Request) -> SessionGuard:
    """Return the application's session guard."""
    guard = request.app.state.session_guard
    assert isinstance(guard, SessionGuard)
    return guard


def preferences_of(request: Request) -> Preferences:
    """Return the preferences in the cookie; the defaults for what is absent or invalid."""
    zone, _, rest = request.cookies.get(PREFERENCES, "").partition("|")
    week_start, _, shortcuts = rest.partition("|")
    zone = unquote(zone)
    return Preferences(
        zone if is_zone(zone) else "UTC",
        int(week_start) if week_start in tuple("1234567") else 1,
        shortcuts != "0",
    )


async def find_viewer(request: Request) -> Viewer | None:
    """Return the viewer of the request's session; None without a session in force."""
    key = await session_guard_of(request).find_key(request)
    if key is None:
        return None
    ORIGIN.set(replace(ORIGIN.get(), actor=actor_of_key(key)))
    return Viewer(key, preferences_of(request), _clock.now())


async def _require_reader(request: Request) -> Viewer:
    viewer = await find_viewer(request)
    if viewer is None:
        raise LoginRequired
    return viewer


async def _require_writer(request: Request) -> Viewer:
    if is_cross_site(request.headers, session_guard_of(request).site.netloc):
        raise Forbidden("the form was sent from another site")
    viewer = await _require_reader(request)
    if not viewer.may_write:
        raise Forbidden(f"the key {viewer.key.name!r} has the scope {viewer.key.scope}")
    return viewer


async def _require_admin(request: Request) -> Viewer:
    viewer = await _require_reader(request)
    if not viewer.is_admin:
        raise Forbidden(f"this page needs the scope admin; this key has {viewer.key.scope}")
    return viewer


Reader = Annotated[Viewer, Depends(_require_reader)]
"""The viewer of a page that only reads. Without a session, the login page is shown."""
Writer = Annotated[Viewer, Depends(_require_writer)]
"""The viewer who sends a form that changes something, from a page of this site."""
Admin = Annotated[Viewer, Depends(_require_admin)]
"""The viewer of a page for administrators."""


async def on_login_required(request: Request, _error: Exception) -> Response:
    """Redirect to the login page, and from there back to the page."""
    where = "/"
    if request.method == "GET":
        where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    url = "/login" if where == "/" else f"/login?{urlencode({'next': where})}"
    return RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})


def safe_next(text: str) -> str:
    """Return a path of this site, or "/" instead of any other address."""
    is_path = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_path and text.isprintable() else "/"
