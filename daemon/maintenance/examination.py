"""Looks at campaigns for the auditor: a suspicion is a finding only if a second look has it too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from daemon.domain.auditor.chain import (
    chain_findings,
    chain_of,
    end_of_chain,
    no_timer_finding,
)
from daemon.domain.auditor.evidence import Look
from daemon.domain.auditor.finding import AuditFinding, FindingKey
from daemon.domain.auditor.records import record_findings
from daemon.maintenance.second_derivation import derive_occurrences

RECHECK_S = 5.0
"""Seconds between two looks at a suspicion."""
DERIVED_TWICE = 100
"""Of this many campaigns, one has its occurrences derived a second time."""
_YIELD_EVERY = 20


class AuditorStore(Protocol):
    """Reads what the auditor judges."""

    def looks(
        self,
        since: datetime | None,
        window: timedelta,
        *,
        campaign_ids: Sequence[int] | None = None,
        after: int = 0,
        shards: Sequence[int] = ...,
        earlier: Mapping[int, datetime] | None = None,
        thorough: bool = False,
    ) -> AsyncGenerator[Look]:
        """Yield campaigns with their evidence."""
        ...

    async def stuck(
        self,
        held_after: timedelta,
        *,
        excused: Collection[str] = (),
        shards: Sequence[int] = ...,
    ) -> list[AuditFinding]:
        """Return what is due and not taken, and runs held for long."""
        ...


@dataclass
class Examined:
    """The result of looking at some campaigns."""

    suspicions: dict[FindingKey, AuditFinding] = field(default_factory=dict)
    campaign_ids: list[int] = field(default_factory=list)
    occurrences: int = 0

    def add(self, other: Examined) -> None:
        """Add the result of another look."""
        self.suspicions |= other.suspicions
        self.campaign_ids += other.campaign_ids
        self.occurrences += other.occurrences


class Examiner:
    """Looks at campaigns, and looks again at what it suspects.

    Args:
        store: the reads.
        wait: waits between the two looks, for some seconds.
    """

    def __init__(self, store: AuditorStore, wait: Callable[[float], Awaitable[object]]) -> None:
        self._store = store
        self._wait = wait

    async def look(
        self,
        window: timedelta,
        *,
        since: datetime | None = None,
        campaign_ids: Sequence[int] | None = None,
        after: int = 0,
        shards: Sequence[int] | None = None,
        earlier: Mapping[int, datetime] | None = None,
        thorough: bool = False,
        derive_each: int = DERIVED_TWICE,
    ) -> Examined:
        """Look at campaigns once; the arguments are those of `AuditorStore.looks`.

        Args:
            derive_each: of this many campaigns, one has its occurrences derived twice.
        """
        found = Examined()
        options = {} if shards is None else {"shards": shards}
        looks = self._store.looks(
            since,
            window,
            campaign_ids=campaign_ids,
            after=after,
            earlier=earlier,
            thorough=thorough,
            **options,
        )
        async with aclosing(looks):
            async for look in looks:
                is_derived = look.campaign.id % derive_each == 0
                findings, occurrences = judge(look, is_derived=is_derived)
                found.suspicions |= {each.key: each for each in findings}
                found.campaign_ids.append(look.campaign.id)
                found.occurrences += occurrences
                if len(found.campaign_ids) % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        return found

    async def confirm(
        self,
        examined: Examined,
        window: timedelta,
        *,
        since: datetime | None = None,
        earlier: Mapping[int, datetime] | None = None,
        derive_each: int = DERIVED_TWICE,
    ) -> list[AuditFinding]:
        """Look again at the campaigns with suspicions; return those that stand."""
        doubtful = sorted({each.campaign_id for each in examined.suspicions.values()})
        if not doubtful:
            return []
        await self._wait(RECHECK_S)
        again = await self.look(
            window,
            since=since,
            campaign_ids=doubtful,
            earlier=earlier,
            thorough=True,
            derive_each=derive_each,
        )
        return [each for key, each in again.suspicions.items() if key in examined.suspicions]

    async def stuck(
        self,
        held_after: timedelta,
        excused: Callable[[], Collection[str]],
        shards: Sequence[int] | None = None,
    ) -> list[AuditFinding]:
        """Return what is due and not taken at two looks, and runs held for long.

        Args:
            held_after: how long a run may be held.
            excused: returns the targets that take nothing at the moment.
            shards: of the campaigns; None: all.
        """
        options = {} if shards is None else {"shards": shards}
        first = await self._store.stuck(held_after, excused=excused(), **options)
        if not first:
            return []
        await self._wait(RECHECK_S)
        keys = {each.key for each in first}
        again = await self._store.stuck(held_after, excused=excused(), **options)
        return [each for each in again if each.key in keys]


def judge(look: Look, *, is_derived: bool = False) -> tuple[list[AuditFinding], int]:
    """Return what contradicts a campaign's schedule and record, and the occurrences checked."""
    campaign = look.campaign
    found = record_findings(campaign, look.nodes)
    try:
        chain = chain_of(campaign, look.start)
        if chain is None:
            without_timer = no_timer_finding(campaign)
            return [*found, *([] if without_timer is None else [without_timer])], 0
        derived = None
        if is_derived and campaign.schedule is not None:
            derived = derive_occurrences(campaign.schedule, chain.start, end_of_chain(campaign))
        return [*found, *chain_findings(campaign, chain, derived)], len(chain.events)
    except (LookupError, ValueError, OverflowError):
        # This process cannot compute the schedule, say for a zone that it lacks; claims log that.
        return found, 0
