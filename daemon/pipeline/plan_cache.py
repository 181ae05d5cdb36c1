"""Claim requests planned in advance, so that a burst does not wait for its own arithmetic.

A cached plan claims nothing. An edit or a pause before the instant wins, because the entry that was
planned for is then not the one that comes due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from daemon.domain.brakes import NO_BRAKES
from daemon.domain.run.attempt import ArmedEvent
from daemon.domain.run.claim_plan import ClaimRequest, plan
from daemon.domain.schedule.calendars import CalendarSet

MAX_PLANS = 20_000
"""Maximum plans kept in memory; further ones are made when they are due."""
YIELD_EVERY = 200
"""Plans made before the event loop may go on."""


class PlanCache:
    """The plans of events that are due soon, by campaign."""

    def __init__(self) -> None:
        self._plans: dict[int, ClaimRequest] = {}
        self._former: dict[int, ClaimRequest] = {}
        self.brakes = NO_BRAKES
        """The brakes as this node knows them; a plan that was made in advance needs none."""
        self.calendars = CalendarSet()
        """The shared calendars, as this node knows them."""

    def __len__(self) -> int:
        return len(self._plans) + len(self._former)

    async def warm(self, soon: Iterable[ArmedEvent]) -> None:
        """Plan these events; plans of other events are dropped at the next call.

        They are kept until then because an event that came due may still wait for its claim.
        """
        former, self._plans = self._plans, {}
        self._former = former
        for number, event in enumerate(islice(soon, MAX_PLANS), start=1):
            known = former.pop(event.campaign_id, None)
            if known is None or known.armed is not event:
                try:
                    known = plan(event, event.due_at, calendars=self.calendars)
                except Exception:
                    continue  # the claim logs the error of this event alone
            self._plans[event.campaign_id] = known
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def get(self, event: ArmedEvent, now: datetime) -> ClaimRequest:
        """Return the plan of an event that is due at ``now``, and remove it from the cache."""
        known = self._plans.pop(event.campaign_id, None)
        if known is None:
            known = self._former.pop(event.campaign_id, None)
        # A new plan would be equal if no later event is due and this one is not too late.
        if (
            known is not None
            and known.armed is event
            and (known.next is None or now < known.due_of(known.next))
            and (known.start_before is None or now <= known.start_before)
            and (known.gated is None or known.gated.holds(now, self.calendars.revision))
        ):
            return known
        return plan(event, now, brakes=self.brakes, calendars=self.calendars)
