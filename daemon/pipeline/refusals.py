"""Claims that the database refuses: since when, and a log line now and then."""

from __future__ import annotations

from daemon.domain.formatting import error_line
from daemon.domain.ports import Clock, Emit

LOG_EVERY_S = 60.0
"""Seconds between two lines about one campaign; its claim is tried about once a second."""


class Refusals:
    """The refused claims of a node since its last successful claim."""

    def __init__(self, clock: Clock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._since: float | None = None
        self._last = 0.0
        self._logged: dict[int, float] = {}
        """Campaigns of the last lines, and when each was logged, the earliest first."""
        self.last_error = ""

    @property
    def seconds_refusing(self) -> float:
        """Seconds since the first refusal; 0 if a claim succeeded since, or none is refused now."""
        now = self._clock.monotonic()
        if self._since is None or now - self._last > LOG_EVERY_S:
            return 0.0
        return now - self._since

    def add(self, campaign_id: int, error: Exception) -> None:
        """Note that the claim of a campaign's event was refused, and log it now and then."""
        now = self._clock.monotonic()
        if not self.seconds_refusing:
            self._since = now
        self._last = now
        self.last_error = error_line(error)
        while self._logged and now - next(iter(self._logged.values())) >= LOG_EVERY_S:
            self._logged.pop(next(iter(self._logged)))
        if campaign_id not in self._logged:
            self._logged[campaign_id] = now
            self._emit("claim_failed", campaign_id=campaign_id, error=self.last_error)

    def end(self) -> None:
        """Note that a claim succeeded."""
        self._since = None
