"""The short form of the chaos test: one episode by a fixed seed. `make chaos` is the long form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chaos import namespaces, nemesis
from tests.support.chaos.episode import run_episode
from tests.support.postgres import PostgresServer, private_server

SEED = 20
LENGTH_S = 22


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    with private_server() as server:
        yield server


@pytest.fixture
def switch() -> Iterator[namespaces.Switch | None]:
    """Create a namespace for each node, where the machine allows it."""
    if namespaces.why_no_namespaces() is not None:
        yield None
        return
    with namespaces.network_switch(3) as found:
        yield found


@pytest.mark.alone
@pytest.mark.slow
def test_nothing_is_lost_doubled_or_stuck(
    own_server: PostgresServer, tmp_path: Path, switch: namespaces.Switch | None
) -> None:
    """Three daemons, the fixed faults and some drawn ones, with edits all the while."""
    report = run_episode(
        own_server,
        tmp_path,
        SEED,
        nodes=3,
        length=LENGTH_S,
        scale=0.5,
        switch=switch,
        first=nemesis.MUST,
    )
    print(f"\n{report}\nfaults: {dict(report.faults)}")
    must = {fault.kind for fault in nemesis.MUST}
    wired = set() if switch else set(nemesis.WIRED)
    assert set(report.faults) >= must - wired
    assert report.edits.total() > 20
    assert any(edit.endswith(" done") for edit in report.edits)
    assert report.found.is_good, "\n".join([str(report), *report.found.problems()])
    assert report.found.occurrences > 100
    assert report.found.judged_for_lateness > 0


def test_the_same_seed_draws_the_same_faults() -> None:
    """A reported seed repeats its episode."""
    assert nemesis.draw_faults(7, 3, 60) == nemesis.draw_faults(7, 3, 60)
    assert nemesis.draw_faults(7, 3, 60) != nemesis.draw_faults(8, 3, 60)
    drawn = {fault.kind for seed in range(20) for fault in nemesis.draw_faults(seed, 3, 60)}
    assert drawn == set(nemesis.KINDS)


def test_impossible_faults_are_left_out() -> None:
    """Faults that are impossible here are left out of the drawn ones, and reported."""
    drawn = nemesis.draw_faults(7, 3, 60)
    cannot = dict.fromkeys(nemesis.WIRED, "no namespaces")
    done, left_out = nemesis.split_possible(drawn, cannot)
    assert done
    assert left_out
    assert {fault.kind for fault in left_out} <= set(cannot)
    assert sorted([*done, *left_out], key=drawn.index) == drawn


def test_fixed_faults_come_before_drawn_ones() -> None:
    """The fixed faults cover at least these kinds."""
    faults = nemesis.draw_faults(7, 3, 40, first=nemesis.MUST)
    assert faults[: len(nemesis.MUST)] == list(nemesis.MUST)
    assert len(faults) > len(nemesis.MUST)
    ends = max(fault.heals for fault in nemesis.MUST)
    assert all(fault.begins > ends for fault in faults[len(nemesis.MUST) :])
    assert {fault.kind for fault in nemesis.MUST} >= {
        "kill", "clock", "server killed", "backend killed", "silence", "unplugged", "freeze",
    }  # fmt: skip
