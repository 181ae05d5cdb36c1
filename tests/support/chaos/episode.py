"""One episode: campaigns, daemons and faults, then quiet, and the check."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos import checker, nemesis, workload
from tests.support.chaos.checker import Findings
from tests.support.chaos.cluster import Cluster
from tests.support.chaos.edit_client import make_keys
from tests.support.chaos.editor import Editor, create_drafts, save_schedules
from tests.support.chaos.namespaces import Switch
from tests.support.chaos.nemesis import Fault, Nemesis
from tests.support.chaos.receiver import Receiver, recorded_requests
from tests.support.postgres import PostgresServer, fresh_database, url_of_database
from tests.support.standby import url_of_both
from tests.support.waiting import utc_now

RECOVERY_S = 8.0
"""Seconds after a fault is healed: the lease (5 s), a check for overdue events, and time to catch
up.
"""
TAIL_S = 4.0
"""Seconds for which occurrences continue after that, without a fault."""
OVERDUE_S = 1.5
"""Seconds after which the check counts an unclaimed occurrence as overdue."""
FIRST_AHEAD_S = 3.0
QUIET_WITHIN_S = 60.0
LONGEST_S = 300.0
ENDED = "SELECT count(*) FROM runs WHERE finished_at IS NOT NULL"
OBEYS_S = 1.0
LEASE_ENDS_S = 7.0
Period = tuple[datetime, datetime]
KEYS = 500
"""More keys than an episode makes edits."""


@dataclass
class Report:
    """The record of one episode and its findings."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)
    found: Findings = field(default_factory=Findings)
    campaigns: int = 0
    deliveries: int = 0
    pruned: int = 0
    seconds: float = 0.0

    @property
    def rounds(self) -> int:
        return sum(self.faults.values())

    def __str__(self) -> str:
        found = self.found
        return (
            f"seed {self.seed}: {self.rounds} faults, {sum(self.edits.values())} edits, "
            f"{self.campaigns} campaigns, {found.occurrences} occurrences checked; "
            f"lost {len(found.lost)}, unexpected {len(found.unexpected)}, "
            f"doubled {len(found.doubled)}, stuck {len(found.stuck)}, wrong {len(found.wrong)}; "
            f"{found.takeovers} take-overs, {self.deliveries} deliveries "
            f"({found.repeated_deliveries} repeated), {self.pruned} rows pruned, "
            f"latest when healthy {found.latest_healthy_s:.3f} s of {found.judged_for_lateness}; "
            f"{self.seconds:.0f} s"
            + (f"; left out, not possible here: {dict(self.left_out)}" if self.left_out else "")
        )


def run_episode(
    server: PostgresServer,
    directory: Path,
    seed: int,
    *,
    nodes: int = 3,
    length: float = 40.0,
    scale: float = 1.0,
    kinds: list[str] | None = None,
    switch: Switch | None = None,
    disk: Path | None = None,
    standby: PostgresServer | None = None,
    first: Sequence[Fault] = (),
) -> Report:
    """Run an episode whose faults take ``length`` seconds; the whole takes half a minute longer.

    Faults that this machine cannot inject are left out. With a standby, both servers belong to the
    episode, and the first one is dead afterwards.
    """
    began = time.monotonic()
    report = Report(seed)
    receiver = Receiver(switch.address if switch else "127.0.0.1")
    cannot = nemesis.impossible_kinds(is_wired=switch is not None, has_small_disk=disk is not None)
    faults = nemesis.draw_faults(
        seed, nodes, length, kinds=kinds, has_standby=standby is not None, first=first
    )
    faults, left_out = nemesis.split_possible(faults, cannot)
    report.left_out.update(fault.kind for fault in left_out)
    with ExitStack() as stack:
        if standby is None:
            admin = url_of_database(server.url, "postgres")
            _, url = stack.enter_context(fresh_database(admin, "campaignd"))
        else:
            url = url_of_both(server, standby)
        cluster = Cluster(
            server,
            url,
            directory,
            nodes,
            receiver.url,
            switch,
            disk,
            standby=standby,
            decision="release" if seed % 2 else "drop",
        )
        try:
            _inject_and_check(cluster, receiver, report, faults, length=length, scale=scale)
        finally:
            cluster.close()
            receiver.close()
            (directory / f"log-{seed}.jsonl").write_bytes(
                b"\n".join(line for node in cluster.nodes for line in node.log)
            )
    report.seconds = time.monotonic() - began
    return report


