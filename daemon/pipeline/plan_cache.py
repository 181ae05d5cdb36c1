"""Plans made ahead: what a burst needs at its instant is worked out in the quiet before it.

A plan says what to claim and what comes after it. It claims nothing: an edit or a pause before the
instant wins, for then the entry that was planned for is not the one that comes due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from daemon.domain.run.attempt import ArmedEvent
from daemon.domain.run.claim_plan import ClaimRequest, plan

AT_MOST = 20_000
"""Plans kept; more are made when they are needed."""
AT_ONCE = 200
"""Plans made before the event loop may go on."""


class PlanCache:
    """The plans of what is due soon, by campaign."""

    def __init__(self) -> None:
        self._plans: dict[int, ClaimRequest] = {}
        self._former: dict[int, ClaimRequest] = {}

    def __len__(self) -> int:
        return len(self._plans) + len(self._former)

    async def prepare(self, soon: Iterable[ArmedEvent]) -> None:
        """Have plans for these; those that are not among them are forgotten the next time.

        What has come due meanwhile may still wait for its claim.
        """
        former, self._plans = self._plans, {}
        self._former = former
        for number, entry in enumerate(islice(soon, AT_MOST), start=1):
            known = former.pop(entry.campaign_id, None)
            if known is None or known.armed is not entry:
                try:
                    known = plan(entry, entry.event.at)
                except Exception:
                    continue  # the claim will tell, of this one alone
            self._plans[entry.campaign_id] = known
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def plan(self, entry: ArmedEvent, now: datetime) -> ClaimRequest:
        """What ``plan`` says of an entry that is due at ``now``; the entry's plan is used up."""
        known = self._plans.pop(entry.campaign_id, None)
        if known is None:
            known = self._former.pop(entry.campaign_id, None)
        if known is not None and known.armed is entry and _holds(known, now):
            return known
        return plan(entry, now)


def _holds(planned: ClaimRequest, now: datetime) -> bool:
    """Whether the plan would be the same: no later occurrence is due, and this one not too late."""
    if planned.next is not None and planned.next.at <= now:
        return False
    return planned.start_before is None or now <= planned.start_before
