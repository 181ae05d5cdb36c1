"""What `systemctl status` says of the daemon: one line, sent when it changes."""

from __future__ import annotations

from collections.abc import Callable


class StatusLine:
    """Sends the line that ``compose`` makes, unless it was the last one sent."""

    def __init__(self, compose: Callable[[], str], send: Callable[[str], object]) -> None:
        self._compose = compose
        self._send = send
        self._last = ""

    def refresh(self) -> None:
        """Compose the line and send it if it is another."""
        line = self._compose()
        if line != self._last:
            self._send(line)
            self._last = line