def _inject_and_check(
    cluster: Cluster,
    receiver: Receiver,
    report: Report,
    faults: list[Fault],
    *,
    length: float,
    scale: float,
) -> None:
    seed, url = report.seed, cluster.url
    for node in cluster.nodes:
        node.start()
    keys = asyncio.run(make_keys(url, KEYS))
    for node in cluster.nodes:
        assert node.process is not None
        node.process.wait_for("ready", 60)
    whole = length + RECOVERY_S + TAIL_S
    made_at = time.monotonic()
    asyncio.run(create_drafts(url, workload.draw_campaigns(seed, utc_now(), whole, scale)))
    # Schedules must be saved before they start; how long that takes depends on the machine.
    ahead = FIRST_AHEAD_S + 4 * (time.monotonic() - made_at)
    begins = utc_now() + timedelta(seconds=ahead)
    campaigns = workload.draw_campaigns(seed, begins, whole, scale)
    report.campaigns = len(campaigns)
    asyncio.run(save_schedules(url, campaigns))
    assert utc_now() < begins, "the machine was too slow to begin in time"
    apis = [f"http://{host}:{port}" for host, port in (node.api for node in cluster.nodes)]
    until = begins + timedelta(seconds=whole - 2)
    editor = Editor(url, seed, campaigns, until, apis, keys)
    editor.start()
    at_fault = _inject_faults(Nemesis(cluster), faults, begins, report)
    cluster.heal_nodes()
    _wait_until_instant(begins + timedelta(seconds=whole + OVERDUE_S))
    editor.stop()
    if editor.failure is not None:
        report.found.wrong.append(f"the editor failed: {editor.failure!r}")
    report.edits.update(f"{edit.name} {edit.outcome}" for edit in editor.edits)
    broken = [fault for node in cluster.nodes if (fault := node.describe_bad_end()) is not None]
    with CampaignDatabase(url) as database:
        still = _wait_until_quiet(database, cluster.person.decide)
        cluster.retention.wait_until_done()
        report.pruned, again = cluster.retention.restore_pruned_rows(database)
        requests = receiver.requests + recorded_requests(cluster.command_log)
        report.found = checker.check_episode(
            database,
            campaigns,
            editor.edits,
            requests,
            [period for _, period in at_fault],
            frozen=_frozen_periods(cluster, at_fault),
        )
        report.found.stuck += still
        report.found.doubled += again
        report.found.wrong += broken
    report.deliveries = len(requests)


def _inject_faults(
    made: Nemesis, faults: list[Fault], begins: datetime, report: Report
) -> list[tuple[str, Period]]:
    """Inject every fault at its time; return the periods with a fault, recovery included."""
    acts = sorted(
        [(fault.begins, 1, fault) for fault in faults]
        + [(fault.heals, 0, fault) for fault in faults],
        key=lambda act: act[:2],
    )
    begun: dict[Fault, datetime] = {}
    at_fault: list[tuple[str, Period]] = []
    for seconds, is_begin, fault in acts:
        _wait_until_instant(begins + timedelta(seconds=seconds))
        if is_begin:
            begun[fault] = utc_now()
            made.inject(fault)
            report.faults[fault.kind] += 1
        else:
            made.heal(fault)
            if fault.kind in nemesis.HARMLESS:
                continue
            period = begun[fault], utc_now() + timedelta(seconds=RECOVERY_S)
            at_fault.append((fault.kind, period))
    return at_fault


def _wait_until_instant(instant: datetime) -> None:
    """Wait until an instant, which is part of the seed and not a wait for an event."""
    time.sleep(max(0.0, (instant - utc_now()).total_seconds()))


def _frozen_periods(
    cluster: Cluster, at_fault: Sequence[tuple[str, Period]]
) -> list[tuple[datetime, datetime]]:
    """Return from when to when nothing may have begun.

    A node obeys within a second; one that another fault cuts off, once its lease has ended.
    """
    found = []
    for since, until in cluster.person.periods:
        is_alone = not any(
            kind != "brake" and begins <= until and since <= ends
            for kind, (begins, ends) in at_fault
        )
        after = timedelta(seconds=OBEYS_S if is_alone else LEASE_ENDS_S)
        found.append((since + after, until))
    return found


def _wait_until_quiet(database: CampaignDatabase, decide: Callable[[], None]) -> list[str]:
    """Wait until nothing is open or overdue; return what still is when no run ends any more.

    A window that was not served for a minute may catch up one run after the other.
    """
    ended, moved_at, began = -1, time.monotonic(), time.monotonic()
    while not database.one(checker.QUIET):
        now = time.monotonic()
        decide()
        if (count := database.one(ENDED)) != ended:
            ended, moved_at = count, now
        if now - moved_at > QUIET_WITHIN_S or now - began > LONGEST_S:
            return checker.stuck_rows(database)
        time.sleep(0.05)
    return []
