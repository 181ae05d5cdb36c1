"""What is due for one target: a backlog and what is on time do not starve one another."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from daemon.domain.run.attempt import ArmedEvent, DueEntry
from daemon.pipeline import backlog
from daemon.pipeline.backlog import LATE, Backlog
from tests.support.builders import armed_once, pending_run
from tests.support.clocks import NOON

SECOND = timedelta(seconds=1)


def at(number: int, instant: datetime) -> ArmedEvent:
    entry = armed_once(number)
    event = entry.event._replace(at=instant)
    return entry._replace(event=event, due_at=instant)


def numbers(entries: list[DueEntry]) -> list[int]:
    return [entry.campaign_id for entry in entries]


def filled(*entries: DueEntry, now: datetime = NOON) -> Backlog:
    made = Backlog()
    for entry in entries:
        assert made.push([entry], now, paused=False) == []
    return made


def test_the_oldest_come_first() -> None:
    made = filled(at(1, NOON), at(2, NOON - SECOND), at(3, NOON - 2 * SECOND))
    assert len(made) == 3
    assert numbers(made.pop(2)) == [3, 2]
    assert numbers(made.pop(2)) == [1]


def test_a_batch_takes_half_of_a_backlog_and_half_of_what_is_on_time() -> None:
    late = [at(number, NOON - LATE - number * SECOND) for number in range(1, 7)]
    made = filled(*late, *(at(number, NOON) for number in range(10, 16)))
    assert numbers(made.pop(4)) == [10, 11, 6, 5]
    assert numbers(made.pop(4)) == [12, 13, 4, 3]
    assert sorted(numbers(made.pop(100))) == [1, 2, 14, 15]


def test_either_has_its_turn_where_there_is_room_for_one() -> None:
    made = filled(at(1, NOON - 2 * LATE), at(2, NOON - 3 * LATE), at(10, NOON), at(11, NOON))
    assert sorted(numbers(made.pop(1) + made.pop(1))) == [2, 10]
    assert sorted(numbers(made.pop(1) + made.pop(1))) == [1, 11]


@pytest.mark.parametrize("paused", [False, True])
def test_a_full_backlog_leaves_room_for_what_is_on_time(
    monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    monkeypatch.setattr(backlog, "MAX_BACKLOG_PAUSED" if paused else "MAX_BACKLOG", 2)
    made = Backlog()
    late = [at(n, NOON - 2 * LATE) for n in (1, 2, 3)]
    assert made.push(late, NOON, paused=paused) == late[2:]
    assert made.is_full(paused=paused)
    on_time = [at(n, NOON) for n in (4, 5, 6)]
    assert made.push(on_time, NOON, paused=paused) == on_time[2:]
    assert len(made) == 4


def test_a_probe_takes_what_was_not_tried() -> None:
    made = filled(pending_run(1), at(2, NOON - SECOND), at(3, NOON))
    untried = made.pop_first_attempt()
    assert untried is not None
    assert untried.campaign_id == 2
    assert len(made) == 2
    assert filled(pending_run(1)).pop_first_attempt() is None
