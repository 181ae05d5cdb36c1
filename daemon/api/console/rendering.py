"""Renders pages: the templates' environment, their filters, and the headers of every page."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from daemon.domain.formatting import duration_text, utc_text
from daemon.domain.schedule.timezones import is_zone, zone

if TYPE_CHECKING:
    from daemon.api.console.viewer import Viewer

DONE_PARAMETERS = ("done", "n", "refused", "ids")
"""The parameters of a URL that say what was done before the page was shown."""
HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def render_page(
    request: Request, viewer: Viewer | None, template: str, status: int = 200, **values: Any
) -> Response:
    """Return a page. Templates get `viewer`, `request`, `query` and the named values."""
    values |= {"request": request, "viewer": viewer, "query": partial(query_text, request)}
    text = _environment().get_template(template).render(values)
    return HTMLResponse(text, status, _HEADERS)


def static_response(name: str) -> Response | None:
    """Return a file of `static/`, which browsers keep, because its URL names its contents."""
    found = _static_files().get(name)
    if found is None:
        return None
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(found, headers=headers, media_type=_TYPES[Path(name).suffix])


def local(at: datetime, zone_name: str) -> datetime:
    """Return an instant on the clocks of a zone; in UTC where this machine lacks the zone."""
    return at.astimezone(zone(zone_name)) if is_zone(zone_name) else at.astimezone(UTC)


def moment_text(at: datetime, zone_name: str) -> str:
    """Return an instant for readers, such as Tue 1 Dec 2026, 09:00."""
    found = local(at, zone_name)
    seconds = ":%S" if found.second else ""
    return f"{found:%a} {found.day} {found:%b %Y, %H:%M}{found.strftime(seconds)}"


def clock_text(at: datetime, zone_name: str) -> str:
    """Return the time of day, such as 09:00; with seconds unless zero."""
    found = local(at, zone_name)
    return f"{found:%H:%M:%S}" if found.second else f"{found:%H:%M}"


def day_text(day: date) -> str:
    """Return a date, such as Tuesday 1 December 2026."""
    return f"{day:%A} {day.day} {day:%B %Y}"


def relative_text(at: datetime, now: datetime) -> str:
    """Return how far an instant is away, such as in 5 min, or 3 h ago."""
    seconds = (at - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    length = duration_text(max(round(abs(seconds)), 1)).replace(".0 s", " s")
    return f"in {length}" if seconds > 0 else f"{length} ago"


def offset_text(zone_name: str, at: datetime) -> str:
    """Return a zone's offset at an instant, such as UTC+1 or UTC+5:30."""
    offset = local(at, zone_name).utcoffset() or timedelta()
    sign, minutes = ("-", -offset) if offset < timedelta() else ("+", offset)
    hours, rest = divmod(int(minutes.total_seconds()) // 60, 60)
    return f"UTC{sign}{hours}:{rest:02}" if rest else f"UTC{sign}{hours}"


def query_text(request: Request, **changes: object) -> str:
    """Return the request's query string with these parameters changed; None removes one."""
    values = dict(request.query_params)
    for name, value in changes.items():
        values.pop(name, None)
        if value is not None and value != "":
            values[name] = str(value)
    for name in DONE_PARAMETERS:
        values.pop(name, None)
    return f"?{urlencode(values)}" if values else "?"


def _json_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _count_text(count: int) -> str:
    return f"{count:,}"


def _static_url(name: str) -> str:
    return f"/static/{name}?v={hashlib.sha256(_static_files()[name]).hexdigest()[:12]}"


@cache
def _static_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir())}


@cache
def _environment() -> Environment:
    """Return the environment; it is built with the first page, as most nodes show none."""
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters |= {
        "moment": moment_text,
        "clock": clock_text,
        "day_text": day_text,
        "relative": relative_text,
        "duration": duration_text,
        "utc": utc_text,
        "count": _count_text,
        "json_text": _json_text,
        "local": local,
    }
    found.globals |= {"static": _static_url, "offset": offset_text}
    return found
