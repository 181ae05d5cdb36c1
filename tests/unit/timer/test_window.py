"""The job store: a heap of entries that hands each out once."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.runtime.clock import DatabaseClock, SystemClock
from daemon.timer.window import ENTRIES_AT_ONCE, EXECUTOR, LEAD, WindowJobStore
from tests.support.builders import armed_event, pending_run
from tests.support.clocks import NOON, seconds


@pytest.fixture
def window() -> WindowJobStore:
    return WindowJobStore(DatabaseClock(SystemClock()))


def handed_out(window: WindowJobStore, now: datetime = NOON) -> list[object]:
    """Hand out what is due at ``now``, by a wake-up as early as that is."""
    return [entry for job in window.get_due_jobs(now - LEAD) for entry in job.args[0]]


def next_instant(window: WindowJobStore) -> datetime | None:
    at = window.get_next_run_time()
    return None if at is None else at + LEAD


def test_what_is_due_is_handed_out_in_order(window: WindowJobStore) -> None:
    entries = [armed_event(number, NOON + seconds(number)) for number in (3, 1, 2)]
    window.load(entries)
    assert handed_out(window, NOON + seconds(2)) == [entries[1], entries[2]]
    assert len(window) == 1
    assert next_instant(window) == NOON + seconds(3)
    assert handed_out(window, NOON + seconds(3)) == [entries[0]]
    assert next_instant(window) is None


def test_nothing_is_handed_out_earlier_than_that(window: WindowJobStore) -> None:
    window.load([armed_event(1)])
    assert handed_out(window, NOON - seconds(0.000001)) == []


def test_an_entry_is_handed_out_once(window: WindowJobStore) -> None:
    entry = armed_event(1)
    window.load([entry, armed_event(1)])
    assert handed_out(window) == [entry]
    window.load([armed_event(1)])
    assert handed_out(window) == [], "it is on its way"
    window.forget_handed_out([entry])
    window.load([armed_event(1)])
    assert len(handed_out(window)) == 1, "it was lost, and is due again"


def test_only_what_was_handed_out_is_done(window: WindowJobStore) -> None:
    entry = armed_event(1)
    window.load([entry])
    handed_out(window)
    window.forget_handed_out([armed_event(1, revision=2)])
    window.load([armed_event(1)])
    assert handed_out(window) == []


def test_a_newer_revision_replaces_the_older(window: WindowJobStore) -> None:
    window.load([armed_event(1)])
    newer = armed_event(1, NOON + seconds(5), revision=2)
    window.load([newer])
    assert len(window) == 1
    assert handed_out(window) == []
    assert next_instant(window) == NOON + seconds(5)
    assert handed_out(window, NOON + seconds(5)) == [newer]


def test_what_comes_next_is_taken_in_while_the_former_is_on_its_way(
    window: WindowJobStore,
) -> None:
    first, following = armed_event(1), armed_event(1, NOON + seconds(60))
    window.load([first])
    handed_out(window)
    window.load([following])
    window.forget_handed_out([first])
    assert handed_out(window, NOON + seconds(60)) == [following]


def test_a_run_that_waits_is_no_armed_event(window: WindowJobStore) -> None:
    entries = [armed_event(1), pending_run(1), pending_run(1, scheduled_for=NOON - seconds(60))]
    window.load(entries)
    assert len(window) == 3
    window.drop([1])
    assert handed_out(window) == entries[1:]


def test_dropping_forgets_what_was_not_handed_out(window: WindowJobStore) -> None:
    window.load([armed_event(1), armed_event(2, NOON + seconds(1))])
    window.drop([1, 7])
    assert next_instant(window) == NOON + seconds(1)
    assert len(window) == 1
    window.clear()
    assert (len(window), next_instant(window)) == (0, None)


def test_loading_says_whether_to_wake_earlier(window: WindowJobStore) -> None:
    assert window.load([armed_event(1, NOON + seconds(10))])
    assert not window.load([armed_event(2, NOON + seconds(20))])
    assert not window.load([armed_event(3, NOON + seconds(10))])
    assert window.load([armed_event(4, NOON + seconds(30)), armed_event(5, NOON + seconds(5))])
    assert not window.load([])


@pytest.mark.parametrize("skew", [5.0, -5.0, 0.0])
def test_the_database_clock_decides(window: WindowJobStore, skew: float) -> None:
    """Skew is the database's clock minus ours: what is due there at noon is due here before."""
    window._database_clock.set_skew(seconds(skew))
    window.load([armed_event(1)])
    local = NOON - seconds(skew)
    assert next_instant(window) == local
    assert handed_out(window, local - seconds(0.001)) == []
    (job,) = window.get_due_jobs(local - LEAD)
    assert job.next_run_time == local - LEAD


