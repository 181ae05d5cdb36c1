"""Due occurrences with a gate or a `late`: the numbered examples, and a walk one by one."""

from __future__ import annotations

import random
import time
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from daemon.domain.formatting import utc_text
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.daylight_saving import DaylightSaving, Gap
from daemon.domain.schedule.due_parts import GatedStretch
from daemon.domain.schedule.gate import Gate
from daemon.domain.schedule.gated_misfire import decide_gated
from daemon.domain.schedule.lateness import judge_late, lateness_fault, latest_start
from daemon.domain.schedule.misfire import LISTED_AT_MOST, Stretch, decide
from daemon.domain.schedule.schedule import CampaignType, EventKind, Schedule, TimedEvent
from daemon.domain.schedule.send_window import Disposition
from tests.unit.domain.schedule.gates import (
    HOLD,
    NEXT_WINDOW,
    SEND,
    SKIP,
    closed_on,
    gate,
    hours,
    office,
)
from tests.unit.domain.schedule.schedules import recurring, window

PARIS, NEW_YORK = "Europe/Paris", "America/New_York"
D = recurring(PARIS, "2026-05-01T09:00")._replace(misfire_grace_time=600)
"""Campaign D of the specification: its occurrence of 2 June is due at 07:00:00Z."""
A1 = recurring(NEW_YORK, "2026-03-06T22:30")._replace(misfire_grace_time=600)
DAYTIME = "08:00-21:00"
WAITS = (0, 30, 700, 5000, 90_000, 400_000)
"""Seconds for which an event has been due."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def event_at(schedule: Schedule, text: str) -> TimedEvent:
    found = schedule.event_after(at(text) - timedelta(microseconds=1))
    assert found is not None
    if found.kind is EventKind.OPEN:
        found = schedule.event_following(found)
    assert found is not None
    assert found.at == at(text)
    return found


def settled(
    schedule: Schedule,
    late: Disposition,
    armed: str,
    now: str,
    of: Gate | None = None,
    due: str = "",
) -> GatedStretch:
    """Return the decision about an armed event; it is due at its verdict's instant if not given."""
    event = event_at(schedule, armed)
    due_at = event.at if of is None else of.judge(event.at, event.local).due_at
    return decide_gated(schedule, of, late, event, at(due) if due else due_at, at(now))


def summary(stretch: GatedStretch) -> list[str]:
    """Return the rows, what fires and what is armed next, in short."""
    lines = [f"{utc_text(row.event.at)} {row.cause}" for row in stretch.passed]
    if stretch.fire is not None:
        lines.append(f"{utc_text(stretch.fire.event.at)} fires")
    if stretch.next is not None:
        word = "deferred" if stretch.deferred else "next"
        lines.append(
            f"{word} {utc_text(stretch.next.event.at)} due {utc_text(stretch.next.due_at)}"
        )
    return lines


NEXT_OF_D = "next 2026-06-03T07:00:00Z due 2026-06-03T07:00:00Z"


def test_d1_the_grace_includes_its_last_instant() -> None:
    """Lateness 600 s is within the grace."""
    found = settled(D, SKIP, "2026-06-02T07:00:00Z", "2026-06-02T07:10:00Z")
    assert summary(found) == ["2026-06-02T07:00:00Z fires", NEXT_OF_D]


def test_d2_a_microsecond_later_it_is_missed() -> None:
    """As it is without `late`."""
    found = settled(D, SKIP, "2026-06-02T07:00:00Z", "2026-06-02T07:10:00.000001Z")
    assert summary(found) == ["2026-06-02T07:00:00Z missed: too late", NEXT_OF_D]
    assert found.passed[0].status == "missed"


def test_d3_send_starts_however_late() -> None:
    """Twelve hours here; the latest start is far away."""
    found = settled(D, SEND, "2026-06-02T07:00:00Z", "2026-06-02T19:00:00Z")
    assert summary(found) == ["2026-06-02T07:00:00Z fires", NEXT_OF_D]
    assert found.fire is not None
    assert (at("2026-06-02T19:00:00Z") - found.fire.due_at) == timedelta(milliseconds=43_200_000)
    assert utc_text(latest_start(SEND, found.fire.due_at, 600)) == "9999-12-31T00:00:00Z"


