"""Parts that are loaded only by who asks for them: their libraries would be held for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.errors import ConfigurationError
from daemon import __version__

if TYPE_CHECKING:
    from daemon.telemetry.metrics import Metrics
    from daemon.telemetry.traces import Traces


def load_metrics() -> Metrics:
    """What counts events for Prometheus."""
    from daemon.telemetry.metrics import Metrics

    return Metrics(__version__)


def load_traces() -> Traces:
    """What tells events to OpenTelemetry.

    Raises:
        ConfigurationError: its packages are not installed.
    """
    try:
        from daemon.telemetry.traces import Traces
    except ModuleNotFoundError as error:
        problem = f"traces.enabled: {error.name} is not installed; it comes with campaignd[otel]"
        raise ConfigurationError([problem]) from None
    return Traces(__version__)
