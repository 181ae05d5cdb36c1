"""A cached plan equals the plan that would be made at the instant, or a new one is made."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.domain.run.claim_plan import plan
from daemon.pipeline import plan_cache
from daemon.pipeline.plan_cache import PlanCache
from tests.support.builders import armed_event, armed_in_unknown_zone
from tests.support.clocks import NOON


async def test_a_cached_plan_is_used_once() -> None:
    made, entry = PlanCache(), armed_event(1)
    await made.warm([entry])
    assert len(made) == 1
    planned = made.get(entry, NOON)
    assert planned == plan(entry, NOON)
    assert len(made) == 0
    assert made.get(entry, NOON) == planned


async def test_a_replaced_event_is_planned_anew() -> None:
    made = PlanCache()
    await made.warm([armed_event(1)])
    edited = armed_event(1, NOON + timedelta(minutes=1), revision=2)
    assert made.get(edited, edited.event.at).armed is edited


async def test_plans_of_other_events_are_dropped() -> None:
    made = PlanCache()
    first, second = armed_event(1), armed_event(2)
    await made.warm([first, second])
    await made.warm([second])
    assert len(made) == 2, "the first may have come due, and wait for its claim"
    await made.warm([second])
    assert len(made) == 1


async def test_a_plan_is_kept_while_its_entry_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made, entry = PlanCache(), armed_event(1)
    await made.warm([entry])
    monkeypatch.setattr(plan_cache, "plan", lambda *_: pytest.fail("it was planned already"))
    await made.warm([entry])
    made.get(entry, NOON)


async def test_an_event_without_a_plan_is_left_to_its_claim() -> None:
    made, good, bad = PlanCache(), armed_event(1), armed_in_unknown_zone(2)
    await made.warm([bad, good])
    assert len(made) == 1
    with pytest.raises(KeyError):
        made.get(bad, NOON)


async def test_no_more_plans_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cache, "MAX_PLANS", 2)
    made = PlanCache()
    await made.warm(armed_event(number) for number in range(5))
    assert len(made) == 2


@given(late=st.timedeltas(timedelta(0), timedelta(days=5)))
async def test_whenever_the_entry_is_claimed_the_plan_is_right(late: timedelta) -> None:
    """A daily schedule with an hour's grace: on time, too late, or further occurrences due."""
    made, entry = PlanCache(), armed_event(1)
    await made.warm([entry])
    assert made.get(entry, NOON + late) == plan(entry, NOON + late)