def test_d4_send_coalesces_what_is_late() -> None:
    """Only the newest of three days starts."""
    found = settled(D, SEND, "2026-06-01T07:00:00Z", "2026-06-03T12:00:00Z")
    assert summary(found) == [
        "2026-06-01T07:00:00Z skipped: coalesced",
        "2026-06-02T07:00:00Z skipped: coalesced",
        "2026-06-03T07:00:00Z fires",
        "next 2026-06-04T07:00:00Z due 2026-06-04T07:00:00Z",
    ]


def test_d5_hold_leaves_the_late_one_to_an_operator() -> None:
    """The next one is armed at its own time."""
    found = settled(D, HOLD, "2026-06-02T07:00:00Z", "2026-06-02T07:10:01Z")
    assert summary(found) == ["2026-06-02T07:00:00Z held: too late", NEXT_OF_D]
    assert found.passed[0].status == "held"


def test_d6_next_window_waits_for_the_next_opening() -> None:
    """Friday 16:55 for Monday 09:00, where the grace counts anew."""
    weekly = recurring(PARIS, "2026-06-05T16:55", frequency="weekly")._replace(
        misfire_grace_time=600
    )
    of = gate(weekly, hours=office())
    friday, monday = "2026-06-05T14:55:00Z", "2026-06-08T07:00:00Z"
    found = settled(weekly, NEXT_WINDOW, friday, "2026-06-05T15:20:00Z", of)
    assert summary(found) == [f"deferred {friday} due {monday}"]
    assert not found.backlog
    fired = settled(weekly, NEXT_WINDOW, friday, "2026-06-08T07:10:00Z", of, due=monday)
    assert summary(fired) == [
        f"{friday} fires",
        "next 2026-06-12T14:55:00Z due 2026-06-12T14:55:00Z",
    ]


def test_d7_next_window_needs_hours() -> None:
    """In the send window or in one of its calendars."""
    fault = "is 'next_window', which needs send_window.open or a calendar with hours"
    dates_only = gate(D, Calendar("x", (closed_on("2026-06-05"),)))
    assert lateness_fault(NEXT_WINDOW, None) == fault
    assert lateness_fault(NEXT_WINDOW, dates_only) == fault
    assert lateness_fault(NEXT_WINDOW, gate(D, hours=office())) is None
    assert lateness_fault(NEXT_WINDOW, gate(D, Calendar("x", hours=office()))) is None
    assert lateness_fault(HOLD, None) is None


def test_d8_hold_gives_a_retry_no_later_start() -> None:
    """A retry at 07:10:29Z would start after the latest start, so the run fails, as ever."""
    due_at = at("2026-06-02T07:00:00Z")
    retry_at = at("2026-06-02T07:09:59Z") + timedelta(seconds=30)
    assert latest_start(HOLD, due_at, D.misfire_grace_time) == at("2026-06-02T07:10:00Z") < retry_at


def test_d17_a_machine_that_slept_goes_by_late() -> None:
    """Twenty minutes late: missed with a grace of ten, or sent all the same."""
    armed, now = "2026-06-02T07:00:00Z", "2026-06-02T07:20:00Z"
    assert summary(settled(D, SKIP, armed, now))[0] == f"{armed} missed: too late"
    assert summary(settled(D, SEND, armed, now))[0] == f"{armed} fires"
    longer = D._replace(misfire_grace_time=3600)
    assert summary(settled(longer, SKIP, armed, now))[0] == f"{armed} fires"


