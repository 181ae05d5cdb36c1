"""Attempts are spans of one trace for each run, with times and outcome."""

from __future__ import annotations

import subprocess
import sys
from uuid import UUID

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from daemon.telemetry.traces import Traces

RUN = UUID("6f9619ff-8b86-5011-b42d-00c04fc964ff")


def test_attempts_are_spans_of_one_trace() -> None:
    """A failed and a successful attempt are spans; other events are not."""
    exporter = InMemorySpanExporter()
    traces = Traces("1.2", exporter)
    keys = {"run_id": RUN, "campaign_id": 7, "target": "mail", "lateness_ms": 3.5}
    traces("run_claimed", **keys)
    traces("run_retrying", **keys, attempt=1, duration_ms=250.0, error="503")
    traces("run_finished", **keys, attempt=2, duration_ms=40.0, outcome="completed")
    traces.close()
    first, second = exporter.get_finished_spans()
    for span in (first, second):
        assert span.context is not None
        assert span.context.trace_id == RUN.int
        assert span.name == "attempt mail"
        assert span.attributes is not None
        assert span.attributes["campaignd.campaign_id"] == 7
        assert span.attributes["campaignd.lateness_ms"] == 3.5
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "503")
    assert second.status.status_code is StatusCode.OK
    assert first.end_time is not None
    assert first.start_time is not None
    assert first.end_time - first.start_time == 250_000_000
    assert dict(first.resource.attributes)["service.version"] == "1.2"


def test_the_library_is_loaded_only_if_enabled() -> None:
    """Traces that are disabled cost nothing."""
    script = "import sys, daemon.app; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
