"""Whether a target may be asked just now: failures in a row make it pause, one success ends that.

A pause spares attempts: what waits is not tried, so no attempt of it is used up while its target is
down, and no slot is spent on waiting for time-outs. When it is over, one run is the probe.
"""

from __future__ import annotations

from daemon.domain.run.retry import RetryPolicy


class CircuitBreaker:
    """Counts what attempts came to.

    Args:
        policy: after how many failures in a row to pause, and for how long.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
        self.paused = False
        """Nothing may be handed over, but for the probe."""
        self.may_probe = False
        """The pause is over: the next run shows whether the target is back."""
        self._failures = 0
        self._pauses = 0

    @property
    def may_start(self) -> bool:
        """Whether an attempt may begin."""
        return not self.paused or self.may_probe

    def replaced(self, policy: RetryPolicy) -> None:
        """The target may be another one now: whether it pauses is found out at once."""
        self.policy = policy
        self.paused = self.paused and policy.pause_after > 0
        self.may_probe = self.paused

    def begin(self) -> None:
        """An attempt begins; if the target pauses, it is the probe."""
        self.may_probe = False

    def failed(self, *, was_probe: bool) -> float | None:
        """An attempt failed in a way that may pass; how long to pause, None: not at all."""
        if self.policy.pause_after <= 0 or (self.paused and not was_probe):
            return None
        self._failures += 1
        if self._failures < self.policy.pause_after and not self.paused:
            return None
        self.paused, self.may_probe = True, False
        pause = self.policy.first_pause * 2.0 ** min(self._pauses, 30)
        self._pauses += 1
        return min(self.policy.longest_pause, pause)

    def pause_is_over(self) -> None:
        """Time has passed."""
        self.may_probe = self.paused

    def succeeded(self) -> bool:
        """The target answered; True if that ends a pause."""
        was_paused = self.paused
        self.paused = self.may_probe = False
        self._failures = self._pauses = 0
        return was_paused
