"""The dashboard in a real browser, used by keyboard and without scripts."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi, request_text, running_server
from tests.support.machines.debian import install_or_skip
from tests.support.waiting import utc_now, wait_until

pytestmark = [pytest.mark.machine, pytest.mark.timeout(240)]

TAB, ENTER = "\ue004", "\ue007"
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1280,1000",
]


class Browser:
    """Chromium, controlled by WebDriver."""

    def __init__(self, driver: str, chromium: str, directory: Path, *, dark: bool) -> None:
        self._log = (directory / "chromedriver.log").open("wb")
        self._process = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout is not None
        port = next(
            line.rsplit(" ", 1)[1].strip(".\n")
            for line in self._process.stdout
            if "started successfully on port" in line
        )
        self._url = f"http://127.0.0.1:{port}"
        theme = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
        options = {
            "binary": chromium,
            "args": [*_FLAGS, *theme, f"--user-data-dir={directory}/profile"],
        }
        asked = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self._url += f"/session/{self.call('POST', '/session', asked)['sessionId']}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one command."""
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(
            self._url + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def keys(self, text: str) -> None:
        """Type on the keyboard, wherever the focus is."""
        pressed = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": pressed}]})

    def script(self, text: str, *arguments: Any) -> Any:
        """Return the result of a script."""
        return self.call("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def asynchronous(self, text: str) -> Any:
        """Return what a script passes to its last argument."""
        return self.call("POST", "/execute/async", {"script": text, "args": []})

    def screenshot(self, path: Path) -> None:
        """Save a screenshot."""
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def end(self) -> None:
        """Close the browser."""
        self.call("DELETE", "")
        self._process.terminate()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, which finds accessibility problems."""
    npm = install_or_skip("npm", "npm")
    directory = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--no-save", "--ignore-scripts", "--no-audit", "axe-core"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"axe-core cannot be installed: {done.stderr.strip()[-200:]}")
    return (directory / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.fixture
def node(tmp_path: Path, database_url: str) -> Iterator[RunningApi]:
    """A node with campaigns and runs of every kind."""
    with running_server(tmp_path, database_url) as api:
        for zone, name in (("Asia/Tokyo", "Morning news"), ("America/New_York", "Weekly offer")):
            api.create_armed_campaign(name=name, timezone=zone)
        soon = {
            "schedule_type": "scheduled",
            "scheduled_at": request_text(utc_now() + timedelta(seconds=3)),
        }
        for number in range(3):
            made = api.create_campaign(name=f"One-off {number}")
            answer = api.http.post(f"/campaigns/{made['id']}/schedule", json=soon)
            assert answer.status_code == 200, answer.text
        broken = api.database.add_one_offs(1, utc_now() + timedelta(seconds=2))[0]
        api.database.rows("UPDATE campaigns SET target = 'nowhere' WHERE id = %s", broken)
        api.database.add_one_offs(1, utc_now() - timedelta(hours=5))
        api.database.wait_until("SELECT count(*) = 5 FROM runs WHERE finished_at IS NOT NULL")
        yield api


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_look_by_keyboard(node: RunningApi, axe: str, tmp_path: Path, theme: str) -> None:
    """Log in, read and log out by keyboard alone, without a problem found by axe."""
    driver, chromium = (
        install_or_skip("chromium-driver", "chromedriver"),
        install_or_skip("chromium", "chromium"),
    )
    browser = Browser(driver, chromium, tmp_path, dark=theme == "dark")
    try:
        is_dark = "return matchMedia('(prefers-color-scheme: dark)').matches"
        browser.call("POST", "/url", {"url": node.url})
        assert browser.script(is_dark) is (theme == "dark")
        assert violations(browser, axe) == []
        assert browser.script("return document.activeElement.id") == "key"
        browser.keys(node.keys[Scope.READ] + ENTER)
        wait_until(
            "the page",
            lambda: "Upcoming" in browser.script("return document.body.innerText"),
        )
        assert browser.script("return document.scripts.length") == 0
        text = browser.script("return document.body.innerText")
        for wanted in ("Asia/Tokyo", "Morning news", "One-off 0", "missed", "failed", "live"):
            assert wanted in text, wanted
        bad = browser.script(
            "return [...document.querySelectorAll('.bad')].map(each => each.innerText)"
        )
        assert {"failed", "missed"} <= set(bad)
        assert violations(browser, axe) == []
        if kept := os.environ.get("SCREENSHOTS"):
            browser.screenshot(Path(kept) / f"page-{theme}.png")

        def tag() -> str:
            return str(browser.script("return document.activeElement.innerText"))

        browser.keys(TAB)
        assert tag() == "Refresh"
        browser.keys(TAB)
        assert tag() == "Log out"
        outline = browser.script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        browser.keys(ENTER)
        wait_until("the form", lambda: browser.script("return document.activeElement.id") == "key")
    finally:
        browser.end()


def violations(browser: Browser, axe: str) -> list[str]:
    """Return the problems that axe finds, contrast included."""
    browser.script(axe)
    found = browser.asynchronous(
        "const done = arguments[arguments.length - 1];"
        "axe.run().then(found => done(found.violations), error => done([{id: String(error)}]))"
    )
    return [
        f"{each['id']}: {[node['html'] for node in each.get('nodes', [])][:3]}" for each in found
    ]
