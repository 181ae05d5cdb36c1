"""A server process with its own database, and HTTP clients with keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from daemon.domain.api_keys import Scope
from storage.api_keys import ApiKeys
from storage.engine import Database
from tests.support.campaign_database import CampaignDatabase
from tests.support.postgres import url_for_application
from tests.support.processes import Daemons, Process

TIMEOUT_S = 60.0
NO_LIMIT = {"api__rate_limit": "1000000/second", "api__failure_limit": "1000000/second"}


class RunningApi:
    """One server, its database, and a client with a key for each scope."""

    def __init__(
        self,
        process: Process,
        database: CampaignDatabase,
        port: int,
        keys: dict[Scope, str] | None = None,
    ) -> None:
        self.process = process
        self.database = database
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.keys = keys or {scope: self.create_key(f"the {scope} key", scope) for scope in Scope}
        self.http = self.client()

    def create_key(self, name: str, scope: Scope = Scope.WRITE) -> str:
        """Create a key and return its secret."""

        async def create() -> str:
            database = Database(self.database.url, pool_size=1)
            try:
                return (await ApiKeys(database).create(name, scope))[1]
            finally:
                await database.close()

        return asyncio.run(create())

    def client(self, scope: Scope | None = Scope.WRITE, **more: Any) -> httpx.Client:
        """Return a client with the key of a scope, or without a key if the scope is None."""
        headers = {"Content-Type": "application/json"}
        if scope is not None:
            headers["Authorization"] = f"Bearer {self.keys[scope]}"
        return httpx.Client(
            base_url=f"{self.url}/api/v1", headers=headers, timeout=TIMEOUT_S, **more
        )

    def create_campaign(self, **fields: Any) -> dict[str, Any]:
        """Create a campaign."""
        answer = self.http.post("/campaigns", json={"name": "a campaign", **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def create_armed_campaign(self, **fields: Any) -> dict[str, Any]:
        """Create a campaign with a daily schedule."""
        made = self.create_campaign(**fields)
        body = {
            "schedule_type": "recurring",
            "recurring_config": {"frequency": "daily", "time": "09:00"},
        }
        answer = self.http.post(f"/campaigns/{made['id']}/schedule", json=body)
        assert answer.status_code == 200, answer.text
        return made

    def status_of(self, campaign: dict[str, Any]) -> str:
        """Return the campaign's status."""
        return str(self.http.get(f"/campaigns/{campaign['id']}").json()["status"])

    def events_of(self, campaign: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the campaign's history from the database, oldest first."""
        return self.database.rows(
            "SELECT * FROM campaign_events WHERE campaign_id = %s ORDER BY id", campaign["id"]
        )


def get_without_key(url: str, **more: Any) -> httpx.Response:
    """Send one request without a key, on a connection of its own."""
    return httpx.get(url, timeout=TIMEOUT_S, **more)


@contextmanager
def running_server(
    directory: Path,
    database_url: str,
    command: str = "run",
    keys: dict[Scope, str] | None = None,
    **settings: object,
) -> Iterator[RunningApi]:
    """Start a server with the role that runs campaignd.

    Args:
        directory: of the process.
        database_url: the URL of the database, with which the test itself connects.
        command: `run` or `api`.
        keys: of another server on the same database.
        settings: of the server, with two underscores for the dot.
    """
    daemons = Daemons(directory)
    values = {"api__enabled": "true", "api__port": 0, **NO_LIMIT, **settings}
    try:
        env = daemons.environment(url_for_application(database_url), **values)
        process = daemons.start_command(command, env=env)
        process.wait_for("ready")
        listening = process.wait_for("api_listening")
        with CampaignDatabase(database_url) as database:
            api = RunningApi(process, database, listening["port"], keys)
            with contextlib.closing(api.http):
                yield api
    finally:
        daemons.end_all()


def instant_ahead(**ahead: float) -> datetime:
    """Return an instant in the future, in UTC, at a whole second."""
    return (datetime.now(UTC) + timedelta(**(ahead or {"days": 1}))).replace(microsecond=0)


def request_text(at: datetime) -> str:
    """Format an instant as request bodies have it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
