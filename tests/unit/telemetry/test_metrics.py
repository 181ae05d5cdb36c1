"""Metrics: the events that are counted, and the exposition."""

from __future__ import annotations

import re
import subprocess
import sys
from threading import Thread

from prometheus_client.parser import text_string_to_metric_families

from daemon.telemetry.event_log import FanOut
from daemon.telemetry.events import EVENTS
from daemon.telemetry.metrics import BY_TARGET, MAX_TARGETS, PLAIN, Metrics


def values(metrics: Metrics) -> dict[str, float]:
    """Return every sample, by its name with its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.render()[0].decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_runs_are_counted_by_target() -> None:
    """Claimed and finished runs are counted, with lateness and duration of their attempts."""
    metrics = Metrics("1.2")
    for _ in range(3):
        metrics("run_claimed", target="mail", lateness_ms=1.4)
        metrics("run_finished", target="mail", attempt=1, lateness_ms=2.4, duration_ms=40.0)
    metrics("run_retrying", target="other", attempt=1, lateness_ms=2.4, duration_ms=40.0)
    metrics("run_finished", target="other", attempt=2, lateness_ms=2.4, duration_ms=40.0)
    metrics("run_accepted", target="later", attempt=1, lateness_ms=2.4, duration_ms=40.0)
    metrics("run_finished", target="later", attempt=1, lateness_ms=2.4, actor="api key 1")
    metrics("run_missed", target="log")
    metrics("lease_lost", target="log")
    metrics("occurrences_passed", cause="late", count=500)
    found = values(metrics)
    assert found["campaignd_runs_claimed_total{target=mail}"] == 3
    assert found["campaignd_runs_finished_total{target=mail}"] == 3
    assert found["campaignd_runs_missed_total{target=log}"] == 1
    assert found["campaignd_leases_lost_total{}"] == 1
    assert found["campaignd_occurrences_passed_total{cause=late}"] == 500
    lateness = "campaignd_run_lateness_seconds_"
    assert found[lateness + "bucket{le=0.001,target=mail}"] == 0
    assert found[lateness + "bucket{le=0.0025,target=mail}"] == 3
    assert found[lateness + "bucket{le=+Inf,target=mail}"] == 3
    assert found[lateness + "count{target=mail}"] == 3
    assert round(found[lateness + "sum{target=mail}"], 6) == 0.0072
    assert found[lateness + "count{target=other}"] == 1
    assert found[lateness + "count{target=later}"] == 1
    assert found["campaignd_attempt_duration_seconds_count{target=mail}"] == 3
    assert found["campaignd_attempt_duration_seconds_count{target=other}"] == 2
    assert found["campaignd_build_info{version=1.2}"] == 1


def test_a_run_that_another_actor_ended_was_delivered_before() -> None:
    """The run is counted as ended; the receiver's time is not a duration of a delivery."""
    metrics = Metrics()
    metrics("run_accepted", target="mail", duration_ms=40.0)
    metrics("run_finished", target="mail", duration_ms=90_000.0, actor="api:mail")
    metrics("run_failed", target="mail", duration_ms=None)
    found = values(metrics)
    assert found["campaignd_runs_finished_total{target=mail}"] == 1
    assert found["campaignd_attempt_duration_seconds_count{target=mail}"] == 1


