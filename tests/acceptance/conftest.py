"""Real processes and a real database for each test."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.machines.image import ImageBuilder, image_builder, why_no_images
from tests.support.machines.installed_daemon import installed_machine
from tests.support.machines.systemd import Machine
from tests.support.machines.systemd import why_no_machine as why_no_systemd
from tests.support.postgres import PostgresServer, private_server


@pytest.fixture
def database(superuser_url: str) -> Iterator[CampaignDatabase]:
    """A migrated database for this test only."""
    with CampaignDatabase(superuser_url) as found:
        yield found


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that the tests of the module may crash."""
    with private_server() as server:
        yield server


@pytest.fixture(scope="session")
def image() -> Iterator[ImageBuilder]:
    """The container image of this checkout, built once for all tests."""
    if (reason := why_no_images()) is not None:
        pytest.skip(reason)
    with image_builder() as made:
        began = time.monotonic()
        made.build()
        print(f"\nbuilt in {time.monotonic() - began:.0f} s: {made.size_of()}")
        yield made


@pytest.fixture(scope="session")
def installed() -> Iterator[Machine]:
    """A machine on which only the install commands of systemd/README.md were run."""
    if (reason := why_no_systemd()) is not None:
        pytest.skip(reason)
    with installed_machine() as made:
        yield made
