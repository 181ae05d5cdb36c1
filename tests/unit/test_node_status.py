"""The status line of `systemctl status`."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.node_status import NodeStatus


class Watchdog:
    """Takes the components that the status watches."""

    def watch(self, components: object) -> None:
        """Ignore them."""


def test_the_line_is_sent_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["one", "one", "two"])
    monkeypatch.setattr(NodeStatus, "line", lambda _self: next(lines))
    part: Any = type("Part", (), {"lag": None})()
    status = NodeStatus(part, part, part, part, part, Watchdog(), part, part)  # type: ignore[arg-type]
    sent = list[str]()
    for _ in range(3):
        status.send_line(sent.append)
    assert sent == ["one", "two"]