def test_a8_what_waits_for_one_opening_is_one_stretch() -> None:
    """24 occurrences of a night are coalesced into the one at the opening."""
    ticks = window(
        CampaignType.SEGMENT_TRIGGERED,
        startdate="2026-06-01T08:00Z",
        recurring_schedule="continuously",
    )._replace(every_seconds=1800)
    of = gate(ticks, hours=hours("08:00-20:00"))
    found = settled(ticks, SKIP, "2026-06-01T20:00:00Z", "2026-06-02T08:00:00Z", of)
    assert [row.cause for row in found.passed] == ["skipped: coalesced"] * 24
    assert utc_text(found.passed[0].event.at) == "2026-06-01T20:00:00Z"
    assert utc_text(found.passed[-1].event.at) == "2026-06-02T07:30:00Z"
    assert summary(found)[24:] == [
        "2026-06-02T08:00:00Z fires",
        "next 2026-06-02T08:30:00Z due 2026-06-02T08:30:00Z",
    ]


def test_a12_three_closed_days_are_coalesced_into_the_fourth() -> None:
    """All are due at 09:00 of 27 December."""
    daily = recurring(PARIS, "2026-12-01T09:00")
    christmas = Calendar("fr", tuple(closed_on(f"2026-12-{day}") for day in (24, 25, 26)))
    of = gate(daily, christmas)
    found = settled(daily, SKIP, "2026-12-24T08:00:00Z", "2026-12-27T08:00:00Z", of)
    assert summary(found) == [
        *(f"2026-12-{day}T08:00:00Z skipped: coalesced" for day in (24, 25, 26)),
        "2026-12-27T08:00:00Z fires",
        "next 2026-12-28T08:00:00Z due 2026-12-28T08:00:00Z",
    ]


def test_a16_the_grace_counts_from_the_opening() -> None:
    """Ten minutes after 08:00 in New York."""
    of = gate(A1, hours=hours(DAYTIME))
    following = "next 2026-03-08T03:30:00Z due 2026-03-08T12:00:00Z"
    for now, row in (
        ("2026-03-07T13:10:00Z", "2026-03-07T03:30:00Z fires"),
        ("2026-03-07T13:10:00.000001Z", "2026-03-07T03:30:00Z missed: too late"),
    ):
        assert summary(settled(A1, SKIP, "2026-03-07T03:30:00Z", now, of)) == [row, following]


# Beyond the numbered examples.


def test_next_window_starts_now_while_the_window_is_open() -> None:
    """Its grace counts from now."""
    of = gate(D, hours=office())
    found = settled(D, NEXT_WINDOW, "2026-06-02T07:00:00Z", "2026-06-02T12:00:00Z", of)
    assert summary(found) == ["2026-06-02T07:00:00Z fires", NEXT_OF_D]
    assert found.fire is not None
    assert utc_text(found.fire.due_at) == "2026-06-02T12:00:00Z"


def test_next_window_is_missed_where_it_would_wait_too_long() -> None:
    """Beyond defer_at_most, and beyond the end of the schedule."""
    ended = recurring(PARIS, "2026-06-05T16:55", end_date="2026-06-06")._replace(
        misfire_grace_time=600
    )
    for schedule, of in (
        (ended, gate(ended, hours=office())),
        (D, gate(D, hours=office(), defer_at_most=60)),
    ):
        event = schedule.event_after(at("2026-06-05T00:00Z"))
        assert event is not None
        judged = judge_late(NEXT_WINDOW, event.at, event.at, 600, at("2026-06-05T15:20:00Z"), of)
        assert judged.disposition is SKIP


def test_an_excluded_occurrence_gets_its_row_when_its_turn_comes() -> None:
    """The one before it waits until 08:00 of the second day after."""
    of = gate(A1, hours=hours(DAYTIME), except_dates=(date(2026, 3, 7),))
    early = settled(A1, SKIP, "2026-03-07T03:30:00Z", "2026-03-07T13:00:00Z", of)
    assert summary(early) == ["next 2026-03-07T03:30:00Z due 2026-03-08T12:00:00Z"]
    found = settled(A1, SKIP, "2026-03-07T03:30:00Z", "2026-03-08T12:00:00Z", of)
    assert summary(found) == [
        "2026-03-08T03:30:00Z skipped: excluded date 2026-03-07",
        "2026-03-07T03:30:00Z fires",
        "next 2026-03-09T02:30:00Z due 2026-03-09T12:00:00Z",
    ]


