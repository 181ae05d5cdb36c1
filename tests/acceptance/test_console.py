"""The console in a real browser: with the mouse, with the keyboard alone, and without scripts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi, running_server
from tests.support.browser import Visitor, outside_loop, running_chromium, visitor
from tests.support.console_data import add_busy_team
from tests.support.machines.debian import install_or_skip
from tests.support.postgres import fresh_database
from tests.support.waiting import utc_now

pytestmark = [pytest.mark.machine, pytest.mark.timeout(240)]

PAGES = (
    *("/", "/calendar", "/calendar?view=week", "/calendar?view=day", "/calendar?view=agenda"),
    *("/campaigns", "/campaigns/new", "/runs", "/explain", "/targets", "/nodes", "/audit"),
    "/preferences",
)
OF_CAMPAIGN = ("", "/runs", "/schedule", "/history", "/payload", "/edit", "/reschedule")
MANY = 1500
expect.set_options(timeout=30_000)  # for a machine that does other work


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield one browser for all tests."""
    with running_chromium(install_or_skip("chromium", "chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, template_database: str
) -> Iterator[RunningApi]:
    """Yield one server for all tests."""
    with fresh_database(postgres_server, template_database) as (_, url):
        directory: Path = tmp_path_factory.mktemp("console")
        with running_server(directory, url) as found:
            yield found


def next_tuesday() -> date:
    """Return the next Tuesday in Paris, on any day but that itself."""
    today = (utc_now() + timedelta(hours=1)).date()
    return today + timedelta(days=(1 - today.weekday()) % 7 or 7)


def create_letter(api: RunningApi, name: str) -> dict[str, Any]:
    """Create a campaign that runs on Tuesdays at 09:00 in Paris."""
    made = api.create_campaign(name=name, timezone="Europe/Paris")
    config = {"frequency": "weekly", "time": "09:00", "days_of_week": [2]}
    body = {"schedule_type": "recurring", "recurring_config": config}
    saved = api.http.post(f"/campaigns/{made['id']}/schedule", json=body)
    assert saved.status_code == 200, saved.text
    return made


def hour_of(api: RunningApi, campaign: dict[str, Any]) -> str:
    """Return the time of day of the campaign's schedule."""
    shown = api.http.get(f"/campaigns/{campaign['id']}/schedule").json()
    return str(shown["recurring_config"]["time"])


def test_the_three_jobs_with_the_mouse(api: RunningApi, browser: Browser) -> None:
    """Find what goes out next Tuesday, pause one, and move one after reading what that changes."""
    letter, other = create_letter(api, "Mouse letter"), create_letter(api, "Mouse offer")
    with visitor(browser, api, key=api.keys[Scope.WRITE]) as ann:
        page = ann.page
        page.get_by_role("link", name="Calendar").click()
        find_tuesday(page).click()
        page.get_by_role("link", name=re.compile("Mouse offer")).click()
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text("Paused. What falls due is missed")).to_be_visible()
        assert api.status_of(other) == "paused"
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("#notice")).to_have_text(re.compile("^Started again"))
        assert api.status_of(other) == "scheduled"
        page.get_by_role("link", name="Calendar").click()
        find_tuesday(page).click()
        page.get_by_role("link", name=re.compile("Mouse letter")).click()
        page.get_by_role("link", name="Move or reschedule").click()
        page.get_by_label("Time", exact=True).fill("10:00")
        expect(page.locator("#preview")).to_contain_text(re.compile(r"adds [45] and drops [45]"))
        assert hour_of(api, letter) == "09:00"
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Every Tuesday at 10:00 in Paris.")).to_be_visible()
        assert hour_of(api, letter) == "10:00"
        assert ann.lines == []


def find_tuesday(page: Page) -> Any:
    """Return the link to next Tuesday, in the next month if it is there."""
    day = next_tuesday()
    cell = page.locator(f'td[data-day="{day}"] .num')
    if not cell.count():
        page.get_by_role("link", name="After").click()
    return cell


