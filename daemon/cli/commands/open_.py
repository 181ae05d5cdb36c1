"""`campaignd open`: a link that logs a browser in to the console."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from config.settings import Settings
from daemon.cli.store import Store, with_store
from daemon.domain.api_keys import LINK_LIFE, Scope
from daemon.domain.audit import ORIGIN
from daemon.domain.errors import NotFound
from storage.api_keys import ApiKeys
from storage.page_sessions import PageSessions

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}


def open_(
    context: typer.Context,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The API key as which the browser is logged in. Default: the key with the name of "
            "your user, which is created with the scope admin where there is none.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Print a link that opens the console, logged in.

    The link works once, and for ten minutes. The history names the key as the actor of changes.
    """

    async def print_link(store: Store) -> None:
        link = await create_login_link(store, key)
        print(link)
        minutes = int(LINK_LIFE.total_seconds() // 60)
        print(f"The link works once, within {minutes} minutes.", file=sys.stderr)

    return with_store(context, print_link)


async def create_login_link(
    store: Store, key: str | None = None, *, port: int | None = None
) -> str:
    """Return a link of a key, or of that of the user, which is created where there is none.

    Args:
        store: the database.
        key: the name of the key.
        port: where the console listens on this machine, if not as configured.

    Raises:
        NotFound: no key in force has the name.
    """
    sessions = PageSessions(store.database)
    name = key or ORIGIN.get().actor.removeprefix("cli:")
    token = await sessions.create_link(name)
    if token is None and key is None:
        # Its secret is thrown away: only links open the console with this key.
        await ApiKeys(store.database).create(name, Scope.ADMIN)
        token = await sessions.create_link(name)
    if token is None:
        raise NotFound(f"no key in force has the name {name!r}", message="Key not found")
    url = _console_url(store.settings) if port is None else f"http://127.0.0.1:{port}"
    return f"{url}/login?link={token}"


def _console_url(settings: Settings) -> str:
    api = settings.api
    if api.public_url is not None:
        parts = urlsplit(api.public_url)
        return f"{parts.scheme}://{parts.netloc}"
    return f"http://{_EVERY_ADDRESS.get(api.host, api.host)}:{api.port}"