def test_a_local_time_that_does_not_exist_gets_its_row_without_a_gate() -> None:
    """On time, at the instant that it would have had."""
    nights = recurring(NEW_YORK, "2026-03-07T02:30")._replace(dst=DaylightSaving(gap=Gap.SKIP))
    found = settled(nights, SKIP, "2026-03-08T07:30:00Z", "2026-03-08T07:30:00Z")
    assert summary(found) == [
        "2026-03-08T07:30:00Z skipped: 02:30 does not exist on 2026-03-08",
        "next 2026-03-09T06:30:00Z due 2026-03-09T06:30:00Z",
    ]


def test_without_coalesce_those_of_one_opening_start_one_after_the_other() -> None:
    """The next one is due already."""
    daily = recurring(PARIS, "2026-12-01T09:00")._replace(coalesce=False)
    of = gate(daily, Calendar("fr", (closed_on("2026-12-24"),)))
    opening = "2026-12-25T08:00:00Z"
    found = settled(daily, SKIP, "2026-12-24T08:00:00Z", opening, of)
    assert summary(found) == ["2026-12-24T08:00:00Z fires", f"next {opening} due {opening}"]
    assert found.backlog


def test_without_coalesce_each_late_one_goes_by_the_word() -> None:
    """Two late days and one in time."""
    each = D._replace(coalesce=False)
    held = settled(each, HOLD, "2026-06-01T07:00:00Z", "2026-06-03T07:05:00Z")
    assert summary(held) == [
        "2026-06-01T07:00:00Z held: too late",
        "2026-06-02T07:00:00Z held: too late",
        "2026-06-03T07:00:00Z fires",
        "next 2026-06-04T07:00:00Z due 2026-06-04T07:00:00Z",
    ]
    sent = settled(each, SEND, "2026-06-01T07:00:00Z", "2026-06-03T07:05:00Z")
    assert summary(sent) == [
        "2026-06-01T07:00:00Z fires",
        "next 2026-06-02T07:00:00Z due 2026-06-02T07:00:00Z",
    ]
    assert sent.backlog
    of = gate(each, hours=office())
    waits = settled(each, NEXT_WINDOW, "2026-06-01T07:00:00Z", "2026-06-03T18:00:00Z", of)
    assert summary(waits) == ["deferred 2026-06-01T07:00:00Z due 2026-06-04T07:00:00Z"]


def test_more_than_a_hundred_are_counted() -> None:
    """Per status and cause, although those of other causes lie in between."""
    ticks = window(
        CampaignType.SEGMENT_TRIGGERED,
        startdate="2026-06-01T00:00Z",
        recurring_schedule="continuously",
    )._replace(every_seconds=1)
    of = gate(ticks, hours=hours("08:00-20:00"), outside=SKIP)
    began = time.process_time()
    found = settled(ticks, SKIP, "2026-06-01T00:00:00Z", "2026-07-01T12:00:00Z", of)
    assert time.process_time() - began < 1
    counts = {each.cause: each.stretch.count for each in found.bulk}
    assert counts == {
        "skipped: outside its send window": 30 * 12 * 3600 + 8 * 3600,
        "missed: too late": 30 * 12 * 3600 + 3 * 3600,
        "skipped: coalesced": 3600,
    }
    assert [(utc_text(row.event.at), row.cause) for row in found.passed] == [
        ("2026-07-01T07:59:59Z", "skipped: outside its send window"),
        ("2026-07-01T10:59:59Z", "missed: too late"),
        ("2026-07-01T11:59:59Z", "skipped: coalesced"),
    ]
    assert found.bulk[0].stretch == Stretch(
        at("2026-06-01T00:00Z"), at("2026-07-01T07:59:59Z"), 30 * 12 * 3600 + 8 * 3600
    )


class Walked(NamedTuple):
    """What a walk one by one finds: rows by instant, and what fires or waits."""

    rows: dict[datetime, str]
    fire: tuple[datetime, datetime] | None
    next: tuple[datetime, datetime] | None
    deferred: bool


