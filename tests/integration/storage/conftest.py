"""Fixtures of the storage tests."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.database_node import DatabaseNode
from tests.support.embedded_child import running_server_of
from tests.support.timed_database import TimedDatabase, open_timed_database


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state directory with a space in its name, which every user can reach."""
    top = Path(tempfile.mkdtemp(prefix="campaignd test "))
    top.chmod(0o755)
    place = top / "state dir"
    yield place
    if place.is_dir() and (running := running_server_of(place)):
        os.kill(running.pid, signal.SIGQUIT)
    shutil.rmtree(top, ignore_errors=True)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[TimedDatabase]:
    """An empty database, with a clock that the test sets."""
    async with open_timed_database(database_url) as db:
        yield db


@pytest.fixture
async def node(db: TimedDatabase) -> DatabaseNode:
    """A node that claims and finishes on the test's calls."""
    return await db.register_node()