def test_the_three_jobs_with_the_keyboard_alone(api: RunningApi, browser: Browser) -> None:
    """The keys g c go to the calendar, arrows move the day, p pauses; the rest is Tab and Enter."""
    letter, other = create_letter(api, "Keyboard letter"), create_letter(api, "Keyboard offer")
    with visitor(browser, api, key=api.keys[Scope.WRITE]) as ann:
        page, keys = ann.page, ann.page.keyboard
        for name in ("Keyboard offer", "Keyboard letter"):
            keys.press("g")
            keys.press("c")
            page.wait_for_url("**/calendar")
            today = page.locator(".num[aria-current]")
            ann.tab_to(today)
            away = (next_tuesday() - date.fromisoformat(day_of_focus(page))).days
            for _ in range(away):
                keys.press("ArrowRight")
            assert day_of_focus(page) == str(next_tuesday())
            keys.press("Enter")
            page.wait_for_url("**view=day**")
            ann.tab_to(page.get_by_role("link", name=re.compile(name)))
            keys.press("Enter")
            page.wait_for_url("**/campaigns/*")
            if name == "Keyboard offer":
                keys.press("p")
                expect(page.get_by_text("Paused. What falls due is missed")).to_be_visible()
                assert api.status_of(other) == "paused"
        ann.tab_to(page.get_by_role("link", name="Move or reschedule"))
        keys.press("Enter")
        page.wait_for_url("**/reschedule")
        ann.tab_to(page.get_by_label("Time", exact=True))
        keys.type("1000")
        expect(page.locator("#preview")).to_contain_text(re.compile(r"adds [45] and drops [45]"))
        ann.tab_to(page.get_by_role("button", name="Save"))
        keys.press("Enter")
        expect(page.get_by_text("Every Tuesday at 10:00 in Paris.")).to_be_visible()
        assert hour_of(api, letter) == "10:00"
        assert ann.lines == []


def day_of_focus(page: Page) -> str:
    """Return the day of the calendar's cell that has the focus."""
    return str(page.evaluate("document.activeElement.closest('td[data-day]').dataset.day"))


def test_the_three_jobs_without_scripts(api: RunningApi, browser: Browser) -> None:
    letter, other = create_letter(api, "Plain letter"), create_letter(api, "Plain offer")
    with visitor(browser, api, scripts=False, key=api.keys[Scope.WRITE]) as ann:
        page = ann.page
        for name in ("Plain offer", "Plain letter"):
            page.get_by_role("link", name="Calendar").click()
            find_tuesday(page).click()
            page.get_by_role("link", name=re.compile(name)).click()
            if name == "Plain offer":
                page.get_by_role("button", name="Pause").click()
                expect(page.get_by_text("Paused. What falls due is missed")).to_be_visible()
        assert api.status_of(other) == "paused"
        page.get_by_role("link", name="Move or reschedule").click()
        page.get_by_label("Time", exact=True).fill("10:00")
        page.get_by_role("button", name="Preview").click()
        expect(page.locator("#preview")).to_contain_text(re.compile(r"adds [45] and drops [45]"))
        assert hour_of(api, letter) == "09:00"
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Every Tuesday at 10:00 in Paris.")).to_be_visible()
        assert hour_of(api, letter) == "10:00"


def test_two_people_edit_the_same_campaign(api: RunningApi, browser: Browser) -> None:
    """The second one sees whose change came between, and both versions side by side."""
    letter = create_letter(api, "Letter of two")
    bob_key = outside_loop(lambda: api.create_key("bob", Scope.WRITE))
    path = f"/campaigns/{letter['id']}/reschedule"
    with (
        visitor(browser, api, key=api.keys[Scope.WRITE]) as ann,
        visitor(browser, api, key=bob_key) as bob,
    ):
        for person, time in ((ann, "10:00"), (bob, "11:00")):
            person.open(path)
            person.page.get_by_label("Time", exact=True).fill(time)
        bob.page.get_by_role("button", name="Save").click()
        expect(bob.page.get_by_text("Every Tuesday at 11:00")).to_be_visible()
        ann.page.get_by_role("button", name="Save").click()
        expect(ann.page.get_by_role("alert")).to_contain_text("web:bob changed the schedule")
        expect(ann.page.get_by_text("Every Tuesday at 10:00")).to_be_visible()
        expect(ann.page.get_by_text("Every Tuesday at 11:00")).to_be_visible()
        assert hour_of(api, letter) == "11:00"
        ann.page.get_by_role("button", name="Save mine instead").click()
        expect(ann.page.get_by_text("Every Tuesday at 10:00")).to_be_visible()
        assert hour_of(api, letter) == "10:00"