def walk(
    schedule: Schedule, of: Gate | None, late: Disposition, event: TimedEvent, now: datetime
) -> Walked:
    """Decide occurrence by occurrence, with the words of the specification."""
    due: list[tuple[datetime, datetime]] = []
    rows: dict[datetime, str] = {}
    grace = timedelta(seconds=schedule.misfire_grace_time)
    latest, current = event.at, event
    following: tuple[datetime, datetime] | None = None
    while True:
        verdict = of.judge(current.at, current.local) if of else None
        at_own = verdict.due_at if verdict else current.at
        latest = max(latest, at_own)
        if latest > now:
            following = current.at, latest
            break
        if verdict and verdict.why and verdict.disposition in (SKIP, HOLD):
            rows[current.at] = verdict.why
        else:
            due.append((current.at, latest))
        after = schedule.event_following(current)
        if after is None or after.kind is not EventKind.FIRE:
            following = None if after is None else (after.at, after.at)
            break
        current = after

    def outcome(scheduled: datetime, due_at: datetime) -> tuple[Disposition, datetime, str]:
        if late is SEND or now - due_at <= grace:
            return closed_since(scheduled, due_at)
        if late is NEXT_WINDOW:
            assert of
            opening = of.opening(now, of.latest_opening(scheduled))
            if opening is None:
                return SKIP, due_at, "missed: too late"
            return (SEND if opening == now else NEXT_WINDOW), opening, "deferred: too late"
        return late, due_at, "held: too late" if late is HOLD else "missed: too late"

    def closed_since(scheduled: datetime, due_at: datetime) -> tuple[Disposition, datetime, str]:
        """Apply `outside` to what was due while its gate was open, and starts when it is closed."""
        if of is None or now == due_at or of.opening(now, now) == now:
            return SEND, due_at, ""
        local = schedule.event_after(scheduled - timedelta(microseconds=1))
        assert local is not None
        verdict = of.judge_start(now, scheduled, local.local)
        assert verdict is not None
        assert verdict.why is not None
        return verdict.disposition, verdict.due_at, verdict.why

    if not schedule.coalesce:
        for number, (scheduled, due_at) in enumerate(due):
            found, start, why = outcome(scheduled, due_at)
            if found is SEND:
                rest = due[number + 1 :]
                rows = {each: why for each, why in rows.items() if each < scheduled}
                after_it = next_of(schedule, of, scheduled, start)
                assert not rest or after_it
                return Walked(rows, (scheduled, start), after_it, False)
            if found is NEXT_WINDOW:
                rows = {each: why for each, why in rows.items() if each < scheduled}
                return Walked(rows, None, (scheduled, start), True)
            rows[scheduled] = why
        return Walked(rows, None, following, False)
    if not due:
        return Walked(rows, None, following, False)
    scheduled, due_at = due[-1]
    found, start, why = outcome(scheduled, due_at)
    for older, its_due in due[:-1]:
        too_late = now - its_due > grace
        missed = why == "missed: too late" or (late is SKIP and too_late)
        rows[older] = "missed: too late" if missed else "skipped: coalesced"
    if found is SEND:
        return Walked(rows, (scheduled, start), following, False)
    if found is NEXT_WINDOW:
        return Walked(rows, None, (scheduled, start), True)
    rows[scheduled] = why
    return Walked(rows, None, following, False)


def next_of(
    schedule: Schedule, of: Gate | None, scheduled: datetime, held_back: datetime
) -> tuple[datetime, datetime] | None:
    event = schedule.event_after(scheduled)
    if event is None or event.kind is not EventKind.FIRE:
        return None if event is None else (event.at, event.at)
    due_at = of.judge(event.at, event.local).due_at if of else event.at
    return event.at, max(held_back, due_at)


