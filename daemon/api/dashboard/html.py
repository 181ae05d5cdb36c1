"""The dashboard as HTML, light and dark, without scripts or resources of other hosts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files

from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.formatting import duration_text
from daemon.domain.read_models import Overview, RunDetail, UpcomingEvent

WAITING = (RunStatus.HELD, RunStatus.RETRYING, RunStatus.QUEUED)
"""Statuses of open runs that are not executing; runs that need an operator come first."""
_LATE_MS = 1000.0
"""Lateness in milliseconds above which a run is marked."""
_AXIS = 256
"""Width of the timeline in its own coordinates."""


@cache
def style_sheet() -> str:
    """Return the style sheet."""
    return files("daemon.api.dashboard").joinpath("page.css").read_text("utf-8")


@cache
def content_security_policy() -> str:
    """Return the Content-Security-Policy: this style sheet and forms to this host only."""
    digest = base64.b64encode(hashlib.sha256(style_sheet().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def login_page(problem: str = "") -> str:
    """Return the login form."""
    alert = f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else ""
    return _html_document(
        "Log in",
        f"""<main><form class="login" method="post" action="login">
<h1>campaignd</h1>{alert}
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button type="submit">Log in</button>
<p class="soft">The scope read is sufficient: campaignd keys create NAME --scope read</p>
</form></main>""",
    )


def overview_page(
    overview: Overview,
    open_runs: Mapping[RunStatus, Sequence[RunDetail]],
    runs: Sequence[RunDetail],
    upcoming: Sequence[UpcomingEvent],
    key_name: str,
) -> str:
    """Return the dashboard.

    Args:
        overview: the nodes and the totals.
        open_runs: runs that have not ended, by status, also old ones.
        runs: the newest runs.
        upcoming: the armed events, soonest first.
        key_name: name of the API key of the session.
    """
    now = overview.now
    is_late = overview.overdue > 0
    figures = [
        ("overdue", str(overview.overdue), is_late),
        ("behind by", duration_text(overview.lag), is_late),
        ("executing", str(overview.executing), False),
        ("queued", str(overview.queued), False),
        ("retrying", str(overview.retrying), False),
        ("nodes", str(sum(node.live for node in overview.nodes)), not has_live_node(overview)),
    ]
    executing = open_runs.get(RunStatus.EXECUTING, ())
    waiting = [each for status in WAITING for each in open_runs.get(status, ())]
    return _html_document(
        "campaignd",
        f"""<header><h1>campaignd</h1>
<span class="soft">{_utc_text(now)} UTC, key {escape(key_name)}</span>
<a href=".">Refresh</a><form method="post" action="logout"><button>Log out</button></form></header>
<main><dl>{"".join(_figure_html(*each) for each in figures)}</dl>
{_section_html("Executing", _runs_table(executing), "no run is executing")}
{_section_html("Waiting", _runs_table(waiting), "no run is held, retrying or queued")}
{_section_html("Upcoming", _upcoming_table(upcoming, now), "no campaign is armed")}
{_section_html("Recent runs", _runs_table(runs), "no runs yet")}
{_section_html("Nodes", _nodes_table(overview), "no node is live: no campaign fires")}
</main>""",
    )


def has_live_node(overview: Overview) -> bool:
    """Return whether a node is live."""
    return any(node.live for node in overview.nodes)


def _html_document(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{style_sheet()}</style></head>
<body>
{body}
</body></html>
"""


def _figure_html(name: str, value: str, is_bad: bool) -> str:
    shown = f'<span class="bad">{escape(value)}</span>' if is_bad else escape(value)
    return f"<div><dt>{escape(name)}</dt><dd>{shown}</dd></div>"


def _section_html(title: str, table: str, empty: str) -> str:
    name = title.lower().replace(" ", "-")
    inside = table or f'<p class="soft">{escape(empty)}</p>'
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>'
        f'<div class="wide" tabindex="0" role="group" aria-labelledby="{name}">{inside}</div>'
        "</section>"
    )


def _table_html(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    if not body:
        return ""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell_html(text: object, kind: str = "") -> str:
    opening = f'<td class="{kind}">' if kind else "<td>"
    return f"{opening}{escape('' if text is None else str(text))}</td>"


def _runs_table(runs: Sequence[RunDetail]) -> str:
    return _table_html(
        ("scheduled for (UTC)", "campaign", "status", "late", "attempt", "node", "error"),
        [_run_row(each) for each in runs],
    )


def _run_row(each: RunDetail) -> list[str]:
    run = each.run
    late = run.lateness_ms
    is_bad = run.status in (RunStatus.FAILED, RunStatus.MISSED, RunStatus.HELD)
    return [
        _cell_html(_utc_text(run.scheduled_for)),
        _cell_html(f"{each.campaign_name} ({run.campaign_id})", "text"),
        _cell_html(run.status, "bad" if is_bad else ""),
        _cell_html(
            "" if late is None else duration_text(late / 1000),
            "bad" if late is not None and late > _LATE_MS else "",
        ),
        _cell_html(run.attempt),
        _cell_html(run.node),
        _cell_html(run.error, "text"),
    ]


def _upcoming_table(upcoming: Sequence[UpcomingEvent], now: datetime) -> str:
    last = max((each.at for each in upcoming), default=now)
    span = max((last - now).total_seconds(), 60.0)
    return _table_html(
        ("local time", "time zone", "in", "campaign", "event", "timeline"),
        [
            [
                _cell_html(f"{each.local:%Y-%m-%d %H:%M:%S}"),
                _cell_html(each.timezone),
                _cell_html(*_format_time_left((each.at - now).total_seconds())),
                _cell_html(f"{each.campaign_name} ({each.campaign_id})", "text"),
                _cell_html(each.kind),
                f"<td>{_timeline_dot((each.at - now).total_seconds() / span)}</td>",
            ]
            for each in upcoming
        ],
    )


def _format_time_left(seconds: float) -> tuple[str, str]:
    return (
        (duration_text(seconds), "")
        if seconds > 0
        else (f"overdue by {duration_text(-seconds)}", "bad")
    )


def _timeline_dot(part: float) -> str:
    at = 8 + min(1.0, max(0.0, part)) * (_AXIS - 16)
    return (
        f'<svg viewBox="0 0 {_AXIS} 19" aria-hidden="true">'
        f'<line x1="0" y1="10" x2="{_AXIS}" y2="10"/><circle cx="{at:.0f}" cy="10" r="7"/></svg>'
    )


def _nodes_table(overview: Overview) -> str:
    return _table_html(
        ("node", "state", "heartbeat", "shards", "skew", "release", "time-zone data"),
        [
            [
                _cell_html(node.id),
                _cell_html(_node_state(node.live, node.draining), "" if node.live else "bad"),
                _cell_html(f"{duration_text(node.heartbeat_age)} ago"),
                _cell_html(node.shards),
                _cell_html(f"{node.skew_ms} ms"),
                _cell_html(node.version),
                _cell_html(node.tzdata),
            ]
            for node in overview.nodes
        ],
    )


def _node_state(live: bool, draining: bool) -> str:
    return "lost" if not live else "draining" if draining else "live"


def _utc_text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
