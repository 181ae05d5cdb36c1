"""The time and the size of the console's pages with 5,000 campaigns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import TIMEOUT_S, RunningApi, running_server
from tests.support.console_data import add_busy_team
from tests.support.waiting import utc_now

pytestmark = [pytest.mark.measured, pytest.mark.alone, pytest.mark.timeout(240)]

CAMPAIGNS = 5000
PAGE_MS, PAGE_KB = 200, 100
COLD_MS, WARM_MS = 1000, 100
"""Of the calendar: when a schedule has changed, and when none has."""
PREVIEW_MS = 300
TIMES = 3
"""A page is asked for as often; the quickest answer counts, since the machine does other work."""
PAGES = (
    *("/", "/calendar", "/calendar?view=week", "/calendar?view=day", "/calendar?view=agenda"),
    *("/calendar?q=news", "/campaigns", "/campaigns?q=news", "/campaigns?status=paused", "/runs"),
    *("/runs?q=news", "/runs?status=failed", "/nodes", "/audit", "/campaigns/new", "/explain"),
)


@pytest.fixture
def api(tmp_path: Path, database_url: str) -> Iterator[RunningApi]:
    """Yield a server with many campaigns."""
    with running_server(tmp_path, database_url) as found:
        add_busy_team(found.database, CAMPAIGNS, every=5)
        yield found


def test_pages_and_previews_keep_their_budgets(api: RunningApi) -> None:
    with httpx.Client(base_url=api.url, follow_redirects=True, timeout=TIMEOUT_S) as ann:
        ann.post("/login", data={"key": api.keys[Scope.ADMIN]})
        took: dict[str, float] = {}

        def measure(name: str, method: str, path: str, times: int, **more: object) -> bytes:
            for _ in range(times):
                began = time.perf_counter()
                answer = ann.request(method, path, **more)  # type: ignore[arg-type]
                seconds = time.perf_counter() - began
                assert answer.status_code == 200, path
                took[name] = min(seconds * 1000, took.get(name, seconds * 1000))
            return answer.content

        measure("cold", "GET", "/calendar", 1)
        sizes = {path: len(measure(path, "GET", path, TIMES)) for path in PAGES}
        measure("warm", "GET", "/calendar", TIMES)
        campaign = api.database.one("SELECT min(id) FROM campaigns WHERE status = 'scheduled'")
        day = (utc_now() + timedelta(days=2)).date()
        fields = {"kind": "once", "day": str(day), "time": "09:00", "zone": "Asia/Tokyo"}
        for number in range(TIMES):
            form = {**fields, "time": f"09:0{number}", "preview": "fragment"}
            part = measure("preview", "POST", f"/campaigns/{campaign}/reschedule", 1, data=form)
            assert b"in Tokyo" in part
    print({name: round(ms) for name, ms in took.items()})
    assert took.pop("cold") < COLD_MS
    assert took.pop("warm") < WARM_MS
    assert took.pop("preview") < PREVIEW_MS
    assert {name: ms for name, ms in took.items() if ms > PAGE_MS} == {}
    assert {path: size for path, size in sizes.items() if size > PAGE_KB * 1000} == {}
