"""A database that campaignd cannot use is refused in one sentence, by every command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.in_process import command_runner
from tests.support.postgres import fresh_database

COMMANDS = ("db upgrade", "db current", "run --no-api", "campaigns", "status", "import -")


@pytest.fixture(params=["SQL_ASCII", "LATIN1", "another program"])
def unsuitable(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[tuple[str, str]]:
    """The URL of a database, and what is wrong with it."""
    if request.param != "another program":
        with fresh_database(postgres_server, encoding=request.param) as (_, url):
            yield url, f"the database's encoding is {request.param}; campaignd needs UTF8"
        return
    with fresh_database(postgres_server) as (_, url):
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num varchar(32))")
            connection.execute("INSERT INTO alembic_version VALUES ('7e2a18d9c0aa')")
        yield url, "the database has the schema of another program (alembic_version 7e2a18d9c0aa)"


def test_every_command_refuses_it(unsuitable: tuple[str, str], tmp_path: Path) -> None:
    """With exit code 4 and advice, at once."""
    url, reason = unsuitable
    call = command_runner(url, tmp_path)
    for command in COMMANDS:
        done = call(*command.split())
        assert done.returncode == 4, command
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"campaignd: error: {reason} ("), command
        assert "SELECT" not in done.stderr


def test_a_check_fails(unsuitable: tuple[str, str], tmp_path: Path) -> None:
    """One line says why."""
    url, reason = unsuitable
    done = command_runner(url, tmp_path)("check")
    assert (done.returncode, done.stderr) == (1, "")
    (failed,) = [line for line in done.stdout.splitlines() if line.startswith("failed ")]
    assert f": {reason} (" in failed
