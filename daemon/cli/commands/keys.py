"""`campaignd keys create | list | revoke`: API keys."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from daemon.cli.output import JsonOption, print_json, print_table
from daemon.cli.store import Store, with_store
from daemon.domain.api_keys import NAME_LIMIT, ApiKey, Scope
from daemon.domain.errors import InvalidInput, NotFound
from storage.api_keys import ApiKeys

keys = typer.Typer(help="Create, list and revoke API keys.")


@keys.command()
def create(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name of the key.", show_default=False)
    ],
    scope: Annotated[
        Scope,
        typer.Option(
            help="The permissions; admin includes write, and write includes read and worker."
        ),
    ] = Scope.READ,
) -> int:
    """Create a key, and print its secret to standard output.

    The secret is shown this once: only its hash is stored.
    """
    if not 1 <= len(name) <= NAME_LIMIT or not name.isprintable():
        raise InvalidInput(
            400, "Invalid key values", f"a name has 1 to {NAME_LIMIT} printable characters"
        )

    async def create_key(store: Store) -> None:
        key, secret = await ApiKeys(store.database).create(name, scope)
        print(f"key {key.id}, {name!r}, scope {scope}; shown this once:", file=sys.stderr)
        print(secret)

    return with_store(context, create_key)


@keys.command("list")
def list_(context: typer.Context, json: JsonOption = False) -> int:
    """List all keys, also revoked ones."""

    async def list_keys(store: Store) -> None:
        found = await ApiKeys(store.database).list()
        if not json:
            columns = ("id", "name", "scope", "created", "last used", "revoked")
            print_table(columns, [tuple(_as_json(key).values()) for key in found], "no keys")
            return
        for key in found:
            print_json(_as_json(key))

    return with_store(context, list_keys)


@keys.command()
def revoke(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The key's name or id.", show_default=False)
    ],
) -> int:
    """Revoke a key: every node refuses it from the next request on."""

    async def revoke_key(store: Store) -> None:
        stored = ApiKeys(store.database)
        try:
            key = await stored.revoke(name)
        except NotFound:
            if not (name.isascii() and name.isdigit() and len(name) < 19):
                raise
            key = await stored.revoke_id(int(name))
        print(f"key {key.id}, {key.name!r}, is revoked", file=sys.stderr)

    return with_store(context, revoke_key)


def _as_json(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }
