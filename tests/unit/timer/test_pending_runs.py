"""Pending runs: however many one target has, those of the others are loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from daemon.domain.run.attempt import ArmedEvent, OverdueEvent, PendingRun, PollResult
from daemon.timer import loader
from daemon.timer.loader import FIRST_RUN
from tests.support.loading import PATIENCE_S, LoaderFixture, running_loader

PART = 10
Place = tuple[datetime, int, datetime]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "ROWS_AT_ONCE", PART)


class PendingRunStore:
    """Pending runs in order."""

    def __init__(self, runs: Sequence[PendingRun]) -> None:
        self.runs = sorted(runs, key=place)
        self.since: list[Place] = []
        self.polls = 0

    async def poll(self, *_arguments: object) -> PollResult:
        self.polls += 1
        return PollResult("1", [], False, bool(self.runs))

    async def pending_runs(
        self,
        since: Place,
        until: datetime,
        overdue_before: datetime,
        shards: Sequence[int],
        max_rows: int,
        without: Sequence[str],
    ) -> list[PendingRun]:
        self.since.append(since)
        found = [
            run
            for run in self.runs
            if since < place(run) and run.at < until and run.target not in without
        ]
        return found[:max_rows]

    async def events_between(self, *_arguments: object) -> list[ArmedEvent]:
        return []

    async def events_of(self, *_arguments: object) -> list[ArmedEvent]:
        return []

    async def overdue_events(self, *_arguments: object) -> list[OverdueEvent]:
        return []


def place(run: PendingRun) -> Place:
    return run.at, run.campaign_id, run.scheduled_for


def runs(count: int, target: str, *, since: float, first: int = 1) -> list[PendingRun]:
    """Return ``count`` runs, each due a millisecond after the one before."""
    at = datetime.now(UTC) + timedelta(seconds=since)
    return [
        PendingRun(first + number, at, at + timedelta(milliseconds=number), target)
        for number in range(count)
    ]


class Taken(list[PendingRun]):
    """Entries that came due, handed out until the test settles them."""

    def __call__(self, entries: list[ArmedEvent | PendingRun]) -> None:
        for entry in entries:
            assert isinstance(entry, PendingRun)
            self.append(entry)

    @property
    def ids(self) -> set[int]:
        return {entry.campaign_id for entry in self}

    def of(self, target: str) -> list[int]:
        return [entry.campaign_id for entry in self if entry.target == target]


async def until_handed_over(taken: Taken, campaign_id: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while campaign_id not in taken.ids:  # noqa: ASYNC110 - taken one after the other
            await asyncio.sleep(0)


async def until_polled(made: LoaderFixture, store: PendingRunStore) -> None:
    """Wait until one more poll was made, and its result loaded."""
    for _ in range(2):
        polls = store.polls
        made.inbox.on_runs_available()
        async with asyncio.timeout(PATIENCE_S):
            while store.polls == polls:  # noqa: ASYNC110 - the store has no event to wait for
                await asyncio.sleep(0)


@pytest.mark.parametrize("backlog", [PART, 3 * PART, 3 * PART + 1, 50 * PART])
async def test_one_target_s_backlog_does_not_hide_the_runs_of_another(backlog: int) -> None:
    """Runs follow at once, in parts, and only as much of the backlog is held as is usable soon."""
    store = PendingRunStore(
        [*runs(backlog, "slow", since=-60), *runs(2, "other", since=-5, first=10_000)]
    )
    taken = Taken()
    async with running_loader(store) as made:
        made.scheduler.start(taken)
        await until_handed_over(taken, 10_001)
        assert taken.of("other") == [10_000, 10_001]
        assert taken.of("slow") == list(range(1, len(taken.of("slow")) + 1)), "oldest first"
        assert len(taken.of("slow")) <= 4 * PART
        asked = len(store.since)
        await until_polled(made, store)
        assert len(store.since) - asked <= 4, "unclaimed runs are not read again and again"
        made.scheduler.stop()


async def test_more_runs_are_loaded_once_most_were_claimed() -> None:
    store, taken = PendingRunStore(runs(9 * PART, "slow", since=-60)), Taken()
    async with running_loader(store) as made:
        made.scheduler.start(taken)
        done = 0
        async with asyncio.timeout(PATIENCE_S):
            while len(taken) < 9 * PART:
                await until_polled(made, store)
                store.runs = [run for run in store.runs if run not in taken]
                made.inbox.settle(taken[done:])
                done = len(taken)
        assert taken.of("slow") == list(range(1, 9 * PART + 1)), "each once, oldest first"
        made.scheduler.stop()


async def test_loading_starts_with_the_oldest_again() -> None:
    """A run that became due meanwhile may come before the last run that was read."""
    store, taken = PendingRunStore(runs(PART + 1, "log", since=-5)), Taken()
    async with running_loader(store) as made:
        made.scheduler.start(taken)
        await until_handed_over(taken, PART + 1)
        assert store.since[:2] == [FIRST_RUN, place(store.runs[PART - 1])]
        store.runs[:0] = runs(1, "log", since=-60, first=500)
        made.inbox.on_runs_available()
        await until_handed_over(taken, 500)
        made.scheduler.stop()


async def test_only_what_is_due_before_the_next_polls_is_held() -> None:
    """However many retries are due within the horizon."""
    store = PendingRunStore([*runs(5, "log", since=2), *runs(5, "log", since=30, first=100)])
    async with running_loader(store, poll=1, horizon=60) as made:
        assert len(made.window) == 5
