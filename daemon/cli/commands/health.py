"""`campaignd health`: is the daemon beside this command well, and if not, what is wrong?

Asks the daemon's own HTTP interface; where that is off or does not answer, the database, in which
every node that fires holds a lease. What a container's health check runs: nothing else is needed
for it, and the answer comes within seconds.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.opening import context_of

if TYPE_CHECKING:
    from config.settings import Settings

ANSWER_S = 5.0
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def health(
    context: typer.Context,
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Another node; by its lease, unless --port is given."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Where it serves HTTP; default: the setting api.port."),
    ] = None,
) -> int:
    """Say of process, database, schema and scheduler whether each is well; exit code 0 or 1."""
    settings = context_of(context).settings(api__port=port)
    name = node or settings.node_name
    # On which port another node serves, the settings do not know.
    asks_http = bool(port) or (node is None and settings.api.enabled and settings.api.port != 0)
    checks = _ask(settings) if asks_http else ""
    if isinstance(checks, str):
        absent, checks = checks, asyncio.run(_look(settings, name))
        if absent and "scheduler" in checks:
            if checks["scheduler"] == "ok":
                print(f"ok process: {name} holds its lease; no HTTP interface, {absent}")
            else:
                checks["process"] = f"{absent}: it starts, or is gone"
    good = True
    for what, found in checks.items():
        good = good and found == "ok"
        print(f"ok {what}" if found == "ok" else f"failed {what}: {found}")
    return 0 if good else 1


def _place(settings: Settings) -> str:
    host = _EVERY_ADDRESS.get(settings.api.host, settings.api.host)
    return f"[{host}]:{settings.api.port}" if ":" in host else f"{host}:{settings.api.port}"


def _ask(settings: Settings) -> dict[str, str] | str:
    """What /readyz says; when there is none, why."""
    host = _EVERY_ADDRESS.get(settings.api.host, settings.api.host)
    connection = http.client.HTTPConnection(host, settings.api.port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/readyz", headers={"Connection": "close"})
        answer = connection.getresponse()
        found = json.loads(answer.read())["checks"]
        return {"process": "ok", **{str(name): str(text) for name, text in found.items()}}
    except TimeoutError:
        return {"process": f"wedged: no answer on {_place(settings)} within {ANSWER_S:g} s"}
    except ConnectionRefusedError:
        return f"nothing listens on {_place(settings)}"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return f"{_place(settings)} is not a campaignd: {type(error).__name__}"
    finally:
        connection.close()


async def _look(settings: Settings, node: str) -> dict[str, str]:
    """What the database says of a node."""
    from daemon.domain.errors import Unavailable
    from storage.cluster_reads import live_nodes
    from storage.embedded import EmbeddedError, embedded_dsn
    from storage.engine import Database
    from storage.errors import SchemaOutOfDate
    from storage.schema import require_schema

    try:
        dsn = settings.database_url or embedded_dsn(settings.state_dir)
    except EmbeddedError as error:
        return {"database": str(error) + (f" ({error.hint})" if error.hint else "")}
    database = Database(dsn, pool_size=1, pool_timeout=ANSWER_S)
    checks: dict[str, str] = {}
    try:
        async with asyncio.timeout(ANSWER_S), database.statement() as connection:
            await require_schema(connection)
            checks = {"database": "ok", "schema": "ok"}
            if await live_nodes(connection, node):
                checks["scheduler"] = "ok"
            else:
                checks["scheduler"] = f"no node called {node} has a lease (--node names another)"
    except SchemaOutOfDate as error:
        checks = {"database": "ok", "schema": f"{error} ({error.hint})"}
    except (Unavailable, TimeoutError) as error:
        checks = {"database": f"can not be reached: {getattr(error, 'detail', 'no answer')}"}
    finally:
        await database.close()
    return checks
