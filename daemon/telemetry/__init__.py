"""What the daemon says about itself: log lines, metrics, health.

Invariants: telemetry subscribes and never steers; it never raises into what it watches. May import
`daemon.runtime` and `daemon.domain`; the only home of structlog.
"""

import sys
from typing import Any


def _load_structlog() -> None:
    """Without rich: only structlog's own console would draw with it, and nothing here uses that."""
    modules: dict[str, Any] = sys.modules
    if "rich" in modules:
        return
    modules["rich"] = None
    try:
        import structlog  # noqa: F401
    finally:
        del modules["rich"]


_load_structlog()
