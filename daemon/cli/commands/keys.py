"""`campaignd keys`: who may call the HTTP interface."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from daemon.cli.opening import Store, with_store
from daemon.cli.output import JsonOption, print_json, print_table
from daemon.domain.api_keys import NAME_LIMIT, ApiKey, Scope
from daemon.domain.errors import InvalidInput, NotFound

keys = typer.Typer(no_args_is_help=True)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="What the key is called.", show_default=False)
]


@keys.command("create")
def create(
    context: typer.Context,
    name: NameArgument,
    scope: Annotated[
        Scope, typer.Option(help="What it may do; each includes the one before.")
    ] = Scope.READ,
) -> int:
    """Make a key. Its secret goes to standard output, once; it is not kept anywhere."""
    if not 1 <= len(name) <= NAME_LIMIT or not name.isprintable():
        raise InvalidInput(
            400, "Invalid key values", f"a name has 1 to {NAME_LIMIT} printable characters"
        )

    async def work(store: Store) -> int:
        from storage.api_keys import ApiKeys

        key, secret = await ApiKeys(store.database).create(name, scope)
        print(f"key {key.id}, {name!r}, scope {scope}; shown this once:", file=sys.stderr)
        print(secret)
        return 0

    return with_store(context, work)


@keys.command("list")
def list_(context: typer.Context, json: JsonOption = False) -> int:
    """Every key there ever was; a revoked one stays listed."""

    async def work(store: Store) -> int:
        from storage.api_keys import ApiKeys

        found = await ApiKeys(store.database).list()
        if not json:
            columns = ("id", "name", "scope", "created", "last used", "revoked")
            print_table(columns, [tuple(_shown(key).values()) for key in found], "no keys")
            return 0
        for key in found:
            print_json(_shown(key))
        return 0

    return with_store(context, work)


@keys.command("revoke")
def revoke(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The key's name or id.", show_default=False)
    ],
) -> int:
    """End a key, from the next request on, on every node."""

    async def work(store: Store) -> int:
        from storage.api_keys import ApiKeys

        kept = ApiKeys(store.database)
        try:
            key = await kept.revoke(name)
        except NotFound:
            if not (name.isascii() and name.isdigit() and len(name) < 19):
                raise
            key = await kept.revoke_id(int(name))
        print(f"key {key.id}, {key.name!r}, is revoked", file=sys.stderr)
        return 0

    return with_store(context, work)


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }
