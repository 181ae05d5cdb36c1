"""Telemetry of the daemon: log lines, metrics, traces.

Invariants: telemetry subscribes to events and never steers; it never raises into the code that
emits. May import `daemon.runtime` and `daemon.domain`. This package is the only home of structlog,
prometheus_client and OpenTelemetry.

`load_metrics` and `load_traces` import their libraries when they are called, because a daemon
without the HTTP interface and without traces does not need them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from daemon import __version__
from daemon.domain.errors import CampaigndError

if TYPE_CHECKING:
    from daemon.telemetry.metrics import Metrics
    from daemon.telemetry.traces import Traces


def _import_structlog() -> None:
    """Import structlog without rich, which it would use only to draw tracebacks.

    This saves every daemon 5 MiB and 50 ms. Remove it when structlog imports rich on first use.
    """
    modules: dict[str, Any] = sys.modules
    if "rich" in modules:
        return
    modules["rich"] = None
    try:
        import structlog  # noqa: F401
    finally:
        del modules["rich"]


_import_structlog()


class TracesUnavailable(CampaigndError):
    """Traces cannot be exported"""

    exit_code = 2


def load_metrics() -> Metrics:
    """Return a subscriber that counts events for Prometheus."""
    from daemon.telemetry.metrics import Metrics

    return Metrics(__version__)


def load_traces() -> Traces:
    """Return a subscriber that exports attempts to OpenTelemetry.

    Raises:
        TracesUnavailable: the packages of OpenTelemetry are not installed.
    """
    try:
        from daemon.telemetry.traces import Traces
    except ModuleNotFoundError as error:
        problem = f"traces.enabled: {error.name} is not installed; install campaignd[otel]"
        raise TracesUnavailable(problem) from None
    return Traces(__version__)
