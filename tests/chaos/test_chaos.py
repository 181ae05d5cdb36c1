"""The short form: one episode by a fixed seed. `make chaos` is the long one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.harness import Server, private_server
from tests.chaos import nemesis, wire
from tests.chaos.episode import run

pytestmark = pytest.mark.alone

SEED = 20


@pytest.fixture
def own_server() -> Iterator[Server]:
    with private_server() as server:
        yield server


@pytest.fixture
def switch() -> Iterator[wire.Switch | None]:
    """A namespace for each node, where there can be any."""
    if wire.why_not() is not None:
        yield None
        return
    with wire.switch(3) as found:
        yield found


@pytest.mark.slow
def test_nothing_is_lost_doubled_or_stuck(
    own_server: Server, tmp_path: Path, switch: wire.Switch | None
) -> None:
    """Three daemons, faults of every sort one after the other, edits all the while."""
    report = run(own_server, tmp_path, SEED, nodes=3, length=14, scale=0.5, switch=switch)
    print(f"\n{report}\nfaults: {dict(report.faults)}")
    assert report.found.is_good, "\n".join([str(report), *report.found.problems()])
    assert report.found.occurrences > 100
    assert report.found.judged_for_lateness > 0


def test_the_same_seed_draws_the_same_faults() -> None:
    """What a report names can be done again."""
    assert nemesis.draw(7, 3, 60) == nemesis.draw(7, 3, 60)
    assert nemesis.draw(7, 3, 60) != nemesis.draw(8, 3, 60)
    drawn = {fault.kind for seed in range(20) for fault in nemesis.draw(seed, 3, 60)}
    assert drawn == set(nemesis.KINDS)