def test_a_burst_is_handed_out_in_parts(window: WindowJobStore) -> None:
    window.load([armed_event(number) for number in range(ENTRIES_AT_ONCE + 1)])
    assert len(handed_out(window)) == ENTRIES_AT_ONCE
    assert next_instant(window) == NOON
    assert len(handed_out(window)) == 1


def test_one_job_carries_all_that_is_due_at_an_instant(window: WindowJobStore) -> None:
    window.load([armed_event(number) for number in range(5)])
    window.load([armed_event(number, NOON + seconds(1)) for number in range(5, 8)])
    jobs = window.get_due_jobs(NOON + seconds(1))
    assert [len(job.args[0]) for job in jobs] == [5, 3]


def test_jobs_leave_lateness_and_overlap_to_the_claim(window: WindowJobStore) -> None:
    window.load([armed_event(1), pending_run(2)])
    for job in window.get_due_jobs(NOON):
        assert job.misfire_grace_time is None
        assert job.executor == EXECUTOR


def test_jobs_can_be_looked_at(window: WindowJobStore) -> None:
    window.load(
        [
            pending_run(2, NOON + seconds(1)),
            armed_event(1),
            armed_event(3),
            armed_event(3, revision=2),
        ]
    )
    assert [job.args[0][0].campaign_id for job in window.get_all_jobs()] == [1, 3, 2]
    job = window.lookup_job("campaign 3")
    assert job is not None
    assert job.args[0][0].revision == 2
    assert window.lookup_job("campaign 9") is None
    assert len(window) == 3, "looking takes nothing away"


def test_entries_come_from_the_loader_only(window: WindowJobStore) -> None:
    window.load([armed_event(1)])
    (job,) = window.get_due_jobs(NOON)
    with pytest.raises(NotImplementedError):
        window.add_job(job)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["load", "due", "done", "drop"]),
            st.integers(1, 4),
            st.integers(0, 5),
            st.integers(1, 3),
        ),
        max_size=40,
    )
)
def test_it_agrees_with_a_plain_model(steps: list[tuple[str, int, int, int]]) -> None:
    window = WindowJobStore(DatabaseClock(SystemClock()))
    held: dict[int, object] = {}
    out: dict[int, object] = {}
    now = NOON
    for what, number, second, revision in steps:
        entry = armed_event(number, NOON + seconds(second), revision=revision)
        if what == "load":
            window.load([entry])
            if entry not in (held.get(number), out.get(number)):
                held[number] = entry
        elif what == "due":
            now = max(now, NOON + seconds(second))
            due = {n: each for n, each in held.items() if each.event.at <= now}
            assert {each.campaign_id: each for each in handed_out(window, now)} == due
            for n in due:
                out[n] = held.pop(n)
        elif what == "done" and number in out:
            window.forget_handed_out([out.pop(number)])
        elif what == "drop":
            window.drop([number])
            held.pop(number, None)
        assert len(window) == len(held)
        assert next_instant(window) == min((each.event.at for each in held.values()), default=None)
