"""Edits through the nodes' HTTP interface, each with its own key, so that the history names it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from daemon.domain.api_keys import Scope
from storage.api_keys import ApiKeys
from storage.engine import Database

ANSWER_S = 3.0
UNKNOWN = {408, 429, 502, 503, 504}
"""Status codes that leave open whether the edit took place."""
ROUTES = {
    "save": ("POST", "schedule"),
    "update": ("PATCH", "update_schedule"),
    "clear": ("DELETE", "schedule"),
}


def key_name_of(number: int) -> str:
    """Return the name of an edit's key."""
    return f"edit {number}"


async def make_keys(url: str, count: int) -> list[str]:
    """Create ``count`` keys; return their secrets in order."""
    database = Database(url, pool_size=8)
    limit = asyncio.Semaphore(8)

    async def make_key(number: int) -> str:
        async with limit:
            return (await ApiKeys(database).create(key_name_of(number), Scope.WRITE))[1]

    try:
        return list(await asyncio.gather(*(make_key(number) for number in range(count))))
    finally:
        await database.close()


class EditClient:
    """A client of every node's HTTP interface."""

    def __init__(self, urls: Sequence[str], keys: Sequence[str]) -> None:
        self._urls = urls
        self._keys = keys
        self._client = httpx.AsyncClient(timeout=ANSWER_S)

    def has_key(self, number: int) -> bool:
        """Return whether a key is left for this edit."""
        return number < len(self._keys)

    async def send_edit(
        self, number: int, node: int, ref: object, name: str, body: dict[str, Any] | None
    ) -> tuple[str, str]:
        """Make one edit; return done, refused, unknown, or broken (a bug of the daemon), and its
        text.
        """
        method, last = ROUTES.get(name, ("POST", name))
        url = f"{self._urls[node % len(self._urls)]}/api/v1/campaigns/{ref}/{last}"
        headers = {"Authorization": f"Bearer {self._keys[number]}"}
        if name == "rerun":
            headers["Idempotency-Key"] = key_name_of(number)
        try:
            answer = await self._client.request(method, url, json=body, headers=headers)
        except httpx.HTTPError as error:
            return "unknown", repr(error)
        if answer.status_code == 200:
            return "done", ""
        if answer.status_code in UNKNOWN:
            return "unknown", answer.text[:200]
        refused = 400 <= answer.status_code < 500 and answer.status_code not in (401, 403)
        return "refused" if refused else "broken", f"{answer.status_code} {answer.text[:300]}"

    async def close(self) -> None:
        """Close the client."""
        await self._client.aclose()
