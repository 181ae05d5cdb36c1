"""The table of events: every event told is in it, and the document says what the table says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from daemon.domain.errors import Unavailable
from daemon.telemetry.event_log import EventLog
from daemon.telemetry.events import EVENTS

ROOT = Path(__file__).parents[3]
TOLD = re.compile(r"(?:_?emit|log)\(\s*\"([a-z_]+)\"")


def told_in_code() -> set[str]:
    """The event names that the code tells of, as written."""
    sources = [*ROOT.glob("daemon/**/*.py"), *ROOT.glob("storage/**/*.py")]
    return {name for source in sources for name in TOLD.findall(source.read_text("utf-8"))}


def test_every_event_told_is_in_the_table() -> None:
    """An event missing from the table would raise when it is told."""
    told = told_in_code()
    assert len(told) > 20
    assert told - EVENTS.keys() == set()


def test_names_are_snake_case_and_meanings_are_sentences() -> None:
    """Names are stable identifiers; the meaning is for people."""
    for name, entry in EVENTS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert entry.meaning.endswith(".")


def test_the_document_has_the_table() -> None:
    """docs/events.md lists each event with its level and meaning."""
    text = (ROOT / "docs" / "events.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| (.*) \|$", text, re.M)
    assert rows == [(name, entry.level, entry.meaning) for name, entry in EVENTS.items()]


class Recorder:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str, dict[str, Any]]] = []

    def log(self, level: int, event: str, **fields: Any) -> None:
        """Keep a line."""
        self.lines.append((level, event, fields))


def test_an_event_is_logged_at_its_level_without_empty_keys() -> None:
    """Keys without a value are left out; the level comes from the table."""
    logger = Recorder()
    EventLog(logger)("run_missed", campaign_id=7, run_id=None, target="log")
    assert logger.lines == [(30, "run_missed", {"campaign_id": 7, "target": "log"})]


def test_a_level_given_wins() -> None:
    """The log target writes at the level it was configured with."""
    logger = Recorder()
    EventLog(logger)("delivered", level="error", campaign_id=7)
    assert logger.lines == [(40, "delivered", {"campaign_id": 7})]


def test_what_is_not_written_costs_no_line() -> None:
    """Below the log's level nothing is built."""
    logger = Recorder()
    EventLog(logger)("run_claimed", campaign_id=7)
    assert logger.lines == []


def test_unavailable_is_retryable() -> None:
    """What waits out an outage catches this class."""
    assert Unavailable("away").retryable
