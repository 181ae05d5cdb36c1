"""OpenTelemetry traces: each attempt is a span, and all attempts of a run are one trace.

Loaded only if `traces.enabled` is set; needs the extra `campaignd[otel]`. OpenTelemetry's own
variables, such as OTEL_EXPORTER_OTLP_ENDPOINT, set the destination of the spans.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

_ENDED = {
    "run_finished": StatusCode.OK,
    "run_accepted": StatusCode.OK,
    "run_failed": StatusCode.ERROR,
    "run_retrying": StatusCode.ERROR,
}
_KEYS = ("campaign_id", "campaign_uuid", "run_id", "scheduled_for", "attempt", "target", "outcome")


class Traces:
    """A subscriber of events. It never waits, because a thread of the library exports the spans."""

    def __init__(self, version: str, exporter: SpanExporter | None = None) -> None:
        resource = Resource.create({"service.name": "campaignd", "service.version": version})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or _otlp_exporter()))
        self._tracer = self._provider.get_tracer("campaignd", version)

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Record the span of an attempt that ended; ignore other events."""
        status = _ENDED.get(event)
        duration, run_id = fields.get("duration_ms"), fields.get("run_id")
        if status is None or duration is None or not isinstance(run_id, UUID):
            return
        end = time.time_ns()
        known = {key: fields[key] for key in _KEYS if fields.get(key) is not None}
        attributes = {
            f"campaignd.{key}": value if isinstance(value, int) else str(value)
            for key, value in known.items()
        }
        if (lateness := fields.get("lateness_ms")) is not None:
            attributes["campaignd.lateness_ms"] = lateness
        span = self._tracer.start_span(
            f"attempt {fields.get('target')}",
            context=trace.set_span_in_context(trace.NonRecordingSpan(_span_context_of_run(run_id))),
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            start_time=end - round(duration * 1_000_000),
        )
        span.set_status(Status(status, fields.get("error") if status is StatusCode.ERROR else None))
        span.end(end)

    def close(self) -> None:
        """Export the remaining spans."""
        self._provider.shutdown()


def _span_context_of_run(run_id: UUID) -> trace.SpanContext:
    """Return the run as the parent of its attempts; it is the same on every node."""
    return trace.SpanContext(
        trace_id=run_id.int,
        span_id=run_id.int & (2**64 - 1),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )


def _otlp_exporter() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
