"""One server for all tests of a module; each test works on campaigns of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_server import RunningApi, running_server
from tests.support.postgres import fresh_database


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, template_database: str
) -> Iterator[RunningApi]:
    """Yield `campaignd run` with the API, on a fresh database."""
    with fresh_database(postgres_server, template_database) as (_, url):
        directory: Path = tmp_path_factory.mktemp("api")
        with running_server(directory, url) as found:
            yield found
