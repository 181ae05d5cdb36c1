"""Prometheus metrics: counted from the log events, rendered for each scrape.

Loaded only if the HTTP interface is enabled. docs/metrics.md lists every metric.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from threading import Lock
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client import Counter as CounterMetric
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

# Prometheus records itself when a series began.
disable_created_metrics()  # type: ignore[no-untyped-call]

MAX_TARGETS = 1000
"""Maximum targets with series of their own; a campaign can name any target."""
OTHER = "(other)"
"""The label value of all series above a maximum."""
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (*_SHORT, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_METHODS = frozenset({"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"})

BY_TARGET = {
    "run_claimed": ("runs_claimed", "Runs that this node claimed."),
    "run_finished": ("runs_finished", "Runs that completed."),
    "run_failed": ("runs_failed", "Runs that failed and are not retried."),
    "run_cancelled": ("runs_cancelled", "Runs cancelled because their campaign was stopped."),
    "run_missed": ("runs_missed", "Occurrences that were too late, or passed while paused."),
    "run_skipped": ("runs_skipped", "Occurrences skipped because of another run."),
    "run_queued": ("runs_queued", "Runs that waited for the campaign's open run."),
    "run_retrying": ("attempts_failed", "Failed attempts that are followed by another."),
    "run_accepted": ("runs_accepted", "Runs that their target finishes later."),
    "run_held": ("runs_held", "Runs held until an operator decides."),
    "target_paused": ("target_pauses", "Times that a target's circuit breaker opened."),
}
"""Counters with the label `target`, by the event that they count."""
PLAIN = {
    "lease_lost": ("leases_lost", "Outcomes refused because another node had the run."),
    "node_lost": ("nodes_lost", "Dead nodes whose runs this node reclaimed."),
    "node_replaced": ("lease_expiries", "Times that this node's own lease expired."),
    "listen_lost": ("listen_reconnects", "Times that the notification connection was lost."),
    "database_lost": ("database_outages", "Times that the database became unavailable."),
    "claim_failed": (
        "claims_failed",
        "Refused claims that were logged, at most one a minute for each campaign.",
    ),
    "finish_failed": ("finishes_failed", "Outcomes that the database refused."),
}
"""Counters without labels, by the event that they count."""
_DURATIONS = {
    "claim": ("claim_duration_seconds", "Duration of one claim, a batch of due events."),
    "finish": ("finish_duration_seconds", "Duration of writing one batch of outcomes."),
    "loop_lag": ("loop_lag_seconds", "Delay of the event loop's timers."),
}
_OBSERVED = ("attempt", "lateness_ms", "duration_ms", "actor")
"""The keys of an ended run that histograms observe."""
_PAUSED = {"target_paused": 1, "target_resumed": 0}
_ENDED = frozenset({"run_finished", "run_failed", "run_retrying", "run_accepted"})


@dataclass(frozen=True, slots=True)
class _TargetSeries:
    """The series of one target, looked up once: looking up a label costs more than counting."""

    count: dict[str, Callable[..., None]]
    lateness: Callable[[float, int], None]
    duration: Callable[[float, int], None]


class Metrics:
    """A subscriber of events that counts them for one process. Events may come from any thread."""

    def __init__(self, version: str = "") -> None:
        self.registry = CollectorRegistry()
        Info("campaignd_build", "The release that runs.", registry=self.registry).info(
            {"version": version}
        )
        self._events = self._add_counter("events", "Log events, by name.", "event")
        self._runs = {
            event: self._add_counter(*named, "target") for event, named in BY_TARGET.items()
        }
        self._count: dict[str, Callable[[], None]] = {}
        self._plain = {event: self._add_counter(*named).inc for event, named in PLAIN.items()}
        self._passed = self._add_counter(
            "occurrences_passed", "Occurrences that passed in stretches of more than 100.", "cause"
        )
        self._campaigns_paused = self._add_counter(
            "campaigns_paused", "Campaigns that a node has paused.", "cause"
        )
        self._audited_campaigns = self._add_counter(
            "audit_campaigns_checked", "Campaigns that the auditor looked at.", "pass"
        )
        self._audited_occurrences = self._add_counter(
            "audit_occurrences_checked", "Occurrences that the auditor compared with the runs."
        )
        self._lateness = self._add_histogram(
            "run_lateness_seconds",
            "Delay from the scheduled instant to the start of the first attempt.",
            "target",
            buckets=_LONG,
        )
        self._attempts = self._add_histogram(
            "attempt_duration_seconds", "Duration of one delivery.", "target", buckets=_LONG
        )
        self._paused = Gauge(
            "campaignd_target_paused",
            "1 while the circuit breaker of the target keeps runs from starting on this node.",
            ("target",),
            registry=self.registry,
        )
        self._targets: dict[str, _TargetSeries] = {}
        self._lock = Lock()
        self._requests = self._add_counter(
            "http_requests", "Requests answered.", "method", "path", "status"
        )
        self._seconds = self._add_histogram(
            "http_request_duration_seconds",
            "Duration from the request's head to the end of the response.",
            *("method", "path"),
        )
        self._gauges = _Gauges()
        self.registry.register(self._gauges)
        ProcessCollector(registry=self.registry)

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Count an event."""
        if (count := self._count.get(event)) is None:
            count = self._count.setdefault(event, self._events.labels(event).inc)
        count()
        if event in _PAUSED:
            self._paused.labels(str(fields["target"])).set(_PAUSED[event])
        if event in BY_TARGET:
            target = fields.get("target")
            series = self._targets.get(target) or self._series_of_target(str(target))  # type: ignore[arg-type]
            series.count[event]()
            if event in _ENDED:
                _observe_attempt(series, fields)
        elif event in self._plain:
            self._plain[event]()
        elif event == "occurrences_passed":
            self._passed.labels(str(fields["cause"])).inc(fields["count"])
        elif event == "campaign_paused":
            self._campaigns_paused.labels(fields["cause"]).inc()
        elif event == "audit_pass":
            self._audited_campaigns.labels(fields["look"]).inc(fields["campaigns"])
            self._audited_occurrences.inc(fields.get("occurrences", 0))
        elif event == "http_request":
            method, path = fields["method"], fields["path"]
            # A client can send any method, and each would become a series.
            method = method if method in _METHODS else OTHER
            self._requests.labels(method, path, str(fields["status"])).inc()
            self._seconds.labels(method, path).observe(fields["duration_ms"] / 1000)

    def emit_each(
        self,
        event: str,
        fields: dict[str, Any],
        keys: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Count an event for each row; see `daemon.domain.ports.emit_each`."""
        if event not in BY_TARGET or "target" in keys:
            for row in rows:
                self(event, **fields | dict(zip(keys, row, strict=True)))
            return
        self._events.labels(event).inc(len(rows))
        series = self._series_of_target(str(fields["target"]))
        series.count[event](len(rows))
        if event in _ENDED:
            # In a burst most rows have the same values, and one observation counts them all.
            observed = itemgetter(*(keys.index(key) for key in _OBSERVED))
            for values, times in Counter(map(observed, rows)).items():
                _observe_attempt(series, dict(zip(_OBSERVED, values, strict=True)), times)

    def start_target_series(self, targets: Iterable[str]) -> None:
        """Start the series of these targets at 0, so that the first failure is an increase."""
        for target in targets:
            self._series_of_target(target)
            self._paused.labels(target).set(0)

    def duration_observer(self, what: str) -> Callable[[float], None]:
        """Return the function that observes seconds: of ``claim``, ``finish`` or ``loop_lag``."""
        return self._add_histogram(*_DURATIONS[what]).observe

    def add_gauge(self, name: str, help: str, read: Callable[[], float | None]) -> None:
        """Add a gauge that is read at each scrape; it has no series while ``read`` returns None."""
        self._gauges.readers[name] = (help, read)

    def add_labelled_gauge(
        self,
        name: str,
        help: str,
        labels: Sequence[str],
        read: Callable[[], dict[tuple[str, ...], float]],
    ) -> None:
        """Add a gauge with a series for each key that ``read`` returns at a scrape."""
        self._gauges.labelled[name] = (help, labels, read)

    def render(self) -> tuple[bytes, str]:
        """Return the exposition and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def _series_of_target(self, target: str) -> _TargetSeries:
        with self._lock:
            if target not in self._targets and len(self._targets) >= MAX_TARGETS:
                target = OTHER
            if target not in self._targets:
                self._targets[target] = _TargetSeries(
                    {event: runs.labels(target).inc for event, runs in self._runs.items()},
                    self._lateness.labels(target).observe_times,
                    self._attempts.labels(target).observe_times,
                )
            return self._targets[target]

    def _add_counter(self, name: str, text: str, *labels: str) -> CounterMetric:
        return CounterMetric(f"campaignd_{name}", text, labels, registry=self.registry)

    def _add_histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SHORT
    ) -> _Histogram:
        return _Histogram(
            f"campaignd_{name}", text, labels, registry=self.registry, buckets=buckets
        )


