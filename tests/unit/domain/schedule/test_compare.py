"""The comparison of two lists of occurrences."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from daemon.domain.schedule.compare import MOST_COMPARED, compare, occurrences_until
from daemon.domain.schedule.gated_occurrences import GatedOccurrence
from daemon.domain.schedule.send_window import Disposition
from tests.support.builders import daily_schedule
from tests.support.clocks import NOON, days, hours

HOURS = st.integers(0, 240)


def occurrence(hour: int, due: int, disposition: Disposition, offset: int) -> GatedOccurrence:
    at = NOON + hours(hour)
    local = (at + hours(offset)).replace(tzinfo=None)
    return GatedOccurrence(at, local, disposition, at + hours(due), None)


LISTS = st.lists(
    st.builds(
        occurrence, HOURS, st.integers(0, 2), st.sampled_from(Disposition), st.integers(-9, 9)
    ),
    max_size=30,
    unique_by=lambda each: each.scheduled_for,
).map(lambda found: sorted(found, key=lambda each: each.scheduled_for))


@given(LISTS, LISTS)
def test_the_parts_make_the_new_list_of_the_old_one(
    old: list[GatedOccurrence], new: list[GatedOccurrence]
) -> None:
    """Old minus vanishes plus appears, with moves and changes applied, is the new list."""
    found = compare(old, new)
    replaced: dict[datetime, GatedOccurrence] = {
        pair.was.scheduled_for: pair.now for pair in (*found.changes, *found.moves)
    }
    gone = {each.scheduled_for for each in found.vanishes}
    made = [
        replaced.get(each.scheduled_for, each) for each in old if each.scheduled_for not in gone
    ]
    made = sorted([*made, *found.appears], key=lambda each: each.scheduled_for)

    def shown(each: GatedOccurrence) -> tuple[datetime, datetime, str]:
        return each.scheduled_for, each.due_at, each.disposition

    assert list(map(shown, made)) == list(map(shown, new))
    assert found.same + len(found.changes) + len(found.moves) + len(found.vanishes) == len(old)
    assert all(pair.was.local.date() == pair.now.local.date() for pair in found.moves)


def test_a_list_compared_with_itself_is_the_same() -> None:
    old = occurrences_until(daily_schedule(), None, NOON, NOON + days(30))
    assert compare(old, old).summary == {
        "same": 30,
        "changes": 0,
        "moves": 0,
        "appears": 0,
        "vanishes": 0,
    }


def test_more_than_the_limit_is_truncated() -> None:
    """10,000 occurrences of each side are compared."""
    long = occurrences_until(daily_schedule(), None, NOON, NOON + timedelta(days=20_000))
    assert len(long) == MOST_COMPARED + 1
    found = compare(long, long[:-1])
    assert found.truncated
    assert found.same == MOST_COMPARED
    assert not compare(long[:-1], long[:-1]).truncated
