"""Send windows, calendars, lateness and daylight saving, as rows: what is due when, and why not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from daemon.domain.errors import InvalidInput
from daemon.domain.formatting import utc_text
from daemon.domain.run.outcome import Retry
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TICK, TimedDatabase

NEW_YORK, PARIS = "America/New_York", "Europe/Paris"
DAYTIME = {"open": [{"start": "08:00", "end": "21:00"}]}
OFFICE = {"open": [{"days": [1, 2, 3, 4, 5], "start": "09:00", "end": "17:00"}]}


@pytest.fixture
async def node(db: TimedDatabase) -> DatabaseNode:
    """A node whose lease lasts through these tests' years."""
    return await db.register_node(lease=100_000_000)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def recurring(time: str, zone: str, **extras: Any) -> dict[str, Any]:
    """Return the body of a recurrence, daily unless ``config`` says otherwise."""
    config = {"frequency": "daily", "time": time, "time_zone": zone, **extras.pop("config", {})}
    return {"schedule_type": "recurring", "recurring_config": config, **extras}


def weekly(day: int, time: str, zone: str, **extras: Any) -> dict[str, Any]:
    config = {"frequency": "weekly", "days_of_week": [day], **extras.pop("config", {})}
    return recurring(time, zone, config=config, **extras)


async def save(db: TimedDatabase, now: str, body: dict[str, Any]) -> int:
    db.set_time(at(now))
    return await db.add_scheduled(body)


async def add_calendar(db: TimedDatabase, name: str, *closed: tuple[str, str | None]) -> None:
    """Store a floating calendar with closed dates and their labels."""
    await db.rows(
        "INSERT INTO calendars (name, revision, updated_by) VALUES (:name, 1, 'tester')", name=name
    )
    for day, label in closed:
        await db.rows(
            "INSERT INTO calendar_closed (calendar, first_on, last_on, label)"
            " VALUES (:name, CAST(:day AS date), CAST(:day AS date), :label)",
            name=name,
            day=datetime.fromisoformat(day).date(),
            label=label,
        )
    await db.rows("UPDATE control SET calendars_revision = 1")


async def run_until(db: TimedDatabase, node: DatabaseNode, campaign_id: int, until: str) -> None:
    """Let a node that is always there claim and complete what comes due."""
    while True:
        timer = await db.timer_of(campaign_id)
        if timer is None or timer.fire_at > at(until):
            return
        db.set_time(max(db.now, timer.fire_at))
        won_claims = await node.claim()
        assert won_claims, "a due event was not claimed"
        for won in won_claims:
            if won.attempt is not None:
                await node.finish(won.attempt)


async def armed(db: TimedDatabase, campaign_id: int) -> tuple[str, str]:
    """Return the scheduled and the due instant of the armed event."""
    timer = await db.timer_of(campaign_id)
    return utc_text(timer.scheduled_for or timer.fire_at), utc_text(timer.fire_at)


async def outcomes(db: TimedDatabase, campaign_id: int) -> list[str]:
    """Return each run: its instant, its due instant if later, its status, and its cause."""
    causes = {
        event.scheduled_for: event.cause
        for event in await db.events_of(campaign_id)
        if event.event in ("passed", "run_held")
    }
    found = []
    for run in await db.runs_of(campaign_id):
        due = "" if run.due_at is None else f" due {utc_text(run.due_at)}"
        found.append(
            f"{utc_text(run.scheduled_for)}{due} {causes.get(run.scheduled_for) or run.status}"
        )
    return found


# --- due instants ----------------------------------------------------------------------------


