"""Other releases of campaignd: copies of the sources, made older or newer by edits."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from storage.schema import HEAD
from tests.support.processes import Daemons
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
PACKAGES = ("campaignd", "daemon", "storage", "config")
NEXT = f"{int(HEAD) + 1:04}"
AFTER_NEXT = f"{int(HEAD) + 2:04}"


class Release:
    """One release: its sources and its commands."""

    def __init__(self, directory: Path, version: str, daemons: Daemons) -> None:
        self.directory = directory
        self.version = version
        self.settings: dict[str, object] = {"PYTHONPATH": str(directory)}
        self._daemons = daemons
        for package in PACKAGES:
            shutil.copytree(
                ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        self.replace_in_source(
            "campaignd/__init__.py", r'__version__ = "[^"]*"', f'__version__ = "{version}"'
        )

    def replace_in_source(self, path: str, pattern: str, to: str) -> None:
        """Replace the only match of a pattern in these files."""
        total = 0
        for file in self.directory.glob(path):
            text, found = re.subn(pattern, to, file.read_text(), flags=re.S)
            total += found
            if found:
                file.write_text(text)
        assert total == 1, f"{path}: {pattern} is there {total} times"

    def set_newest_schema(self, schema: str) -> None:
        """Make that schema the newest one the release knows."""
        self.replace_in_source("storage/schema.py", r'HEAD = "\d+"', f'HEAD = "{schema}"')

    def add_migration(self, schema: str, before: str, since: str, upgrade: str) -> None:
        """Add a migration whose function `upgrade` has this body."""
        self.set_newest_schema(schema)
        versions = self.directory / "storage" / "migrations" / "versions"
        body = "".join(f"    {line}\n" for line in upgrade.strip().splitlines())
        (versions / f"v{schema}_test.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f'revision, down_revision = "{schema}", "{before}"\n'
            f'branch_labels = depends_on = None\ncompatible_since = "{since}"\n'
            f"def upgrade():\n{body}"
        )

    def run_command(
        self, url: str, *arguments: str, given: str | None = None, **settings: object
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the release's commands."""
        environment = self._daemons.environment(url, **self.settings, **settings)
        return subprocess.run(
            [sys.executable, "-P", "-m", "campaignd", *arguments],
            env=environment,
            cwd=self._daemons.directory,
            input=given,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )


EXPAND = """
tables = ("campaigns", "schedule_definitions", "timers", "runs", "campaign_events", "nodes")
for table in tables:
    op.execute(f"ALTER TABLE {table} ADD COLUMN later TEXT NOT NULL DEFAULT 'none'")
    op.execute(f"CREATE INDEX {table}_later_idx ON {table} (later)")
for view in ("armed_timers", "schedules"):
    text = op.get_bind().scalar(sa.text(f"SELECT pg_get_viewdef('{view}')"))
    columns, tables = text.split("\\n   FROM ")
    op.execute(f"CREATE OR REPLACE VIEW {view} AS {columns}, d.later FROM {tables}")
op.execute("CREATE TABLE later_table (id bigint PRIMARY KEY)")
"""
"""Adds something to every table and view."""

CONTRACT = """
op.execute("DROP TABLE later_table")
op.execute("ALTER TABLE nodes DROP COLUMN later")
"""
"""Removes something that only the release before the last one used."""


def next_release(directory: Path, daemons: Daemons) -> Release:
    """Return the release after this one, whose migration adds to every table."""
    release = Release(directory, "9.0.1", daemons)
    release.add_migration(NEXT, HEAD, HEAD, EXPAND)
    return release


def release_after_next(directory: Path, daemons: Daemons) -> Release:
    """Return the release after the next one, whose migration removes what this one needs."""
    release = Release(directory, "9.0.2", daemons)
    release.add_migration(NEXT, HEAD, HEAD, EXPAND)
    release.add_migration(AFTER_NEXT, NEXT, NEXT, CONTRACT)
    return release
