"""Claims settled while the database is read: no following event is lost, the newer one counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from daemon.domain.run.attempt import ArmedEvent, OverdueEvent, PendingRun, PollResult
from tests.support.builders import armed_event
from tests.support.loading import PATIENCE_S, LoaderFixture, running_loader

Read = Callable[[LoaderFixture], None]


class ChangesStore:
    """Answers with what is in it at that moment; between the two the test may go on."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.found: list[ArmedEvent] = []
        self.read = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def at(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    async def _answer(self) -> list[ArmedEvent]:
        found = list(self.found)
        self.read.set()
        await self.may_answer.wait()
        return found

    async def poll(self, *_arguments: object) -> PollResult:
        return PollResult("1", [], False, False)

    async def events_between(self, *_arguments: object) -> list[ArmedEvent]:
        return await self._answer()

    async def events_of(self, _campaign_ids: Sequence[int], _until: datetime) -> list[ArmedEvent]:
        return await self._answer()

    async def overdue_events(self, *_arguments: object) -> list[OverdueEvent]:
        return []

    async def pending_runs(self, *_arguments: object) -> list[PendingRun]:
        return []


@pytest.fixture
def store() -> ChangesStore:
    return ChangesStore()


@pytest.fixture
async def made(store: ChangesStore) -> AsyncIterator[LoaderFixture]:
    async with running_loader(store) as made:
        yield made


@pytest.fixture(params=["refill", "edit"])
def read(request: pytest.FixtureRequest) -> Read:
    """What makes the loader read the database."""
    if request.param == "refill":
        return lambda made: made.inbox.reload()
    return lambda made: made.inbox.campaigns_edited([1])


@asynccontextmanager
async def reading(store: ChangesStore, made: LoaderFixture, read: Read) -> AsyncIterator[None]:
    """While the database has been read, and its answer is not here yet; then until it is loaded."""
    store.read.clear()
    store.may_answer.clear()
    read(made)
    async with asyncio.timeout(PATIENCE_S):
        await store.read.wait()
        yield
        store.found = []
        store.read.clear()
        made.inbox.campaigns_edited([99])  # asked for when that is loaded
        store.may_answer.set()
        await store.read.wait()


def held(made: LoaderFixture) -> list[ArmedEvent]:
    return list(made.window.soon(datetime.max.replace(tzinfo=UTC)))


@pytest.mark.parametrize("after", [10, 45])
async def test_what_comes_next_is_held_though_all_is_read_again(
    store: ChangesStore, made: LoaderFixture, after: float
) -> None:
    """The answer is from before the claim, and the next answer begins where this one ends."""
    store.found = [armed_event(2, store.at(after))]
    async with reading(store, made, lambda made: made.inbox.reload()):
        made.inbox.settle([], [armed_event(1, store.at(after))])
    assert {entry.campaign_id for entry in held(made)} == {1, 2}


async def test_what_comes_next_is_held_though_the_horizon_moves_on(
    store: ChangesStore, made: LoaderFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies beyond what was loaded so far, within what is read just now."""
    later = store.at(45)
    monkeypatch.setattr(made.database_clock, "now", lambda: later)
    following = armed_event(1, store.at(100))
    async with reading(store, made, lambda made: made.inbox.on_runs_available()):
        made.inbox.settle([], [following])
    assert held(made) == [following]


async def test_what_lies_beyond_is_left_to_the_next_refill(
    store: ChangesStore, made: LoaderFixture
) -> None:
    made.inbox.settle([], [armed_event(1, store.at(600))])
    assert held(made) == []
    assert not made.inbox._following, "however many claims come before it"


async def test_what_was_read_before_the_claim_does_not_undo_it(
    store: ChangesStore, made: LoaderFixture, read: Read
) -> None:
    following = armed_event(1, store.at(20))
    store.found = [armed_event(1, store.at(5)), armed_event(2, store.at(5))]
    async with reading(store, made, read):
        made.inbox.settle([], [following])
    assert following in held(made)


async def test_what_was_read_after_an_edit_stands(
    store: ChangesStore, made: LoaderFixture, read: Read
) -> None:
    """The claim came before the edit, though this node hears of that first, or last."""
    edited = armed_event(1, store.at(5), revision=2)
    store.found = [edited]
    async with reading(store, made, read):
        made.inbox.settle([], [armed_event(1, store.at(20))])
    assert held(made) == [edited]
    made.inbox.settle([], [armed_event(1, store.at(20))])
    assert held(made) == [edited]
