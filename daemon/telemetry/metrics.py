"""Metrics for Prometheus: counted from the events that are told, rendered when asked for.

Loaded only where the HTTP interface is on. docs/metrics.md has every name and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from daemon.telemetry.tally import Spread, Tally

# When a series began is no series of its own: Prometheus sees it.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (*_SHORT, 60.0, 300.0, 900.0, 3600.0, 14400.0)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A counter that an event adds to."""

    name: str
    help: str


_BY_TARGET = {
    "run_claimed": _Counted("runs_claimed", "Runs that this node took to carry out."),
    "run_finished": _Counted("runs_finished", "Runs that completed."),
    "run_failed": _Counted("runs_failed", "Runs that failed for good."),
    "run_cancelled": _Counted("runs_cancelled", "Runs that were stopped with their campaign."),
    "run_missed": _Counted("runs_missed", "Occurrences too late, or passed while paused."),
    "run_skipped": _Counted("runs_skipped", "Occurrences in the way of another run."),
    "run_queued": _Counted("runs_queued", "Runs that had to wait for the one before them."),
    "run_retrying": _Counted("attempts_failed", "Attempts that are followed by another."),
    "run_accepted": _Counted("runs_accepted", "Runs that their target finishes later."),
    "run_held": _Counted("runs_held", "Runs that wait for a person."),
    "target_paused": _Counted("target_pauses", "Times that a target was left alone for a while."),
}
_PLAIN = {
    "lease_lost": _Counted("leases_lost", "Outcomes refused: the run was somebody else's by then."),
    "node_lost": _Counted("nodes_lost", "Nodes whose runs this one took over."),
    "node_replaced": _Counted("lease_expiries", "Times that this node's own lease had ended."),
    "listen_lost": _Counted("listen_reconnects", "Times that news of edits was lost."),
    "database_lost": _Counted("database_outages", "Times that the database went away."),
    "claim_failed": _Counted("claims_failed", "Events that the database refused to claim."),
    "finish_failed": _Counted("finishes_failed", "Outcomes that the database refused."),
}
_ENDED = ("run_finished", "run_failed", "run_retrying", "run_accepted")


class Metrics(Collector):
    """One process's metrics. A subscriber of events; may be told from any thread."""

    def __init__(self, version: str = "") -> None:
        self.registry = CollectorRegistry()
        self._version = version
        self._events = Tally()
        self._runs = Tally()
        self._passed = Tally()
        self._lateness = Spread(_LONG)
        self._attempts = Spread(_LONG)
        self._durations = {
            "claim": Spread(_SHORT),
            "finish": Spread(_SHORT),
            "loop_lag": Spread(_SHORT),
        }
        self._gauges: dict[str, tuple[str, Callable[[], float | None]]] = {}
        self._requests = Counter(
            "campaignd_http_requests",
            "Requests answered.",
            ["method", "path", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "campaignd_http_request_duration_seconds",
            "From the request's head to the end of its answer.",
            ["method", "path"],
            registry=self.registry,
            buckets=_SHORT,
        )
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Count an event."""
        self._events.add((event,))
        if event in _BY_TARGET:
            target = str(fields.get("target"))
            self._runs.add((event, target))
            if event in _ENDED:
                # Once a run: whoever finishes it later is somebody else.
                late = fields.get("lateness_ms") if fields.get("attempt") == 1 else None
                if late is not None and fields.get("actor") is None:
                    self._lateness.add((target,), late / 1000)
                if (duration := _handed_over_ms(fields)) is not None:
                    self._attempts.add((target,), duration / 1000)
        elif event == "occurrences_passed":
            self._passed.add((str(fields["cause"]),), fields["count"])
        elif event == "http_request":
            method, path = _known(fields["method"]), fields["path"]
            self._requests.labels(method, path, str(fields["status"])).inc()
            self._seconds.labels(method, path).observe(fields["duration_ms"] / 1000)

    def expect(self, targets: Iterable[str]) -> None:
        """These targets exist: their counters begin at 0, so that the first failure is a rise."""
        for target in targets:
            for event in _BY_TARGET:
                self._runs.add((event, target), 0)
            self._lateness.expect((target,))
            self._attempts.expect((target,))

    def timed(self, what: str) -> Callable[[float], None]:
        """Where the seconds of ``claim``, ``finish`` or ``loop_lag`` go."""
        spread = self._durations[what]
        spread.expect(())
        return lambda seconds: spread.add((), seconds)

    def gauge(self, name: str, help: str, read: Callable[[], float | None]) -> None:
        """What is read when somebody asks; without a value the series is left out."""
        self._gauges[name] = (help, read)

    def render(self) -> tuple[bytes, str]:
        """The exposition and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def describe(self) -> list[Metric]:
        """Nothing beforehand: what there is depends on the process."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything but the requests, which the library counts itself."""
        yield InfoMetricFamily(
            "campaignd_build", "The release that runs.", {"version": self._version}
        )
        yield _counter("events", "Events told, by name.", ["event"], self._events.items())
        runs = self._runs.items()
        for event, counted in _BY_TARGET.items():
            rows = [((target,), many) for (told, target), many in runs if told == event]
            yield _counter(counted.name, counted.help, ["target"], rows)
        told_of = dict(self._events.items())
        for event, counted in _PLAIN.items():
            many = told_of.get((event,), 0)
            yield _counter(counted.name, counted.help, [], [((), many)])
        yield _counter(
            "occurrences_passed",
            "Occurrences that went by in stretches of more than 100.",
            ["cause"],
            self._passed.items(),
        )
        yield _histogram(
            "run_lateness_seconds",
            "From the scheduled instant to the first attempt's start.",
            ["target"],
            self._lateness,
        )
        yield _histogram(
            "attempt_duration_seconds", "One handing over to a target.", ["target"], self._attempts
        )
        for what, text in _DURATIONS.items():
            yield _histogram(f"{what}_seconds", text, [], self._durations[what.split("_dur")[0]])
        for name, (text, read) in list(self._gauges.items()):
            family = GaugeMetricFamily(f"campaignd_{name}", text)
            if (value := read()) is not None:
                family.add_metric([], value)
            yield family


_DURATIONS = {
    "claim_duration": "One batch of due events, claimed.",
    "finish_duration": "One batch of outcomes, written.",
    "loop_lag": "How late the event loop comes to what it has promised.",
}


def _counter(
    name: str, text: str, labels: list[str], rows: Sequence[tuple[tuple[str, ...], float]]
) -> Metric:
    family = CounterMetricFamily(f"campaignd_{name}", text, labels=labels)
    for values, many in rows:
        family.add_metric(values, many)
    return family


def _histogram(name: str, text: str, labels: list[str], spread: Spread) -> Metric:
    family = HistogramMetricFamily(f"campaignd_{name}", text, labels=labels)
    for values, buckets, total in spread.items():
        family.add_metric(values, buckets, total)
    return family


def _handed_over_ms(fields: dict[str, Any]) -> float | None:
    """How long a handing over took; what somebody else ended was counted before."""
    return fields.get("duration_ms") if fields.get("actor") is None else None


def _known(method: str) -> str:
    """The method, if it is one: anybody may write anything there, and each becomes a series."""
    known = ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS")
    return method if method in known else "(other)"
