"""The auditor: looks all day whether every occurrence of this node's shards has exactly one run.

Three passes: what is due and not taken (stuck), campaigns that ran just now (fresh), and all
campaigns, one after the other (sweep). The auditor repairs nothing: docs/operations.md has what an
operator can do. The audit log is another part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from daemon.domain.auditor.finding import AuditFinding, FindingKind, RecordedFinding
from daemon.domain.errors import CampaigndError
from daemon.domain.ports import Clock, Emit
from daemon.maintenance.examination import AuditorStore, Examined, Examiner
from daemon.runtime.service import Service

TICK_S = 1.0
STUCK_EVERY_S = 30.0
FRESH_EVERY_S = 60.0
FRESH_WITHIN = timedelta(minutes=2)
"""Campaigns with runs claimed this recently are fresh."""
FRESH_WINDOW = timedelta(hours=1)
FRESH_AT_MOST = 5000
BATCH_SIZE = 100
"""Campaigns of one step of the sweep."""
LONGEST_STEP_S = 600.0
"""Maximum seconds between two steps, so that a round over few campaigns is short."""
STEADY_S = 60.0
"""Seconds after an outage, or after a target took nothing, in which nothing counts as stuck."""
OPEN_AT_MOST = 5000
"""Open findings that are looked at again in each pass."""


class AuditorOptions(NamedTuple):
    """How far and how often the auditor looks.

    `sweep` is the duration of a round over all campaigns, `window` how far back a round looks,
    `held_after` how long a run may be held before that is a finding.
    """

    sweep: timedelta
    window: timedelta
    held_after: timedelta


class RecentCampaigns(Protocol):
    """Campaigns with runs claimed lately, and the share of all such campaigns."""

    @property
    def campaign_ids(self) -> list[int]:
        """Return the campaigns."""
        ...

    @property
    def share(self) -> float:
        """Return the share, from 0 to 1."""
        ...


class SweepStore(AuditorStore, Protocol):
    """Reads, also which campaigns to look at."""

    async def recent(
        self, claimed_within: timedelta, shards: Sequence[int], *, turn: int, limit: int
    ) -> RecentCampaigns:
        """Return campaigns with runs claimed lately."""
        ...

    async def count_campaigns(self, shards: Sequence[int]) -> int:
        """Return the number of campaigns of some shards."""
        ...


class FindingStore(Protocol):
    """Records findings."""

    async def record(self, findings: Sequence[AuditFinding]) -> list[RecordedFinding]:
        """Record findings; return the new ones."""
        ...

    async def clear(self, ids: Sequence[int]) -> list[RecordedFinding]:
        """Mark findings as cleared; return them."""
        ...

    async def open_findings(
        self, *, limit: int, shards: Sequence[int] | None = None
    ) -> list[RecordedFinding]:
        """Return the findings that stand."""
        ...


class Auditor(Service):
    """Looks at the campaigns of this node's shards, in three passes.

    Args:
        store: the reads, on a connection of their own.
        findings: the recorded findings.
        options: how far and how often.
        shards: returns this node's shards.
        blocked_targets: returns the targets that take nothing now: paused or full.
        is_database_up: returns whether the database answers.
        clock: of this machine.
        emit: logs findings, and what was looked at.
    """

    name = "auditor"

    def __init__(
        self,
        store: SweepStore,
        findings: FindingStore,
        options: AuditorOptions,
        *,
        shards: Callable[[], Sequence[int]],
        blocked_targets: Callable[[], Collection[str]],
        is_database_up: Callable[[], bool],
        clock: Clock,
        emit: Emit,
    ) -> None:
        super().__init__()
        self._store = store
        self._findings = findings
        self._options = options
        self._shards = shards
        self._blocked_targets = blocked_targets
        self._is_database_up = is_database_up
        self._clock = clock
        self._emit = emit
        self._examiner = Examiner(store, self.wait_for_stop)
        self._blocked_at: dict[str, float] = {}
        self._unsteady_at = clock.monotonic()
        self._turn = 0
        self._swept_to = 0
        self._swept_campaigns = self._swept_occurrences = 0
        self._round_began = clock.now()
        self._step_s = LONGEST_STEP_S
        self.open: Counter[FindingKind] = Counter()
        """Open findings of this node's shards, by kind, as of the last pass."""
        self.fresh_share = 1.0
        """Share of the campaigns with new runs that the last fresh pass looked at."""
        self.last_round_at = clock.now()
        """Begin of the last whole round; the node's start before there is one."""

    async def run(self) -> None:
        """Look until asked to stop."""
        start = self._clock.monotonic()
        passes = (self.look_at_stuck, self.look_at_fresh, self.sweep_step)
        due = [start + STEADY_S, start + FRESH_EVERY_S, start + STUCK_EVERY_S]
        while not await self.wait_for_stop(TICK_S):
            self.note_obstacles()
            now = self._clock.monotonic()
            for number, look in enumerate(passes):
                if now < due[number] or not self._is_database_up() or not self._shards():
                    continue
                with suppress(CampaigndError):  # services that fire log an outage
                    await look()
                every = (STUCK_EVERY_S, FRESH_EVERY_S, self._step_s)[number]
                due[number] = self._clock.monotonic() + every

    def note_obstacles(self) -> None:
        """Note which targets take nothing now, and whether the database is away."""
        now = self._clock.monotonic()
        for target in self._blocked_targets():
            self._blocked_at[target] = now
        if not self._is_database_up():
            self._unsteady_at = now

    async def look_at_stuck(self) -> None:
        """Look for what is due and not taken. Raises CampaigndError."""
        if self._clock.monotonic() - self._unsteady_at < STEADY_S:
            return
        shards = self._shards()
        found = await self._examiner.stuck(self._options.held_after, self._excused, shards)
        known = await self._findings.open_findings(limit=OPEN_AT_MOST, shards=shards)
        self._count(known)
        await self._settle(found, [each for each in known if _is_of_stuck_pass(each)])
        self._emit("audit_pass", look="stuck", campaigns=len({each.campaign_id for each in found}))

    async def look_at_fresh(self) -> None:
        """Look at campaigns that ran just now, and at those with findings.

        Raises:
            CampaigndError: the database refused a read.
        """
        shards = self._shards()
        self._turn += 1
        recent = await self._store.recent(
            FRESH_WITHIN, shards, turn=self._turn, limit=FRESH_AT_MOST
        )
        self.fresh_share = recent.share
        known = await self._open_findings_of_chains(shards)
        ids = sorted({*recent.campaign_ids, *(each.campaign_id for each in known)})
        seen = Examined()
        for start in range(0, len(ids), BATCH_SIZE):
            part = ids[start : start + BATCH_SIZE]
            seen.add(await self._examine(FRESH_WINDOW, known, campaign_ids=part))
        self._emit(
            "audit_pass",
            look="fresh",
            campaigns=len(seen.campaign_ids),
            occurrences=seen.occurrences,
        )

    async def sweep_step(self) -> None:
        """Look at the next campaigns; after the last ones a round is complete.

        Raises:
            CampaigndError: the step is repeated.
        """
        shards = self._shards()
        if self._swept_to == 0:
            steps = await self._store.count_campaigns(shards) // BATCH_SIZE + 1
            self._step_s = min(self._options.sweep.total_seconds() / steps, LONGEST_STEP_S)
            self._swept_campaigns = self._swept_occurrences = 0
            self._round_began = self._clock.now()
        known = await self._open_findings_of_chains(shards)
        seen = await self._examine(self._options.window, known, after=self._swept_to, shards=shards)
        self._emit(
            "audit_pass",
            look="sweep",
            campaigns=len(seen.campaign_ids),
            occurrences=seen.occurrences,
        )
        self._swept_campaigns += len(seen.campaign_ids)
        self._swept_occurrences += seen.occurrences
        if len(seen.campaign_ids) == BATCH_SIZE:
            self._swept_to = seen.campaign_ids[-1]
            return
        self._swept_to = 0
        self.last_round_at = self._round_began
        self._emit(
            "audit_round",
            campaigns=self._swept_campaigns,
            occurrences=self._swept_occurrences,
            findings=sum(self.open.values()),
            took_s=round((self._clock.now() - self._round_began).total_seconds(), 3),
        )

    def _excused(self) -> list[str]:
        self.note_obstacles()
        since = self._clock.monotonic() - STEADY_S
        return [target for target, at in self._blocked_at.items() if at > since]

    async def _open_findings_of_chains(self, shards: Sequence[int]) -> list[RecordedFinding]:
        known = await self._findings.open_findings(limit=OPEN_AT_MOST, shards=shards)
        self._count(known)
        return [each for each in known if not _is_of_stuck_pass(each)]

    async def _examine(
        self,
        window: timedelta,
        known: Sequence[RecordedFinding],
        *,
        campaign_ids: Sequence[int] | None = None,
        after: int = 0,
        shards: Sequence[int] | None = None,
    ) -> Examined:
        """Look at campaigns, confirm what is suspected, and record or clear findings."""
        earlier = _begins(known)
        seen = await self._examiner.look(
            window, campaign_ids=campaign_ids, after=after, shards=shards, earlier=earlier
        )
        found = await self._examiner.confirm(seen, window, earlier=earlier)
        looked_at = set(seen.campaign_ids if campaign_ids is None else campaign_ids)
        await self._settle(found, [each for each in known if each.campaign_id in looked_at])
        return seen

    async def _settle(
        self, found: Sequence[AuditFinding], known: Sequence[RecordedFinding]
    ) -> None:
        """Record what stands, and clear what is known and stands no more."""
        keys = {each.key for each in found}
        gone = [
            each.id
            for each in known
            if each.id is not None and (each.kind, each.campaign_id, each.scheduled_for) not in keys
        ]
        new = await self._findings.record(found)
        cleared = await self._findings.clear(gone)
        for each in new:
            self._emit(
                "audit_finding",
                level="error" if each.severity == "error" else "warning",
                kind=each.kind.value,
                campaign_id=each.campaign_id,
                run_id=each.run_id,
                scheduled_for=each.scheduled_for,
                details=each.details,
                remedy=each.remedy,
            )
        for each in cleared:
            self._emit(
                "audit_cleared",
                kind=each.kind.value,
                campaign_id=each.campaign_id,
                run_id=each.run_id,
                scheduled_for=each.scheduled_for,
            )
        self.open.update(each.kind for each in new)
        self.open.subtract(each.kind for each in cleared)

    def _count(self, known: Sequence[RecordedFinding]) -> None:
        self.open = Counter(each.kind for each in known)


def _is_of_stuck_pass(finding: RecordedFinding) -> bool:
    """Return whether the stuck pass finds it; a lost run is found with its campaign."""
    if finding.kind is FindingKind.STUCK_RUN:
        return "node" not in (finding.details or {})
    return finding.kind in (FindingKind.STUCK_TIMER, FindingKind.HELD)


def _begins(known: Sequence[RecordedFinding]) -> dict[int, datetime]:
    """Return from when a campaign must be looked at, so that its open findings are judged again."""
    begins: dict[int, datetime] = {}
    for each in known:
        if each.scheduled_for is not None:
            at = each.scheduled_for - timedelta(microseconds=1)
            begins[each.campaign_id] = min(at, begins.get(each.campaign_id, at))
    return begins