def test_a_page_follows_what_another_person_does(api: RunningApi, browser: Browser) -> None:
    letter = create_letter(api, "Followed letter")
    with visitor(browser, api, key=api.keys[Scope.READ]) as ann:
        ann.open(f"/campaigns/{letter['id']}")
        expect(ann.page.locator("#live")).to_have_text("live")
        api.http.post(f"/campaigns/{letter['id']}/pause")
        expect(ann.page.locator("#lead")).to_contain_text("what falls due is missed")


def test_a_search_lists_while_one_types(api: RunningApi, browser: Browser) -> None:
    """The address names the search, so that it can be passed on; the field keeps the focus."""
    create_letter(api, "Searched letter")
    with visitor(browser, api, key=api.keys[Scope.READ]) as ann:
        ann.open("/campaigns")
        ann.page.keyboard.press("/")
        ann.page.keyboard.type("searched")
        ann.page.wait_for_url("**/campaigns?q=searched")
        expect(ann.page.locator("#count")).to_contain_text("1 of ")
        ann.page.keyboard.type(" letter")
        ann.page.wait_for_url("**/campaigns?q=searched+letter")
        ann.open("/campaigns?q=searched+letter")
        expect(ann.page.get_by_role("link", name="Searched letter")).to_be_visible()


def test_a_run_that_is_dragged_to_another_day_opens_the_editor_with_it(
    api: RunningApi, browser: Browser
) -> None:
    made = api.create_campaign(name="Dragged letter", timezone="Europe/Paris")
    day = date(2031, 5, 6)
    body = {"schedule_type": "scheduled", "scheduled_at": f"{day}T09:00:00"}
    api.http.post(f"/campaigns/{made['id']}/schedule", json=body)
    with visitor(browser, api, key=api.keys[Scope.WRITE]) as ann:
        ann.open(f"/calendar?day={day}&q=Dragged")
        other = day + timedelta(days=2)
        ann.page.get_by_role("link", name=re.compile("Dragged letter")).drag_to(
            ann.page.locator(f'td[data-day="{other}"]')
        )
        ann.page.wait_for_url(f"**/campaigns/{made['id']}/reschedule?day={other}")
        expect(ann.page.locator("#preview")).to_contain_text("Thursday 8 May 2031 at 09:00")


def visit_all(api: RunningApi, ann: Visitor, *, axe: bool) -> None:
    """Open every page, and fail if one of them is not in order."""
    newest = api.database.rows("SELECT max(id) AS id FROM campaigns")[0]["id"]
    run = api.database.rows("SELECT id FROM runs WHERE status = 'failed' LIMIT 1")
    paths = [*PAGES]
    if newest is not None:
        paths += [f"/campaigns/{newest}{each}" for each in OF_CAMPAIGN]
    if run:
        paths += [f"/runs/{run[0]['id']}", f"/explain?campaign={newest}&at=2026-01-01T09:00"]
    for path in paths:
        ann.open(path)
        ann.assert_in_order(path)
        if axe:
            assert ann.violations() == [], path
        if kept := os.environ.get("SCREENSHOTS"):
            size = ann.page.viewport_size
            name = path.strip("/").replace("/", "_").replace("?", "_") or "today"
            width = size["width"] if size else 0
            ann.page.screenshot(path=Path(kept) / f"{name}-{width}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_in_order_at_every_width(
    api: RunningApi, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    """No line on the console, no report of the policy, nothing to scroll sideways, axe content."""
    key = api.keys[Scope.ADMIN]
    api.database.delete_all()
    with visitor(browser, api, width=1280, scheme=scheme) as stranger:
        stranger.open("/login")
        stranger.assert_in_order("/login")
        assert stranger.violations() == []
    if scheme == "light":
        with visitor(browser, api, width=390, key=key) as ann:
            visit_all(api, ann, axe=True)
    outside_loop(lambda: add_busy_team(api.database, 30))
    for width in (390, 768, 1280, 1920) if scheme == "light" else (390, 1280):
        with visitor(browser, api, width=width, scheme=scheme, key=key) as ann:
            visit_all(api, ann, axe=width == 1280)
    if scheme == "light":
        api.database.delete_all()
        outside_loop(lambda: add_busy_team(api.database, MANY, every=5))
        with visitor(browser, api, width=1280, scheme=scheme, key=key) as ann:
            visit_all(api, ann, axe=False)