def draw(chance: random.Random) -> tuple[Schedule, Gate | None, Disposition]:
    extras: dict[str, Any] = {
        "misfire_grace_time": chance.choice([60, 600, 3600, 40_000, 200_000]),
        "coalesce": chance.random() < 0.6,
    }
    if chance.random() < 0.5:
        schedule = window(
            CampaignType.SEGMENT_TRIGGERED,
            startdate="2026-06-01T03:20Z",
            enddate=chance.choice([None, "2026-06-04T10:00Z"]),
            recurring_schedule="continuously",
        )._replace(every_seconds=chance.choice([300, 1800, 7000, 40_000]), **extras)
    else:
        timezone = chance.choice([PARIS, NEW_YORK, "UTC"])
        start = f"2026-06-01T{chance.randint(0, 23):02}:30"
        schedule = recurring(timezone, start, interval=chance.choice([1, 1, 3]))._replace(**extras)
    of = None
    if chance.random() < 0.85:
        closed = (closed_on(f"2026-06-0{chance.randint(1, 9)}"),) if chance.random() < 0.4 else ()
        of = gate(
            schedule,
            Calendar("x", closed),
            hours=chance.choice([None, office(), hours(DAYTIME), hours("22:00-02:00")]),
            outside=chance.choice([NEXT_WINDOW, NEXT_WINDOW, SKIP, HOLD]),
            except_dates=(date(2026, 6, chance.randint(2, 8)),),
            defer_at_most=chance.choice([604_800, 604_800, 3600, 50_000]),
        )
    late = chance.choice([SKIP, SEND, HOLD, NEXT_WINDOW if of and of.has_hours else SKIP])
    return schedule, of, late


@pytest.mark.parametrize("seed", range(20))
def test_every_decision_is_that_of_a_walk_one_by_one(seed: int) -> None:
    """Rows, counts, and what fires or waits, for a hundred random stretches each."""
    chance = random.Random(seed)
    for _ in range(100):
        schedule, of, late = draw(chance)
        event = schedule.event_after(at("2026-06-01T00:00Z"))
        if event is not None and event.kind is not EventKind.FIRE:
            event = schedule.event_following(event)
        assert event is not None
        own = of.judge(event.at, event.local).due_at if of else event.at
        now = max(own, event.at) + timedelta(seconds=chance.choice(WAITS))
        found = decide_gated(schedule, of, late, event, own, now)
        expected = walk(schedule, of, late, event, now)
        counted = {each.cause for each in found.bulk}
        rows = {row.event.at: row.cause for row in found.passed if row.cause not in counted}
        assert rows == {each: why for each, why in expected.rows.items() if why not in counted}
        for each in found.bulk:
            instants = sorted(key for key, why in expected.rows.items() if why == each.cause)
            assert each.stretch == Stretch(instants[0], instants[-1], len(instants))
            assert len(instants) > LISTED_AT_MOST
            newest = [row.event.at for row in found.passed if row.cause == each.cause]
            assert newest == instants[-1:]
        fire = found.fire and (found.fire.event.at, found.fire.due_at)
        assert fire == expected.fire
        assert (found.next and (found.next.event.at, found.next.due_at)) == expected.next
        assert bool(found.deferred) == expected.deferred
        assert all(row.cause.startswith(row.status) for row in found.passed)


@pytest.mark.parametrize("seed", range(5))
def test_without_gate_and_late_the_decision_is_that_of_misfire(seed: int) -> None:
    """The two ways agree where both apply."""
    chance = random.Random(seed)
    for _ in range(100):
        schedule, _, _ = draw(chance)
        event = schedule.event_after(at("2026-06-01T12:00Z"))
        assert event is not None
        if event.kind is not EventKind.FIRE:
            continue
        now = event.at + timedelta(seconds=chance.choice(WAITS))
        plain = decide(schedule, event, now)
        found = decide_gated(schedule, None, SKIP, event, event.at, now)
        assert (found.fire and found.fire.event) == plain.fire
        assert (found.next and found.next.event) == plain.next
        assert found.backlog == plain.backlog
        by_status = {
            word: tuple(row.event for row in found.passed if row.status == word)
            for word in ("missed", "skipped")
        }
        assert by_status == {"missed": plain.missed, "skipped": plain.skipped}
        bulk = {each.status: each.stretch for each in found.bulk}
        assert bulk.get("missed") == plain.bulk_missed
        assert bulk.get("skipped") == plain.bulk_skipped
