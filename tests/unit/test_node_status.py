"""What a node says of itself: the status line of `systemctl status`, and its readiness."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daemon.domain.errors import Unavailable
from daemon.maintenance.privilege_watch import PrivilegeWatch
from daemon.node_status import NodeStatus
from daemon.pipeline.refusals import Refusals
from daemon.runtime.database_health import DatabaseHealth
from tests.support.clocks import SettableClock


class Watchdog:
    """Takes the components that the status watches; none is stuck."""

    age = 0.0

    def watch(self, components: object) -> None:
        """Ignore them."""

    def stuck(self) -> None:
        """Nothing is."""


def emit(_event: str, /, **_fields: Any) -> None:
    pass


def status_of(**parts: Any) -> NodeStatus:
    """Return the status of a node with these parts."""
    part: Any = SimpleNamespace(lag=None)
    status = NodeStatus(
        parts.get("health", part),
        part,
        part,
        parts.get("pipeline", part),
        part,
        Watchdog(),  # type: ignore[arg-type]
        part,
        parts.get("privileges", part),
        part,
    )
    status.is_ready = True
    return status


def test_the_line_is_sent_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["one", "one", "two"])
    monkeypatch.setattr(NodeStatus, "status_line", lambda _self: next(lines))
    status = status_of()
    sent = list[str]()
    for _ in range(3):
        status.send_status_line(sent.append)
    assert sent == ["one", "two"]


class Missing(Unavailable):
    """A privilege is missing."""

    retryable = False


async def test_a_node_that_cannot_fire_is_not_ready() -> None:
    """After ten seconds of refused claims or of an outage, and at once without a privilege."""
    clock = SettableClock()
    refusals, health = Refusals(clock, emit), DatabaseHealth(emit, clock, jitter=lambda: 0.0)
    missing: list[Missing] = []

    async def require() -> None:
        for each in missing:
            raise each

    privileges = PrivilegeWatch(require, emit=emit)
    pipeline = SimpleNamespace(claimer=SimpleNamespace(refusals=refusals, busy=None))
    pipeline.completer = SimpleNamespace(busy=None)
    status = status_of(health=health, pipeline=pipeline, privileges=privileges)
    assert status.readiness() == {"scheduler": "ok"}

    refusals.add(1, ValueError("bad"))
    clock.seconds += 9
    refusals.add(1, ValueError("bad"))
    assert status.readiness() == {"scheduler": "ok"}
    clock.seconds += 1
    assert status.readiness() == {"scheduler": "claims have failed for 10 s: ValueError: bad"}
    refusals.end()
    assert status.readiness() == {"scheduler": "ok"}

    service: Any = SimpleNamespace(name="claimer", wait_for_stop=_pause, stopping=_NeverSet())
    await health.failed(service, Unavailable("the disk is full"))
    clock.seconds += 10
    assert status.readiness() == {
        "scheduler": "ok",
        "database": "the firing loop has failed to use it for 10 s: the disk is full",
    }
    health.succeeded(service)
    assert status.readiness() == {"scheduler": "ok"}

    missing.append(Missing("the role app may not INSERT on table runs"))
    await privileges.check()
    assert status.readiness()["database"] == "the role app may not INSERT on table runs"
    missing.clear()
    await privileges.check()
    assert status.readiness() == {"scheduler": "ok"}


async def _pause(_seconds: float) -> bool:
    return False


class _NeverSet:
    def is_set(self) -> bool:
        return False


async def test_a_missing_privilege_is_logged_once() -> None:
    logged: list[tuple[str, dict[str, Any]]] = []

    async def require() -> None:
        raise Missing("no INSERT")

    watch = PrivilegeWatch(require, emit=lambda event, /, **fields: logged.append((event, fields)))
    for _ in range(3):
        await watch.check()
    assert logged == [("privilege_missing", {"error": "no INSERT"})]


async def test_a_lost_database_is_no_missing_privilege() -> None:
    async def require() -> None:
        raise Unavailable("away")

    watch = PrivilegeWatch(require, emit=emit)
    with pytest.raises(Unavailable):
        await watch.check()
    assert watch.problem is None
