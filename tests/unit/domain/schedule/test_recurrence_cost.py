"""The cost of the next occurrence, for every kind of recurrence of the request bodies.

Counted in lines of the domain that are executed, which no other load on the machine changes.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.domain.schedule import recurrence, schedule, timezones
from daemon.domain.schedule.schedule import Schedule

BENCHMARK = Path(__file__).parents[4] / "benchmarks" / "recurrence.py"
FILES = {module.__file__ for module in (recurrence, schedule, timezones)}
DAYS = 60
MOST = 200
"""Maximum lines of code per occurrence: a quarter more than the costliest kind needs."""


def load() -> Any:
    """Return the benchmark's module, which lies outside every package."""
    spec = importlib.util.spec_from_file_location("benchmarks_recurrence", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


benchmark = load()


def lines(work: Callable[[], object]) -> int:
    """Return the number of executed lines of the domain."""
    counted = 0

    def trace(frame: Any, what: str, _argument: object) -> Any:
        nonlocal counted
        if frame.f_code.co_filename not in FILES:
            return None
        counted += what == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return counted


def dearest(found: Schedule, start: datetime) -> tuple[int, int]:
    """Return the maximum cost of a step, and of a search after an instant, over some days."""
    step = ask = 0
    for day in range(DAYS):
        instant = start + timedelta(days=day, hours=day % 24)
        event = found.event_after(instant)
        assert event is not None
        ask = max(ask, lines(lambda at=instant: found.event_after(at)))  # type: ignore[misc]
        step = max(step, lines(lambda of=event: found.event_following(of)))  # type: ignore[misc]
    return step, ask


@pytest.mark.parametrize("name", benchmark.CASES)
def test_the_next_occurrence_costs_little_at_any_age(name: str) -> None:
    """The same when the schedule is new and when it is eight hundred years old."""
    found = benchmark.schedule_of(name)
    began = found.begins_at
    found.occurrences(began, 10)  # fills the caches
    young = dearest(found, began + timedelta(days=1))
    # The 29th of February has the longest wait for the next one.
    old = dearest(found, began + timedelta(days=800 * 365.2425 + 1))
    assert 0 < max(young) <= MOST
    assert 0 < max(old) <= MOST
    assert max(old) <= 1.3 * max(young)


def test_the_benchmark_measures_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind has a row with figures."""
    benchmark.main(["--seconds", "0.001", "--ages", "0,9", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == list(benchmark.CASES)
    for row in rows:
        assert row["following"].keys() == row["after"].keys() == {"0", "9"}
        assert min(*row["following"].values(), *row["after"].values()) > 0
    assert {row["name"] for row in rows if row["rrule"] is None} == {"window, continuously"}