def test_no_count_is_lost_between_threads() -> None:
    """The API's thread counts beside the scheduler's thread."""
    metrics, many = Metrics(), 5_000
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            Thread(
                target=lambda: [
                    metrics("run_failed", target="mail", attempt=1, lateness_ms=1.0, duration_ms=1)
                    for _ in range(many)
                ]
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    found = values(metrics)
    assert found["campaignd_events_total{event=run_failed}"] == 4 * many
    assert found["campaignd_runs_failed_total{target=mail}"] == 4 * many
    assert found["campaignd_run_lateness_seconds_count{target=mail}"] == 4 * many
    assert found["campaignd_attempt_duration_seconds_count{target=mail}"] == 4 * many


def test_what_never_happened_is_zero() -> None:
    """An alert on a rate needs the series from the start."""
    found = values(Metrics())
    for name, _ in PLAIN.values():
        assert found[f"campaignd_{name}_total{{}}"] == 0


def test_gauges_are_read_when_asked() -> None:
    """One without a value is left out."""
    metrics, now = Metrics(), [1.0]
    metrics.add_gauge("window_events", "Held.", lambda: now[0])
    metrics.add_gauge("next_fire_timestamp_seconds", "Next.", lambda: None)
    assert values(metrics)["campaignd_window_events{}"] == 1
    now[0] = 2
    found = values(metrics)
    assert found["campaignd_window_events{}"] == 2
    assert not any("next_fire" in name for name in found)


def test_durations() -> None:
    """Batches, and the event loop's lag."""
    metrics = Metrics()
    for what in ("claim", "finish", "loop_lag"):
        metrics.duration_observer(what)(0.02)
    found = values(metrics)
    for name in ("claim_duration", "finish_duration", "loop_lag"):
        assert found[f"campaignd_{name}_seconds_bucket{{le=0.025}}"] == 1


def test_every_counted_event_exists() -> None:
    """A renamed event would leave its counter at zero forever."""
    assert (BY_TARGET.keys() | PLAIN.keys()) <= EVENTS.keys()


def test_labels_from_outside_are_bounded() -> None:
    """A campaign can name any target; those above the maximum are counted together."""
    metrics = Metrics()
    for number in range(MAX_TARGETS + 50):
        metrics("run_failed", target=f"t{number}", attempt=1, lateness_ms=1.0, duration_ms=1.0)
    found = values(metrics)
    for name in (
        *("campaignd_runs_failed_total", "campaignd_run_lateness_seconds_count"),
        "campaignd_attempt_duration_seconds_count",
    ):
        counts = {series: count for series, count in found.items() if series.startswith(name)}
        assert len(counts) == MAX_TARGETS + 1
        assert counts.pop(f"{name}{{target=(other)}}") == 50
        assert set(counts.values()) == {1}


def test_a_value_on_a_bound_is_within_it() -> None:
    """`le` means at most."""
    metrics = Metrics()
    observe = metrics.duration_observer("claim")
    for value in (1.0, 1.5, 2.5, 90.0):
        observe(value)
    found = values(metrics)
    name = "campaignd_claim_duration_seconds_"
    assert found[name + "bucket{le=0.5}"] == 0
    assert found[name + "bucket{le=1.0}"] == 1
    assert found[name + "bucket{le=2.5}"] == 3
    assert found[name + "bucket{le=30.0}"] == 3
    assert found[name + "bucket{le=+Inf}"] == 4
    assert found[name + "sum{}"] == 95.0


def test_names_have_units() -> None:
    """Base units, as Prometheus has them."""
    metrics = Metrics()
    metrics("run_claimed", target="log", lateness_ms=1)
    text = metrics.render()[0].decode()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.M):
        assert kind != "counter" or name.endswith("_total"), name
        assert kind != "histogram" or name.endswith("_seconds"), name
        assert not re.search(r"_(ms|milliseconds|percent)\b", name)


def test_every_subscriber_receives_every_event() -> None:
    """Subscribers are called in order."""
    received: list[tuple[str, int]] = []
    fan_out = FanOut(
        lambda event, /, **fields: received.append((event, fields["n"])),
        lambda event, /, **fields: received.append((event, fields["n"] + 1)),
    )
    fan_out("ready", n=1)
    assert received == [("ready", 1), ("ready", 2)]


def test_nothing_is_loaded_without_the_api() -> None:
    """Neither the library of metrics nor the web framework."""
    script = "import sys, daemon.app; print({'prometheus_client', 'fastapi'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_expected_targets_begin_at_zero() -> None:
    """So that a first failure is a rise, which an alert can see."""
    metrics = Metrics()
    metrics.start_target_series(["mail"])
    found = values(metrics)
    assert found["campaignd_runs_failed_total{target=mail}"] == 0
    assert found["campaignd_run_lateness_seconds_count{target=mail}"] == 0
    metrics("run_failed", target="mail", duration_ms=1)
    metrics.start_target_series(["mail"])
    assert values(metrics)["campaignd_runs_failed_total{target=mail}"] == 1


def test_a_batch_counts_like_its_events_one_by_one() -> None:
    """Counters, lateness and duration, for runs of several outcomes."""
    keys = ("campaign_id", "attempt", "lateness_ms", "duration_ms", "actor")
    rows = [(1, 1, 3.0, 0.5, None), (2, 1, 3.0, 0.5, None), (3, 2, 70.0, 5.0, None)]
    rows += [(4, 1, 9_000.0, None, "worker"), (5, 1, 1.0, 1.0, None)]
    batch, single = Metrics(), Metrics()
    for event in ("run_finished", "run_claimed", "delivered"):
        batch.emit_each(event, {"target": "log"}, keys, rows)
        for row in rows:
            single(event, target="log", **dict(zip(keys, row, strict=True)))
    assert without_process(batch) == without_process(single)


def without_process(metrics: Metrics) -> list[str]:
    lines = metrics.render()[0].decode().splitlines()
    return [line for line in lines if "process_" not in line]
