"""After a long downtime overdue events are loaded in parts, and do not hide those on time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from daemon.domain.run.attempt import ArmedEvent, OverdueEvent, PendingRun, PollResult
from daemon.timer import loader
from daemon.timer.loader import FIRST_EVENT
from tests.support.builders import armed_event
from tests.support.loading import running_loader

PART = 10


class OverdueStore:
    """A backlog of an hour ago, and one event that is due in a minute's time."""

    def __init__(self, overdue: int) -> None:
        now = datetime.now(UTC)
        self.backlog = {
            number: armed_event(number, now - timedelta(hours=1))
            for number in range(1, overdue + 1)
        }
        self.next = armed_event(overdue + 1, now + timedelta(seconds=30))
        self.since: list[tuple[datetime, int]] = []
        self.loaded: list[int] = []
        self.asked: list[str] = []

    async def poll(self, *_arguments: object) -> PollResult:
        self.asked.append("poll")
        return PollResult("1", [], True, False)

    async def events_between(self, since: tuple[datetime, int], *_rest: object) -> list[ArmedEvent]:
        self.asked.append("between")
        both = [*self.backlog.values(), self.next]
        return [entry for entry in both if (entry.event.at, entry.campaign_id) > since]

    async def overdue_events(
        self, since: tuple[datetime, int], before: datetime, max_rows: int, without: Sequence[str]
    ) -> list[OverdueEvent]:
        assert before <= datetime.now(UTC)
        self.asked.append("overdue")
        self.since.append(since)
        after = [
            OverdueEvent(number, entry.revision, entry.event.at)
            for number, entry in self.backlog.items()
            if (entry.event.at, number) > since
        ]
        return after[:max_rows]

    async def events_of(self, campaign_ids: Sequence[int], _until: datetime) -> list[ArmedEvent]:
        self.loaded += campaign_ids
        return [self.backlog[number] for number in campaign_ids]

    async def pending_runs(self, *_arguments: object) -> list[PendingRun]:
        return []


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "ROWS_AT_ONCE", PART)


async def test_ready_after_events_on_time_and_one_part_of_the_backlog() -> None:
    store = OverdueStore(5 * PART)
    async with running_loader(store) as made:
        assert store.loaded == list(range(1, PART + 1))
        assert len(made.window) == PART + 1


async def test_the_parts_follow_without_waiting_for_the_next_poll() -> None:
    store = OverdueStore(5 * PART + 1)
    async with running_loader(store), asyncio.timeout(60):
        while len(store.loaded) < 5 * PART + 1:  # noqa: ASYNC110 - the store has no event to wait for
            await asyncio.sleep(0)
    assert store.loaded == list(range(1, 5 * PART + 2)), "each once, oldest first"
    assert store.since[0] == FIRST_EVENT
    assert store.asked.count("poll") == store.asked.count("overdue"), "one poll between two parts"


async def test_a_full_target_is_left_out_and_others_are_loaded() -> None:
    store = OverdueStore(5 * PART)
    async with running_loader(store, full=["log"]) as made:
        assert store.since == [FIRST_EVENT]
        for _ in range(3):
            made.inbox.on_runs_available()
            await asyncio.sleep(0)
        polls = store.asked.count("poll")
        async with asyncio.timeout(60):
            while store.asked.count("poll") == polls:
                made.inbox.on_runs_available()
                await asyncio.sleep(0)
        assert store.since == [FIRST_EVENT], "not again so soon"


async def test_plans_are_warmed_once_a_poll() -> None:
    """An edit, or the next part of a backlog, warms nothing again."""
    store = OverdueStore(3 * PART)
    shown: list[list[int]] = []

    async def show(soon: Iterable[ArmedEvent]) -> None:
        shown.append([entry.campaign_id for entry in soon])

    store.next = armed_event(1000, datetime.now(UTC) + timedelta(seconds=600))
    async with running_loader(store, warm=show, horizon=3600, poll=300), asyncio.timeout(60):
        while len(store.loaded) < 3 * PART:  # noqa: ASYNC110 - the store has no event to wait for
            await asyncio.sleep(0)
    assert shown == [[*range(1, PART + 1), 1000]]