def _observe_attempt(series: _TargetSeries, fields: dict[str, Any], times: int = 1) -> None:
    if fields.get("actor") is not None:
        # Another actor ended the run, whose delivery was observed when the target accepted it.
        return
    lateness, duration = fields.get("lateness_ms"), fields.get("duration_ms")
    if lateness is not None and fields.get("attempt") == 1:
        series.lateness(lateness / 1000, times)
    if duration is not None:
        series.duration(duration / 1000, times)


class _Histogram(Histogram):
    """A histogram that also takes many equal observations at once."""

    def observe_times(self, amount: float, times: int) -> None:
        """Observe an amount several times."""
        self._sum.inc(amount * times)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(times)


class _Gauges(Collector):
    """Gauges whose series is left out while there is no value; the library's own have no such."""

    def __init__(self) -> None:
        self.readers: dict[str, tuple[str, Callable[[], float | None]]] = {}
        self.labelled: dict[
            str, tuple[str, Sequence[str], Callable[[], dict[tuple[str, ...], float]]]
        ] = {}

    def collect(self) -> Iterator[Metric]:
        """Read every gauge."""
        for name, (text, read) in list(self.readers.items()):
            family = GaugeMetricFamily(f"campaignd_{name}", text)
            if (value := read()) is not None:
                family.add_metric([], value)
            yield family
        for name, (text, labels, read_each) in list(self.labelled.items()):
            family = GaugeMetricFamily(f"campaignd_{name}", text, labels=labels)
            for key, value in read_each().items():
                family.add_metric(key, value)
            yield family
