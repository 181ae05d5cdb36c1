"""Debian's Chromium, driven by Playwright, and what every page of the console must keep to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.support.api_server import RunningApi

T = TypeVar("T")
PREFERENCES = "campaignd_preferences"
TABS = 150
"""Presses of the tabulator key after which an element counts as out of reach."""
_UNWANTED = """() => ({
    wider: document.documentElement.scrollWidth - innerWidth,
    outside: [...document.querySelectorAll('main *')].filter(each =>
        each.checkVisibility() && !each.closest('.unseen, [popover], dialog')
        && each.getBoundingClientRect().right > innerWidth + 1
        && getComputedStyle(each).position !== 'absolute'
        && !each.closest('pre')).slice(0, 3).map(each => each.outerHTML.slice(0, 120)),
})"""


@dataclass
class Visitor:
    """One person's window, which notes every line of the console and every report of the policy."""

    page: Page
    url: str
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(30_000)
        self.page.on("console", lambda message: self.lines.append(message.text))
        self.page.on("pageerror", lambda error: self.lines.append(str(error)))

    def log_in(self, key: str) -> None:
        """Log in with a key, by the form."""
        self.page.goto(f"{self.url}/login")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("heading", name="Today").wait_for()

    def open(self, path: str) -> None:
        """Open a page of the console."""
        answer = self.page.goto(f"{self.url}{path}")
        assert answer is not None
        assert answer.status == 200, path

    def tab_to(self, element: Locator) -> None:
        """Move the focus to an element with the tabulator key alone."""
        for _ in range(TABS):
            self.page.keyboard.press("Tab")
            if element.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"the tabulator key does not reach {element}")

    def assert_in_order(self, path: str) -> None:
        """Fail if the page wrote to the console, or has to be scrolled to the side."""
        assert self.lines == [], path
        found = self.page.evaluate(_UNWANTED)
        assert found["wider"] <= 0, (path, found)

    def violations(self) -> list[str]:
        """Return the problems that axe finds on the page, contrast included."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {[node['html'][:200] for node in each['nodes']][:3]}" for each in found
        ]


def outside_loop(act: Callable[[], T]) -> T:
    """Run a function that needs an event loop of its own; Playwright's loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()


@contextmanager
def running_chromium(path: str) -> Iterator[Browser]:
    """Start a browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visitor(
    browser: Browser,
    api: RunningApi,
    *,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
    scripts: bool = True,
    key: str | None = None,
    zone: str = "Europe/Paris",
) -> Iterator[Visitor]:
    """Open a window whose viewer is in a zone, and log in if a key is given."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        java_script_enabled=scripts,
        locale="en-GB",
        timezone_id=zone,
        reduced_motion="reduce",
    )
    value = f"{zone.replace('/', '%2F')}|1|1"
    context.add_cookies([{"name": PREFERENCES, "value": value, "url": api.url}])
    try:
        found = Visitor(context.new_page(), api.url)
        if key is not None:
            found.log_in(key)
        yield found
    finally:
        context.close()