async def test_a_1_an_occurrence_outside_waits_for_the_opening(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """The row keeps its own instant, and lateness counts from the opening."""
    campaign = await save(
        db, "2026-03-06T12:00Z", recurring("22:30", NEW_YORK, send_window=DAYTIME)
    )
    assert await armed(db, campaign) == ("2026-03-07T03:30:00Z", "2026-03-07T13:00:00Z")
    await run_until(db, node, campaign, "2026-03-08T12:00Z")
    assert await outcomes(db, campaign) == [
        "2026-03-07T03:30:00Z due 2026-03-07T13:00:00Z completed",
        "2026-03-08T03:30:00Z due 2026-03-08T12:00:00Z completed",
    ]
    (run, _) = await db.runs_of(campaign)
    assert run.start_before == at("2026-03-07T14:00Z")
    assert run.open_until == at("2026-03-08T02:00Z")
    assert await armed(db, campaign) == ("2026-03-09T02:30:00Z", "2026-03-09T12:00:00Z")
    await db.check_invariants(campaign)


async def test_a_3_a_closed_date_of_a_calendar_moves_the_opening(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    await add_calendar(db, "fr", ("2026-05-25", "Pentecost Monday"))
    window = {**OFFICE, "calendars": ["fr"]}
    campaign = await save(db, "2026-05-02T12:00Z", weekly(5, "17:00", PARIS, send_window=window))
    assert await armed(db, campaign) == ("2026-05-08T15:00:00Z", "2026-05-11T07:00:00Z")
    await run_until(db, node, campaign, "2026-05-18T12:00Z")
    assert await armed(db, campaign) == ("2026-05-22T15:00:00Z", "2026-05-26T07:00:00Z")
    used = await db.rows(
        "SELECT calendar FROM schedule_calendars WHERE campaign_id = :c", c=campaign
    )
    assert [row.calendar for row in used] == ["fr"]


async def test_a_8_all_that_share_an_opening_are_one_stretch(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    db.set_time(at("2026-06-01T10:00Z"))
    db.control._continuous_interval = 1800
    campaign = await db.add_started(
        "segment_triggered",
        {
            "startdate": "2026-06-01T19:30:00Z",
            "recurring_schedule": "continuously",
            "send_window": {"open": [{"start": "08:00", "end": "20:00"}]},
        },
    )
    await run_until(db, node, campaign, "2026-06-02T08:00Z")
    found = await outcomes(db, campaign)
    first = at("2026-06-01T20:00Z")
    nightly = [utc_text(first + number * timedelta(minutes=30)) for number in range(24)]
    assert found == [
        "2026-06-01T19:30:00Z completed",
        *[f"{each} skipped: coalesced" for each in nightly],
        "2026-06-02T08:00:00Z completed",
    ]


async def test_a_9_a_deferral_past_the_end_is_skipped(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    body = weekly(5, "18:00", NEW_YORK, config={"end_date": "2026-06-05"}, send_window=OFFICE)
    campaign = await save(db, "2026-05-28T12:00Z", body)
    await run_until(db, node, campaign, "2026-06-10T00:00Z")
    assert await outcomes(db, campaign) == [
        "2026-05-29T22:00:00Z due 2026-06-01T13:00:00Z completed",
        "2026-06-05T22:00:00Z skipped: its window opens after the end",
    ]
    assert await db.status_of(campaign) == "completed"


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (
            {"outside": "skip"},
            "2026-07-03T13:00:00Z skipped: closed by us (Independence Day (observed))",
        ),
        (
            {"outside": "hold"},
            "2026-07-03T13:00:00Z held: closed by us (Independence Day (observed))",
        ),
        ({}, "2026-07-03T13:00:00Z due 2026-07-05T13:00:00Z completed"),
        (OFFICE, "2026-07-03T13:00:00Z due 2026-07-06T13:00:00Z skipped: coalesced"),
    ],
)
async def test_a_11_a_closed_date_goes_by_outside(
    db: TimedDatabase, node: DatabaseNode, window: dict[str, Any], expected: str
) -> None:
    await add_calendar(
        db,
        "us",
        ("2026-07-03", "Independence Day (observed)"),
        ("2026-07-04", "Independence Day"),
    )
    config = {"days_of_week": [1, 2, 3, 4, 5]}
    body = recurring("09:00", NEW_YORK, config=config, send_window={"calendars": ["us"], **window})
    campaign = await save(db, "2026-07-03T12:00Z", body)
    await run_until(db, node, campaign, "2026-07-06T13:00Z")
    found = await outcomes(db, campaign)
    assert found[0] == expected.replace(" due 2026-07-06T13:00:00Z skipped", " skipped")
    assert found[1] == "2026-07-06T13:00:00Z completed"
    await db.check_invariants(campaign)


async def test_a_16_the_grace_counts_from_the_opening(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    body = recurring("22:30", NEW_YORK, send_window=DAYTIME, misfire_grace_time=600)
    for late, expected in (
        (timedelta(minutes=10), "2026-03-07T03:30:00Z due 2026-03-07T13:00:00Z executing"),
        (timedelta(minutes=10) + TICK, "2026-03-07T03:30:00Z missed: too late"),
    ):
        campaign = await save(db, "2026-03-06T12:00Z", body)
        db.set_time(at("2026-03-07T13:00Z") + late)
        await node.claim(await db.due_events(campaign))
        assert (await outcomes(db, campaign))[0] == expected


async def test_an_excluded_date_is_skipped_whatever_outside_says(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    window = {"except_dates": ["2026-12-24"], "outside": "hold"}
    campaign = await save(db, "2026-12-23T12:00Z", recurring("09:00", PARIS, send_window=window))
    await run_until(db, node, campaign, "2026-12-25T08:00Z")
    assert await outcomes(db, campaign) == [
        "2026-12-24T08:00:00Z skipped: excluded date 2026-12-24",
        "2026-12-25T08:00:00Z completed",
    ]


@pytest.mark.parametrize(
    ("outside", "expected"),
    [
        ("next_window", "deferred: outside its send window"),
        ("hold", "held: outside its send window"),
        ("skip", "skipped: outside its send window"),
    ],
)
async def test_what_comes_after_its_window_has_closed_goes_by_outside(
    db: TimedDatabase, node: DatabaseNode, outside: str, expected: str
) -> None:
    """The occurrence was due in its window and within its grace, but no node was there."""
    window = {**DAYTIME, "outside": outside}
    campaign = await save(db, "2026-06-01T12:00Z", recurring("20:59", "UTC", send_window=window))
    db.set_time(at("2026-06-01T21:20Z"))
    await node.claim()
    last = (await db.events_of(campaign))[-1]
    assert (last.cause, last.scheduled_for) == (expected, at("2026-06-01T20:59Z"))
    if outside == "next_window":
        assert (last.event, last.details) == ("deferred", {"due_at": "2026-06-02T08:00:00+00:00"})
        assert await armed(db, campaign) == ("2026-06-01T20:59:00Z", "2026-06-02T08:00:00Z")
        await run_until(db, node, campaign, "2026-06-02T08:00Z")
        assert await db.run_statuses_of(campaign) == ["completed"]
    await db.check_invariants(campaign)


@pytest.mark.parametrize("outside", ["next_window", "skip", "hold"])
async def test_a_15_a_retry_waits_for_its_window(
    db: TimedDatabase, node: DatabaseNode, outside: str
) -> None:
    """Attempt 1 fails ten seconds before the window closes, and the backoff ends after that."""
    body = recurring("20:59", NEW_YORK, send_window={**DAYTIME, "outside": outside})
    campaign = await save(db, "2026-06-05T12:00Z", body)
    db.set_time(at("2026-06-06T00:59:50Z"))
    (won,) = await node.claim()
    assert won.attempt is not None
    await node.finish(won.attempt, Retry("no", 30))
    db.set_time(at("2026-06-06T01:00:20Z"))
    started, _ = await node.claim_attempts()
    assert started == []
    (run,) = await db.runs_of(campaign)
    if outside == "next_window":
        assert (run.status, run.attempt) == ("retrying", 1)
        assert run.next_attempt_at == at("2026-06-06T12:00Z")
        db.set_time(at("2026-06-06T12:00Z"))
        (attempt,), _ = await node.claim_attempts()
        assert (attempt.number, attempt.open_until) == (2, at("2026-06-07T01:00Z"))
        causes = [event.cause for event in await db.events_of(campaign)]
        assert "waits for its send window" in causes
    elif outside == "skip":
        assert (run.status, run.error) == ("failed", "its send window closed")
    else:
        assert (run.status, run.error) == ("held", "outside its send window")
    await db.check_invariants(campaign)


# --- lateness ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        ("skip", "missed: too late"),
        ("send", "executing"),
        ("hold", "held: too late"),
    ],
)
async def test_d_what_is_later_than_the_grace_goes_by_late(
    db: TimedDatabase, node: DatabaseNode, late: str, expected: str
) -> None:
    body = recurring("09:00", PARIS, late=late, misfire_grace_time=600)
    campaign = await save(db, "2026-06-02T06:00Z", body)
    db.set_time(at("2026-06-02T07:10Z") + TICK)
    await node.claim()
    assert await outcomes(db, campaign) == [f"2026-06-02T07:00:00Z {expected}"]
    assert await armed(db, campaign) == ("2026-06-03T07:00:00Z", "2026-06-03T07:00:00Z")
    await db.check_invariants(campaign)


async def test_d_4_with_late_send_the_newest_fires(db: TimedDatabase, node: DatabaseNode) -> None:
    body = recurring("09:00", PARIS, late="send", misfire_grace_time=600)
    campaign = await save(db, "2026-06-01T06:00Z", body)
    db.set_time(at("2026-06-03T12:00Z"))
    await node.claim()
    assert await outcomes(db, campaign) == [
        "2026-06-01T07:00:00Z skipped: coalesced",
        "2026-06-02T07:00:00Z skipped: coalesced",
        "2026-06-03T07:00:00Z executing",
    ]


async def test_d_6_late_next_window_waits_for_the_next_opening(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    body = weekly(5, "16:55", PARIS, late="next_window", misfire_grace_time=600, send_window=OFFICE)
    campaign = await save(db, "2026-06-05T12:00Z", body)
    db.set_time(at("2026-06-05T15:20Z"))
    await node.claim()
    last = (await db.events_of(campaign))[-1]
    assert (last.event, last.cause) == ("deferred", "deferred: too late")
    assert await armed(db, campaign) == ("2026-06-05T14:55:00Z", "2026-06-08T07:00:00Z")
    assert await db.status_of(campaign) == "launched"
    await run_until(db, node, campaign, "2026-06-08T07:00Z")
    assert await outcomes(db, campaign) == [
        "2026-06-05T14:55:00Z due 2026-06-08T07:00:00Z completed"
    ]


async def test_a_plan_made_before_the_grace_ended_is_made_again(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """The claim loses rather than call an occurrence missed that is to be held."""
    body = recurring("09:00", PARIS, late="hold", misfire_grace_time=600)
    campaign = await save(db, "2026-06-02T06:00Z", body)
    db.set_time(at("2026-06-02T07:10:01Z"))
    assert await node.claim(believes=at("2026-06-02T07:09Z")) == []
    assert len(await node.claim()) == 1
    assert await outcomes(db, campaign) == ["2026-06-02T07:00:00Z held: too late"]


async def test_a_paused_occurrence_is_missed_whatever_late_says(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    body = recurring("09:00", PARIS, late="hold", misfire_grace_time=600)
    campaign = await save(db, "2026-06-02T06:00Z", body)
    await db.control.pause(campaign, "tester")
    db.set_time(at("2026-06-02T08:00Z"))
    await node.claim()
    assert await outcomes(db, campaign) == ["2026-06-02T07:00:00Z missed: paused"]


# --- daylight saving --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        ("shift", "2026-03-08T07:30:00Z completed"),
        ("before", "2026-03-08T06:30:00Z completed"),
        ("skip", "2026-03-08T07:30:00Z skipped: 02:30 does not exist on 2026-03-08"),
    ],
)
async def test_c_1_a_local_time_in_a_gap_goes_by_the_policy(
    db: TimedDatabase, node: DatabaseNode, gap: str, expected: str
) -> None:
    campaign = await save(db, "2026-03-07T12:00Z", recurring("02:30", NEW_YORK, dst={"gap": gap}))
    await run_until(db, node, campaign, "2026-03-09T12:00Z")
    assert await outcomes(db, campaign) == [expected, "2026-03-09T06:30:00Z completed"]


async def test_c_7_and_c_2_both_passes_are_two_runs(db: TimedDatabase, node: DatabaseNode) -> None:
    body = weekly(7, "01:30", NEW_YORK, dst={"fold": "both"})
    campaign = await save(db, "2026-10-24T12:00Z", body)
    await run_until(db, node, campaign, "2026-11-08T12:00Z")
    assert [utc_text(run.scheduled_for) for run in await db.runs_of(campaign)] == [
        "2026-10-25T05:30:00Z",
        "2026-11-01T05:30:00Z",
        "2026-11-01T06:30:00Z",
        "2026-11-08T06:30:00Z",
    ]
    assert len({run.id for run in await db.runs_of(campaign)}) == 4


async def test_c_11_a_pause_between_two_passes_loses_neither(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign = await save(
        db, "2026-10-31T12:00Z", recurring("01:30", NEW_YORK, dst={"fold": "both"})
    )
    await run_until(db, node, campaign, "2026-11-01T05:40Z")
    db.set_time(at("2026-11-01T05:45Z"))
    await db.control.pause(campaign, "tester")
    db.set_time(at("2026-11-01T06:15Z"))
    await db.control.start(campaign, "tester")
    await run_until(db, node, campaign, "2026-11-01T12:00Z")
    assert await outcomes(db, campaign) == [
        "2026-11-01T05:30:00Z completed",
        "2026-11-01T06:30:00Z completed",
    ]


async def test_c_12_after_a_change_of_zone_the_wall_time_goes_on(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    body = recurring("01:30", NEW_YORK, dst={"fold": "both"}, scheduled_at="2026-10-01T01:30:00")
    campaign = await save(db, "2026-09-30T12:00Z", body)
    await run_until(db, node, campaign, "2026-11-01T05:40Z")
    db.set_time(at("2026-11-01T05:45Z"))
    config = {**body["recurring_config"], "time_zone": "UTC"}
    del body["scheduled_at"]
    await db.control.save_schedule(campaign, {**body, "recurring_config": config}, "tester")
    scheduled, _ = await armed(db, campaign)
    assert scheduled == "2026-11-02T01:30:00Z"


# --- edits ------------------------------------------------------------------------------------


async def waiting(db: TimedDatabase) -> int:
    """Store a campaign whose occurrence of 03:30Z waits for 13:00Z; it is 05:00Z."""
    campaign = await save(
        db, "2026-03-06T12:00Z", recurring("22:30", NEW_YORK, send_window=DAYTIME)
    )
    db.set_time(at("2026-03-07T05:00Z"))
    return campaign


async def test_an_update_keeps_what_waits_and_computes_its_opening_anew(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign = await waiting(db)
    await db.control.pause(campaign, "tester")
    window = {"open": [{"start": "10:00", "end": "21:00"}]}
    update = {"startdate": "2026-03-06T22:30:00", "send_window": window}
    await db.control.update_schedule(campaign, update, "tester")
    await db.control.start(campaign, "tester")
    assert await armed(db, campaign) == ("2026-03-07T03:30:00Z", "2026-03-07T15:00:00Z")
    assert await outcomes(db, campaign) == []
    await run_until(db, node, campaign, "2026-03-07T15:00Z")
    assert await outcomes(db, campaign) == [
        "2026-03-07T03:30:00Z due 2026-03-07T15:00:00Z completed"
    ]


async def test_what_waits_starts_when_its_window_is_taken_away(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign = await waiting(db)
    update = {"startdate": "2026-03-06T22:30:00", "send_window": None}
    await db.control.update_schedule(campaign, update, "tester")
    await node.claim()
    assert await outcomes(db, campaign) == [
        "2026-03-07T03:30:00Z due 2026-03-07T05:00:00Z executing"
    ]
    assert (await db.definition_of(campaign)).conditions is None


@pytest.mark.parametrize(
    ("command", "event"),
    [("stop", "stop"), ("clear_schedule", "schedule_cleared"), ("save", "schedule_saved")],
)
async def test_what_waits_gets_its_row_when_its_schedule_goes(
    db: TimedDatabase, node: DatabaseNode, command: str, event: str
) -> None:
    campaign = await waiting(db)
    if command == "save":
        await db.control.save_schedule(campaign, recurring("10:00", NEW_YORK), "tester")
    else:
        await getattr(db.control, command)(campaign, "tester")
    assert await outcomes(db, campaign) == [f"2026-03-07T03:30:00Z missed: {event} came first"]


# --- bodies -----------------------------------------------------------------------------------


async def test_conditions_are_kept_by_a_save_that_names_none_and_cleared_by_empty_objects(
    db: TimedDatabase,
) -> None:
    body = recurring("09:00", PARIS, send_window=DAYTIME, late="hold", dst={"gap": "before"})
    campaign = await save(db, "2026-06-01T12:00Z", body)
    stored = (await db.definition_of(campaign)).conditions
    assert stored["late"] == "hold"
    assert stored["dst"] == {"gap": "before"}
    await db.control.save_schedule(campaign, recurring("10:00", PARIS), "tester")
    definition = await db.definition_of(campaign)
    assert definition.conditions == stored
    assert definition.body["send_window"] == DAYTIME
    cleared = recurring("10:00", PARIS, send_window={}, late="skip", dst={})
    await db.control.save_schedule(campaign, cleared, "tester")
    definition = await db.definition_of(campaign)
    assert definition.conditions is None
    assert "send_window" not in definition.body


async def test_an_unknown_calendar_is_refused_with_the_likely_one(db: TimedDatabase) -> None:
    await add_calendar(db, "us-holidays")
    with pytest.raises(InvalidInput) as refused:
        await save(
            db,
            "2026-06-01T12:00Z",
            recurring("09:00", PARIS, send_window={"calendars": ["us-holiday"]}),
        )
    assert refused.value.status == 400
    text = "names 'us-holiday', which there is not; did you mean us-holidays?"
    assert refused.value.errors == {"send_window.calendars": [text]}


async def test_nothing_that_would_be_sent_is_refused(db: TimedDatabase) -> None:
    """A one-off by its start, a recurrence by its send window; a PATCH answers 422."""
    db.set_time(at("2026-06-01T12:00Z"))
    campaign = await db.add_draft()
    window, start = {**DAYTIME, "outside": "skip"}, "2026-06-02T22:00Z"
    once = {"schedule_type": "scheduled", "scheduled_at": start, "send_window": window}
    with pytest.raises(InvalidInput) as refused:
        await db.control.save_schedule(campaign, once, "tester")
    text = "is outside the send window (outside its send window), so it would be skipped"
    assert (refused.value.status, refused.value.errors) == (400, {"scheduled_at": [text]})
    with pytest.raises(InvalidInput) as refused:
        await db.control.update_schedule(
            campaign, {"startdate": start, "send_window": window}, "tester"
        )
    assert (refused.value.status, refused.value.errors) == (422, {"startdate": [text]})
    body = recurring("22:00", "UTC", send_window=window)
    with pytest.raises(InvalidInput) as refused:
        await db.control.save_schedule(campaign, body, "tester")
    assert refused.value.errors == {"send_window": ["leaves no occurrence within 366 days"]}
