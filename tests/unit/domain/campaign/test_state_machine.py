"""The lifecycle table as a whole; row by row it is walked over a real database."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.domain.campaign.state_machine import (
    ARMED,
    OPEN_RUN,
    TABLE,
    Event,
    Facts,
    RunStatus,
    Status,
    final_status,
    statuses_that_allow,
    transition,
)
from daemon.domain.schedule.schedule import CampaignType

FACTS = st.builds(
    Facts,
    type=st.sampled_from(CampaignType),
    has_schedule=st.booleans(),
    more_to_come=st.booleans(),
    begun=st.booleans(),
    open_runs=st.integers(0, 3),
    has_due=st.booleans(),
    has_completed=st.booleans(),
    archived_from=st.none() | st.sampled_from([Status.DRAFT, Status.COMPLETED, Status.FAILED]),
)


@given(FACTS)
def test_no_two_rows_disagree(facts: Facts) -> None:
    """The order of the rows has no effect."""
    for status, event in itertools.product(Status, Event):
        goals = {
            row.goal(status, facts)
            for row in TABLE
            if row.event is event and status in row.before and row.guard(facts)
        }
        assert goals in ({transition(status, event, facts)}, set())
        assert goals or transition(status, event, facts) is None


@given(FACTS)
def test_only_what_may_have_open_runs_is_reached_with_one(facts: Facts) -> None:
    for status, event in itertools.product((Status.EXECUTING, Status.PAUSED), Event):
        goal = transition(status, event, facts)
        if goal is not None and facts.open_runs and event is not Event.STOP:
            assert goal in (Status.EXECUTING, Status.PAUSED)


@given(FACTS)
def test_every_status_is_left_or_kept_but_never_lost(facts: Facts) -> None:
    for status, event in itertools.product(Status, Event):
        goal = transition(status, event, facts)
        if status is Status.ARCHIVED and goal is not None:
            assert event in (Event.UNARCHIVE, Event.DELETE)
        if goal is Status.SCHEDULED and status not in (Status.SCHEDULED, Status.PAUSED):
            assert event in (Event.SCHEDULE_SAVED, Event.START)


def test_every_event_has_a_row_and_is_refused_somewhere() -> None:
    for event in Event:
        for kind in CampaignType:
            assert set(statuses_that_allow(event, kind)) != set(Status), event
        assert any(statuses_that_allow(event, kind) for kind in CampaignType), event


def test_allowed_from_is_in_lifecycle_order() -> None:
    assert statuses_that_allow(Event.STOP, CampaignType.ONE_TIME) == [
        Status.SCHEDULED,
        Status.LAUNCHED,
        Status.EXECUTING,
        Status.PAUSED,
    ]
    assert statuses_that_allow(Event.UNARCHIVE, CampaignType.ONE_TIME) == [Status.ARCHIVED]


def test_a_launched_campaign_allows_an_update_only_if_events_trigger_it() -> None:
    for kind in CampaignType:
        allowed = [Status.DRAFT, Status.SCHEDULED, Status.PAUSED]
        if kind is CampaignType.EVENT_TRIGGERED:
            allowed.insert(2, Status.LAUNCHED)
        assert statuses_that_allow(Event.SCHEDULE_UPDATED, kind) == allowed


@pytest.mark.parametrize(
    ("has_due", "has_completed", "expected"),
    [
        (False, False, Status.COMPLETED),
        (True, True, Status.COMPLETED),
        (True, False, Status.FAILED),
    ],
)
def test_final(has_due: bool, has_completed: bool, expected: Status) -> None:
    assert final_status(Facts(has_due=has_due, has_completed=has_completed)) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status.DRAFT, None),
        (Status.SCHEDULED, Status.EXECUTING),
        (Status.LAUNCHED, Status.EXECUTING),
        (Status.EXECUTING, None),
        (Status.PAUSED, None),
        (Status.COMPLETED, Status.EXECUTING),
        (Status.FAILED, Status.EXECUTING),
        (Status.CANCELLED, None),
        (Status.ARCHIVED, None),
    ],
)
def test_retry_by_a_person(status: Status, expected: Status | None) -> None:
    assert transition(status, Event.RETRY, Facts(open_runs=1, has_due=True)) is expected


def test_open_runs_are_those_that_can_still_change() -> None:
    assert {status.value for status in OPEN_RUN} == {"queued", "executing", "retrying", "held"}
    assert [status for status in RunStatus if status.is_open] == [
        status for status in RunStatus if status in OPEN_RUN
    ]


def test_armed_statuses_are_those_that_fire_or_miss() -> None:
    for kind in CampaignType:
        for event in (Event.PASSED, Event.WINDOW_CLOSED):
            assert set(statuses_that_allow(event, kind)) == set(ARMED)
        assert set(statuses_that_allow(Event.FIRE, kind)) == set(ARMED) - {Status.PAUSED}
