"""The circuit breaker of a target: repeated failures open it, one success closes it.

While the breaker is open no attempt starts. So pending runs lose no attempts while their target is
down, and no slot waits for timeouts. After a pause the breaker is half open: one run is the probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from daemon.domain.ports import Emit
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.run.target_state import CircuitState


class CircuitBreaker:
    """Counts consecutive failures of one target and times its pauses.

    Args:
        target: the target's name.
        policy: after how many failures in a row to open, and for how long.
        emit: logs ``target_paused`` and ``target_resumed``.
        on_change: called when attempts may start that could not before.
    """

    def __init__(
        self, target: str, policy: RetryPolicy, *, emit: Emit, on_change: Callable[[], None]
    ) -> None:
        self.state = CircuitState.CLOSED
        self.is_probing = False
        """Whether the probe of a half-open breaker is under way."""
        self.error: str | None = None
        """Why the circuit opened; None while it is closed."""
        self.openings = 0
        """Number of times that it opened, each with a pause of its own."""
        self._target = target
        self._policy = policy
        self._emit = emit
        self._on_change = on_change
        self._failures = 0
        self._pauses = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_closed(self) -> bool:
        """Whether attempts start without a limit."""
        return self.state is CircuitState.CLOSED

    @property
    def may_start(self) -> bool:
        """Whether an attempt may start: any, or the probe."""
        return self.state is CircuitState.CLOSED or (
            self.state is CircuitState.HALF_OPEN and not self.is_probing
        )

    def start(self) -> bool:
        """Note that an attempt starts; return whether it is the probe."""
        self.is_probing = self.state is not CircuitState.CLOSED
        return self.is_probing

    def succeeded(self) -> None:
        """Note that the target answered."""
        was_closed = self.is_closed
        self.state, self.is_probing = CircuitState.CLOSED, False
        self._failures = self._pauses = 0
        if not was_closed:
            self._on_closed()

    def close(self) -> None:
        """Close at once: an operator says that the target is there again."""
        self.succeeded()

    @property
    def pause_left(self) -> float:
        """Seconds until the next probe, while the circuit is open."""
        if self._timer is None or self.state is not CircuitState.OPEN:
            return 0.0
        return max(0.0, self._timer.when() - asyncio.get_running_loop().time())

    def failed(self, reason: str, *, was_probe: bool) -> None:
        """Note that an attempt failed in a way that may pass."""
        if self._policy.pause_after <= 0 or (not self.is_closed and not was_probe):
            return
        self._failures += 1
        if self._failures < self._policy.pause_after and self.is_closed:
            return
        self._open(reason)

    def not_started(self, reason: str, *, was_probe: bool) -> None:
        """Open for an attempt that did not reach the target, whatever the policy.

        The node lacks resources, so the same attempt would fail at once again.
        """
        if self.is_closed or was_probe:
            self._open(reason)

    def _open(self, reason: str) -> None:
        self.state, self.is_probing = CircuitState.OPEN, False
        pause = self._policy.first_pause * 2.0 ** min(self._pauses, 30)
        pause = min(self._policy.longest_pause, pause)
        self._pauses += 1
        self.openings += 1
        self.error = reason
        self._emit("target_paused", target=self._target, pause_s=round(pause, 3), error=reason)
        self._timer = asyncio.get_running_loop().call_later(pause, self.half_open)

    def half_open(self) -> None:
        """Let one probe start: the pause is over, or the former probe was cancelled."""
        if not self.is_closed:
            self.state, self.is_probing = CircuitState.HALF_OPEN, False
        self._on_change()

    def replace_policy(self, policy: RetryPolicy) -> None:
        """Take another policy, and find out at once whether the replaced target answers."""
        self._policy = policy
        if self.is_closed:
            return
        self.cancel_timer()
        if policy.pause_after > 0:
            self.half_open()
        else:
            self.state, self.is_probing = CircuitState.CLOSED, False
            self._on_closed()

    def cancel_timer(self) -> None:
        """Stop timing the pause."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_closed(self) -> None:
        self.cancel_timer()
        self.error = None
        self._emit("target_resumed", target=self._target)
        self._on_change()
