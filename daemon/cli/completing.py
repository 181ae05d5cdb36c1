"""Words that the shell completes from the database and the configuration: ids, runs, targets, keys.

A completion never reports an error and never waits long: without an answer, nothing is suggested.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

from daemon.cli.table import SHORT_ID

if TYPE_CHECKING:
    from config.settings import Settings
    from storage.engine import Database

Words = list[tuple[str, str]]
"""Words with what a shell shows beside them."""

TIMEOUT_S = 1.0
"""Seconds that a press of the tab key may take in the database."""
_MOST = 200


def complete_refs(context: typer.Context, incomplete: str) -> Words:
    """Return the ids of the newest campaigns with their names, or a name that is one word."""

    async def read(database: Database) -> Words:
        from storage.campaign_reads import CampaignReads

        found = [each.campaign for each in await CampaignReads(database).campaigns(limit=_MOST)]
        ids = [(str(campaign.id), f"{campaign.name} ({campaign.status})") for campaign in found]
        if not incomplete or incomplete.isdigit():
            return ids
        return [(each.name, f"campaign {each.id}") for each in found if _is_word(each.name)]

    return _from_database(context, incomplete, read)


def complete_runs(context: typer.Context, incomplete: str) -> Words:
    """Return the short ids of the newest runs, with their campaigns and statuses."""

    async def read(database: Database) -> Words:
        from storage.campaign_reads import CampaignReads

        size = max(SHORT_ID, len(incomplete))
        return [
            (str(each.run.id)[:size], f"{each.campaign_name} ({each.run.status})")
            for each in await CampaignReads(database).runs(limit=_MOST)
        ]

    return _from_database(context, incomplete, read)


def complete_keys(context: typer.Context, incomplete: str) -> Words:
    """Return the names of the API keys that are not revoked."""

    async def read(database: Database) -> Words:
        from storage.api_keys import ApiKeys

        found = await ApiKeys(database).list()
        return [(key.name, f"scope {key.scope}") for key in found if key.revoked_at is None]

    return _from_database(context, incomplete, read)


def complete_targets(context: typer.Context, incomplete: str) -> Words:
    """Return the names of the configured targets, with their types."""
    with suppress(Exception):  # a completion reports nothing
        targets = _settings_of(context).targets
        return _matching([(name, each.type) for name, each in targets.items()], incomplete)
    return []


def _from_database(
    context: typer.Context, incomplete: str, read: Callable[[Database], Awaitable[Words]]
) -> Words:
    with suppress(Exception):  # a completion reports nothing
        settings = _settings_of(context)
        return _matching(asyncio.run(_read_within(settings, read)), incomplete)
    return []


async def _read_within(settings: Settings, read: Callable[[Database], Awaitable[Words]]) -> Words:
    from storage.embedded import embedded_dsn
    from storage.engine import Database

    dsn = settings.database_url or embedded_dsn(settings.state_dir)
    database = Database(dsn, pool_size=1)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await read(database)
    finally:
        await database.close()


def _settings_of(context: typer.Context) -> Settings:
    """Return the settings of the line so far: its options are parsed, but no command has begun."""
    from config.load import load_settings

    given: Any = context
    while given is not None:
        if (config := given.params.get("config")) is not None:
            return load_settings(config)
        given = given.parent
    return load_settings()


def _matching(words: Sequence[tuple[str, str]], incomplete: str) -> Words:
    return [word for word in words if word[0].startswith(incomplete)]


def _is_word(name: str) -> bool:
    """Return whether a shell takes the name for one word, without quotes."""
    return name.isprintable() and all(each.isalnum() or each in "._-" for each in name)
