"""The benchmark of durable fires: its table, its JSON object, and campaignd ahead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.alone, pytest.mark.measured]

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "durable_fire.py"


def test_campaignd_is_ahead_of_apscheduler_in_a_short_burst() -> None:
    """Both run with full durability, and the table repeats the figures of the object."""
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--json", "--campaigns", "2000", "--jobs", "300"],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ours, theirs = found["measured"]
    assert (ours["fires"], theirs["fires"]) == (2000, 300)
    for row in (ours, theirs):
        assert 0 <= row["late_p50_ms"] <= row["late_p99_ms"] <= row["late_max_ms"]
    assert 0 < ours["idle_mb"] <= ours["peak_mb"]
    assert ours["cpu_us"] > 0
    assert found["ratio"] == pytest.approx(ours["fires_per_s"] / theirs["fires_per_s"], abs=0.01)
    assert found["ratio"] > 1
    assert found["of_limit"] == pytest.approx(ours["fires_per_s"] / found["limit"], abs=0.01)
    assert 0 < found["of_limit"] < 1
    assert found["server"]["fsync"] == found["server"]["synchronous_commit"] == "on"

    server, heads, first, second, limit, ratio = done.stderr.splitlines()
    assert server.startswith("PostgreSQL server_version 1")
    assert heads.split()[:3] == ["fires", "fires/s", "p50"]
    assert first.split()[:2] == ["campaignd", "2000"]
    assert second.split()[:4] == ["APScheduler", "+", "SQLAlchemyJobStore", "300"]
    assert limit.startswith("raw SQL limit ")
    assert float(ratio.removeprefix("ratio ")) == pytest.approx(found["ratio"], abs=0.1)
    print(f"\n{done.stderr}")
