"""Real processes on a real database, one of each for every test that asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.machines.image import Images, images, why_not
from tests.support.private_server import Server, private_server
from tests.support.processes import Daemons


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    """Starts `campaignd` processes; whatever happens, none outlives the test."""
    started = Daemons(tmp_path)
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def database(database_url: str) -> Iterator[CampaignDatabase]:
    """This test's own migrated database."""
    with CampaignDatabase(database_url) as found:
        yield found


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that the module's tests may crash."""
    with private_server() as server:
        yield server


@pytest.fixture(scope="session")
def image() -> Iterator[Images]:
    """The container image of what is checked out here, for all who run it."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with images() as made:
        began = time.monotonic()
        made.build()
        print(f"\nbuilt in {time.monotonic() - began:.0f} s: {made.size()}")
        yield made
