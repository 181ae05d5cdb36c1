"""The commands of the README work as written."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from daemon.cli.commands.listen import verdict
from daemon.targets.webhook_signature import key_from

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)
SHELL = [text for language, text in BLOCKS if language == "sh"]
EVENTS = ("ready", "api_listening")
BODIES = [text for language, text in BLOCKS if language == "json"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a space in its name that has what `make install` makes."""
    made = tmp_path / "my campaigns"
    made.mkdir()
    (made / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return made


def environment(place: Path) -> dict[str, str]:
    """Return the environment of a new terminal in that directory."""
    kept = {name: value for name, value in os.environ.items() if "CAMPAIGND" not in name}
    # Another process of this machine may use the default port, which the README uses.
    return {**kept, "CAMPAIGND_STATE_DIR": f"{place}/.state", "CAMPAIGND_API__PORT": "0"}


@pytest.fixture
def daemon(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The first terminal: the README's lines, without the installation."""
    lines = [line for line in SHELL[1].splitlines() if not line.startswith("make install")]
    assert len(lines) == 2
    assert lines[-1].startswith(".venv/bin/campaignd run")
    log = place / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            ["bash", "-euc", "\n".join([lines[0], "exec " + lines[1]])],
            cwd=place,
            env=environment(place),
            stderr=stream,
        )
    try:
        deadline = time.monotonic() + 120
        while not all(f'"event":"{event}"'.encode() in log.read_bytes() for event in EVENTS):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(90)


def port_of(place: Path) -> str:
    """Return the port that the daemon picked."""
    (listening,) = re.findall(r'"api_listening".*?"port":(\d+)', (place / "log").read_text())
    return str(listening)


def bash(script: str, place: Path) -> str:
    """Return the output of a script in the second terminal, which must succeed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_opens_with_the_two_commands() -> None:
    """`make run` and `make test` come first; a fresh clone's test runs them."""
    assert re.findall(r"^make \w+", SHELL[0], re.M) == ["make run", "make test"]


def test_five_minutes(place: Path, daemon: subprocess.Popen[bytes]) -> None:
    """Both terminals of the five-minute start, and the bodies shown after it."""
    shown = bash(SHELL[2], place)
    assert "Hello" in shown
    assert "campaign 1 paused" in shown
    assert "paused" in shown.rsplit("campaign 1 paused", 1)[1]
    if shutil.which("curl"):
        shown = bash(SHELL[3].replace(":8080", f":{port_of(place)}"), place)
        assert '"name":"Hello"' in shown
        assert '"status":"scheduled"' in shown.splitlines()[-1]
    for number, body in enumerate(BODIES):
        (place / "body.json").write_text(json.dumps(json.loads(body)))
        answer = bash(".venv/bin/campaignd schedule 1 --preview 3 body.json", place)
        runs = [line for line in answer.splitlines() if not line.startswith("note:")]
        assert len(re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(runs))) == 3, number
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(90) == 0


def test_six_commands_to_a_weekly_webhook(place: Path, empty_database_url: str) -> None:
    """On a PostgreSQL of one's own; the webhook then gets a signed run that is asked for."""
    (block,) = (text for text in SHELL if "campaignd init" in text)
    install, *commands = block.splitlines()
    assert (install, len(commands)) == ("make install", 5)
    received: queue.Queue[tuple[Any, bytes]] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put((self.headers, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script = "\n".join(commands).replace(":9000", f":{server.server_port}")
        more = '.venv/bin/campaignd run-now "Weekly letter"\nread -r _ || true\nkill %1\nwait %1\n'
        with subprocess.Popen(
            ["bash", "-emc", f"{script}\n{more}"],
            cwd=place,
            env={**environment(place), "DATABASE_URL": empty_database_url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as terminal:
            try:
                headers, body = received.get(timeout=100)
            finally:
                output, _ = terminal.communicate("\n", timeout=100)
        server.shutdown()
    assert terminal.returncode == 0, output
    assert "every Monday at 09:00 in Paris" in output
    assert json.loads(body)["data"]["campaign_name"] == "Weekly letter"
    settings = tomllib.loads((place / "campaignd.toml").read_text())
    keys = [key_from(secret) for secret in settings["targets"]["crm"]["secrets"]]
    assert verdict(keys, headers, body, time.time()) is None


def test_every_command_named_exists() -> None:
    """Every command that the README names exists."""
    from daemon.cli.lazy_group import COMMANDS

    named = set(re.findall(r"`(?:campaignd )?([a-z]+)(?: REF| FILE|`| cases)", README))
    after_campaignd = set(re.findall(r"campaignd ([a-z]+)", README))
    words = {"run", "import", "export", "campaigns", "upcoming", "pause", "show", "start", "stop"}
    assert words <= COMMANDS.keys()
    assert after_campaignd - {"is"} <= COMMANDS.keys(), after_campaignd - COMMANDS.keys()
    assert named & COMMANDS.keys()


def test_every_file_linked_is_there() -> None:
    """Every link leads to a file."""
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
