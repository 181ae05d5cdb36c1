"""`campaignd keys create | list | rotate | revoke`: API keys."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import typer

from daemon.cli.completing import complete_keys
from daemon.cli.options import displays
from daemon.cli.output import print_objects, print_table
from daemon.cli.screen import Output, screen
from daemon.cli.store import Store, with_store
from daemon.cli.table import Column
from daemon.domain.api_keys import INVALID_VALUES, MAX_OVERLAP, NAME_LIMIT, ApiKey, Scope
from daemon.domain.errors import InvalidInput, NotFound
from daemon.domain.formatting import utc_text
from daemon.domain.requests.datetimes import parse_date_or_instant
from daemon.domain.requests.fields import datetime_fault
from storage.api_keys import ApiKeys

keys = typer.Typer(help="Create, list, rotate and revoke API keys.", no_args_is_help=True)

T = TypeVar("T")
_COLUMNS = (
    *(Column("id"), Column("name", can_shrink=True), Column("scope")),
    *(Column("status", is_outcome=True), Column("last used"), Column("from", is_second=True)),
    *(Column("created", is_second=True), Column("expires", is_second=True)),
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_is_time = re.compile(r"([0-9]{1,5})([mhdw])").fullmatch


def _parse_duration(text: str) -> timedelta | None:
    """Return a length of time such as 90d, or None for all other texts."""
    found = _is_time(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


def _parse_expiry(text: str) -> datetime | timedelta:
    length = _parse_duration(text)
    if length is not None:
        return length
    at = parse_date_or_instant(text)
    if at is not None:
        return at
    form = "a length of time such as 90d, a date, or an instant such as 2031-07-01T09:00:00Z"
    raise typer.BadParameter(datetime_fault(text, form))


def _parse_overlap(text: str) -> timedelta:
    overlap = _parse_duration(text)
    if overlap is None or overlap > MAX_OVERLAP:
        raise typer.BadParameter(
            f"{text!r} is not a length of time such as 24h, of at most {MAX_OVERLAP.days} days"
        )
    return overlap


NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The key's name or id.",
        show_default=False,
        autocompletion=complete_keys,
    ),
]
ExpiryOption = Annotated[
    # The parser also returns a timedelta; Typer accepts no union of the two.
    datetime | None,
    typer.Option(
        "--expires",
        metavar="TIME",
        parser=_parse_expiry,
        help="When the key ends: a length of time (90d; m, h, d or w), a date (00:00 UTC) or an "
        "instant.",
        show_default=False,
    ),
]


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
    expires: ExpiryOption = None,
) -> int:
    """Create a key, and print its secret to standard output.

    The secret is shown this once: only its hash is stored.
    """
    if not 1 <= len(name) <= NAME_LIMIT or not name.isprintable():
        raise InvalidInput(
            400, INVALID_VALUES, f"a name has 1 to {NAME_LIMIT} printable characters"
        )

    async def create_key(store: Store) -> None:
        key, secret = await ApiKeys(store.database).create(name, scope, expires)
        _print_secret(key, secret)

    return with_store(context, create_key)


@keys.command("list")
@displays
def list_(context: typer.Context) -> int:
    """List all keys, also revoked and expired ones."""

    async def list_keys(store: Store) -> None:
        found = await ApiKeys(store.database).list()
        if screen().output is Output.TABLE:
            print_table(_COLUMNS, map(_key_row, found), "no keys")
        else:
            print_objects(map(asdict, found))

    return with_store(context, list_keys)


@keys.command()
def rotate(
    context: typer.Context,
    name: NameArgument,
    overlap: Annotated[
        timedelta,
        typer.Option(
            metavar="TIME",
            parser=_parse_overlap,
            help="How long the previous secret works too, such as 30m, 24h or 7d; 0h: not at all.",
        ),
    ] = "24h",  # type: ignore[assignment]
    expires: ExpiryOption = None,
) -> int:
    """Give a key a new secret, and print it to standard output.

    Id, name and scope stay. The previous secret works until the overlap ends.
    """

    async def rotate_key(store: Store) -> None:
        stored = ApiKeys(store.database)
        key, secret = await _change_by_name_or_id(
            lambda key: stored.rotate(key, overlap, expires), name
        )
        _print_secret(key, secret)
        if key.previous_until is not None:
            until = utc_text(key.previous_until)
            print(f"the previous secret works until {until}", file=sys.stderr)

    return with_store(context, rotate_key)


@keys.command()
def revoke(context: typer.Context, name: NameArgument) -> int:
    """Revoke a key: every node refuses it from the next request on."""

    async def revoke_key(store: Store) -> None:
        key = await _change_by_name_or_id(ApiKeys(store.database).revoke, name)
        print(f"key {key.id}, {key.name!r}, is revoked", file=sys.stderr)

    return with_store(context, revoke_key)


async def _change_by_name_or_id(change: Callable[[int | str], Awaitable[T]], name: str) -> T:
    """Apply a change to the key with this name, or with this id if no key has the name."""
    try:
        return await change(name)
    except NotFound:
        if not (name.isascii() and name.isdigit() and len(name) < 19):
            raise
        return await change(int(name))


def _print_secret(key: ApiKey, secret: str) -> None:
    until = f", until {utc_text(key.expires_at)}" if key.expires_at else ""
    print(
        f"key {key.id}, {key.name!r}, scope {key.scope}{until}; shown this once:", file=sys.stderr
    )
    print(secret)


def _key_row(key: ApiKey) -> Sequence[object]:
    status = key.status.replace("_", " ")
    return (
        *(key.id, key.name, key.scope, status, key.last_used_at),
        *(key.last_used_from, key.created_at, key.expires_at),
    )
