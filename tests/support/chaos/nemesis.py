"""The faults: drawn from a seed before the episode begins, injected at their time, and healed."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from daemon.domain.brakes import Overdue
from tests.support.chaos import namespaces
from tests.support.chaos.cluster import Cluster
from tests.support.chaos.proxy import DEAF, OPEN, REFUSED, SILENT


@dataclass(frozen=True)
class Fault:
    """One fault: its start and its end in seconds from the start of the episode, and its node."""

    kind: str
    begins: float
    heals: float
    node: int
    number: int
    size: float

    def __str__(self) -> str:
        return f"{self.begins:6.2f}-{self.heals:6.2f} {self.kind} node={self.node} {self.size:+.2f}"


# kind -> (weight, shortest, longest, on a node or on the server)
KINDS: dict[str, tuple[float, float, float, str]] = {
    "kill": (4, 0.0, 7.0, "node"),
    "stop": (2, 0.0, 3.0, "node"),
    "freeze": (3, 0.5, 9.0, "node"),
    "suspend": (2, 0.5, 9.0, "node"),
    "silence": (2, 0.5, 9.0, "node"),
    "deaf": (3, 0.2, 4.0, "node"),
    "refuse": (1, 0.5, 6.0, "node"),
    "clock": (3, 0.5, 6.0, "node"),
    "server killed": (1, 0.0, 3.0, "server"),
    "server immediate": (1, 0.0, 3.0, "server"),
    "server fast": (1, 0.0, 2.0, "server"),
    "server frozen": (1, 0.5, 8.0, "server"),
    "backend killed": (1, 0.0, 0.1, "server"),
    "backend frozen": (1, 0.5, 8.0, "server"),
    "cut all": (2, 0.0, 0.1, "cut"),
    "cut some": (2, 0.0, 0.1, "cut"),
    "lock rows": (1, 0.5, 4.0, "cut"),
    "lock table": (1, 0.5, 8.0, "cut"),
    "unplugged": (3, 0.5, 9.0, "node"),
    "dropped": (3, 0.5, 9.0, "node"),
    "answers dropped": (2, 0.5, 9.0, "node"),
    "loss": (2, 1.0, 7.0, "node"),
    "bad line": (2, 1.0, 7.0, "node"),
    "read-only": (1, 0.5, 4.0, "server"),
    "no connection": (1, 0.5, 4.0, "server"),
    "disk full": (1, 0.5, 3.0, "server"),
    "prune": (5, 0.0, 0.1, "prune"),
    "brake": (3, 0.5, 5.0, "brake"),
}
WIRED = ("unplugged", "dropped", "answers dropped", "loss", "bad line")
HARMLESS = ("prune",)
"""Faults that excuse no lateness."""
FAILOVER = "failover"
"""Once in an episode with a standby: the primary is killed and the standby promoted."""
LOST_SHARE = 0.3
CLOCK_STEPS = (-300.0, -5.0, -1.0, 1.0, 5.0, 300.0)


MUST = (
    Fault("kill", 0.5, 4.5, 0, 0, 0.0),
    Fault("clock", 1.0, 4.0, 1, 0, 300.0),
    Fault("backend killed", 2.5, 2.6, 0, 1, 0.0),
    Fault("freeze", 5.0, 11.5, 2, 0, 0.0),
    Fault("clock", 6.0, 9.0, 1, 0, -5.0),
    Fault("server killed", 7.5, 8.5, 0, 0, 0.0),
    Fault("silence", 10.0, 16.0, 0, 0, 0.0),
    Fault("unplugged", 12.0, 18.0, 1, 0, 0.0),
    Fault("brake", 18.5, 20.5, 0, 0, 0.0),
)
"""Faults on three nodes that must not be left to chance, in a short form. Nodes are frozen and cut
off for longer than the lease.
"""


def impossible_kinds(*, is_wired: bool, has_small_disk: bool) -> dict[str, str]:
    """Return the kinds that cannot be injected here, each with the reason."""
    found = {}
    for kind in WIRED:
        reason = namespaces.why_no_delay() if kind == "bad line" else namespaces.why_no_namespaces()
        if reason is not None or not is_wired:
            found[kind] = reason or "the nodes have no namespaces of their own"
    if not has_small_disk:
        found["disk full"] = "the server has no small disk of its own"
    return found


def split_possible(faults: list[Fault], cannot: dict[str, str]) -> tuple[list[Fault], list[Fault]]:
    """Split the faults into possible and impossible ones; the seed draws both on any machine."""
    done = [fault for fault in faults if fault.kind not in cannot]
    return done, [fault for fault in faults if fault.kind in cannot]


def draw_faults(
    seed: int,
    nodes: int,
    length: float,
    *,
    kinds: list[str] | None = None,
    has_standby: bool = False,
    first: Sequence[Fault] = (),
) -> list[Fault]:
    """Draw faults, at most two at a time, and never two on one node or server.

    Args:
        kinds: the kinds to draw from; None: all.
        first: faults that come before the drawn ones, within ``length``.
    """
    chance = random.Random(f"{seed} nemesis")
    names = kinds or list(KINDS)
    faults = list(first)
    busy_until: dict[str, float] = {}
    if has_standby:
        begins = length * chance.uniform(0.3, 0.6)
        faults.append(Fault(FAILOVER, begins, begins + chance.uniform(0.3, 4), 0, 0, 0.0))
    at = max([fault.heals for fault in first], default=0.0) + chance.uniform(0.5, 2.0)
    while at < length:
        kind = chance.choices(names, [KINDS[name][0] for name in names])[0]
        _, shortest, longest, whom = KINDS[kind]
        node = chance.randrange(nodes)
        key = f"node {node}" if whom == "node" else whom
        heals = at + chance.uniform(shortest, longest)
        size = chance.choice(CLOCK_STEPS) if kind == "clock" else chance.random()
        number = chance.randrange(1000)
        running = [until for until in busy_until.values() if until > at]
        failing = any(fault.kind == FAILOVER and fault.begins < heals + 1 and at < fault.heals + 1
                      for fault in faults) and whom == "server"  # fmt: skip
        may = busy_until.get(key, 0) <= at and not failing
        if may and len(running) < 2 and heals < length + 1:
            faults.append(Fault(kind, at, heals, node, number, size))
            busy_until[key] = heals
        at += chance.uniform(0.3, 2.2)
    return faults


CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name LIKE 'campaignd%%' AND datname = current_database()
      AND (%s OR random() < 0.5)
"""


SOME_ROWS = "SELECT 1 FROM campaigns WHERE id % 5 ="
SKIP = "FOR UPDATE SKIP LOCKED"
TABLES = ("campaigns", "runs", "timers", "nodes", "campaign_events")


class Nemesis:
    """Injects the faults into a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._held: psycopg.Connection[Any] | None = None

    def inject(self, fault: Fault) -> None:
        """Inject a fault."""
        cluster = self.cluster
        node = cluster.nodes[fault.node]
        cable = node.cable
        ports = [proxy.port for proxy in node.proxies]
        acts: dict[str, Callable[[], object]] = {
            "kill": lambda: node.end_by_signal(signal.SIGKILL),
            "stop": node.ask_to_stop,
            "freeze": node.freeze,
            "suspend": node.freeze,
            "silence": lambda: node.set_network(SILENT),
            "deaf": lambda: node.set_network(DEAF),
            "refuse": lambda: node.set_network(REFUSED),
            "clock": lambda: node.clock.set_offset(fault.size),
            FAILOVER: lambda: cluster.server.end_by_signal(signal.SIGKILL),
            "server killed": lambda: cluster.server.end_by_signal(signal.SIGKILL),
            "server immediate": lambda: cluster.server.end_by_signal(signal.SIGQUIT),
            "server fast": lambda: cluster.server.end_by_signal(signal.SIGINT),
            "server frozen": cluster.freeze_server,
            "backend killed": lambda: cluster.kill_backend(fault.number),
            "backend frozen": lambda: cluster.freeze_backend(fault.number),
            "cut all": lambda: self._cut_network(everybody=True),
            "cut some": lambda: self._cut_network(everybody=False),
            "lock rows": lambda: self._hold_locks(f"{SOME_ROWS} {fault.number % 5} {SKIP}"),
            "lock table": lambda: self._hold_locks(
                f"LOCK TABLE {TABLES[fault.number % len(TABLES)]}"
            ),
            "read-only": cluster.server_faults.make_read_only,
            "no connection": self._take_connections,
            "disk full": cluster.server_faults.fill_disk,
            "prune": cluster.retention.start_prune,
            "brake": cluster.person.freeze,
        }
        if cable is not None:
            acts |= {
                "unplugged": cable.pull,
                "dropped": lambda: cable.drop_packets(ports),
                "answers dropped": lambda: cable.drop_packets(ports, answers_only=True),
                "loss": lambda: cable.drop_packets(ports, share=LOST_SHARE),
                "bad line": cable.make_line_bad,
            }
        acts[fault.kind]()

    def heal(self, fault: Fault) -> None:
        """Heal a fault."""
        cluster = self.cluster
        node = cluster.nodes[fault.node]
        if fault.kind == "kill":
            node.start()
        elif fault.kind == "stop":
            node.restart_in_background()
        elif fault.kind == "freeze":
            node.thaw()
        elif fault.kind == "suspend":
            node.resume_from_suspend()
        elif fault.kind in ("silence", "deaf", "refuse"):
            node.set_network(OPEN)
        elif fault.kind == "clock":
            node.clock.set_offset(0.0)
        elif fault.kind in ("server killed", "server immediate", "server fast"):
            cluster.start_server()
        elif fault.kind == FAILOVER:
            cluster.fail_over()
        elif fault.kind in WIRED and node.cable is not None:
            node.cable.repair()
        elif fault.kind in ("read-only", "no connection", "disk full"):
            cluster.end_server_faults()
        elif fault.kind in ("server frozen", "backend frozen"):
            cluster.thaw_server()
        elif fault.kind == "brake":
            cluster.person.thaw(Overdue.SKIP if fault.size > 0.7 else Overdue.HOLD)
        elif fault.kind in ("lock rows", "lock table") and self._held is not None:
            self._held.close()
            self._held = None

    def _cut_network(self, *, everybody: bool) -> None:
        try:
            with psycopg.connect(
                self.cluster.admin_url, autocommit=True, connect_timeout=2
            ) as connection:
                connection.execute(CUT, [everybody])
        except psycopg.Error:
            pass  # The server is away as well.

    def _take_connections(self) -> None:
        """Cut the daemons' connections, and take every free one before they reconnect."""
        self._cut_network(everybody=True)
        self.cluster.server_faults.take_connections()

    def _hold_locks(self, statement: str) -> None:
        """Hold locks that the daemons need, like a stray transaction."""
        try:
            self._held = psycopg.connect(
                self.cluster.admin_url, connect_timeout=2, options="-c statement_timeout=1000"
            )
            self._held.execute(statement.encode())
        except psycopg.Error:
            self._held = None
