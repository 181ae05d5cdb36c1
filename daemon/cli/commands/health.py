"""`campaignd health`: whether the node beside this command is healthy, and the problem if not.

The command asks the daemon's HTTP API. Where the API is off or does not answer, it asks the
database, in which every node that fires campaigns holds a lease. A container's health check runs
it, so the answer comes within seconds and needs no other program.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Annotated

import typer

from config.settings import Settings
from daemon.cli.context import context_of
from daemon.domain.errors import Unavailable
from storage.cluster_reads import count_live_nodes
from storage.embedded import EmbeddedError, embedded_dsn
from storage.engine import Database
from storage.errors import PrivilegeMissing, SchemaOutOfDate
from storage.schema import require_schema

TIMEOUT_S = 5.0
"""Seconds to wait for the API, and again for the database."""
_LOCAL_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Where to reach a server that listens on every address."""


def health(
    context: typer.Context,
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Another node: by its lease, unless --port is given."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The node's HTTP port; default: the setting api.port."),
    ] = None,
) -> int:
    """Check whether the local node is healthy.

    One line each for process, database, schema and scheduler; exit code 1 if one of them failed.
    """
    settings = context_of(context).read_settings(api__port=port)
    name = node or settings.node_name
    # The settings are this node's: the port of another node is not in them.
    asks_api = bool(port) or (node is None and settings.api.enabled and settings.api.port != 0)
    checks = _checks_of_api(settings) if asks_api else ""
    if isinstance(checks, str):
        no_api, checks = checks, asyncio.run(_checks_of_database(settings, name))
        if no_api and "scheduler" in checks:
            if checks["scheduler"] == "ok":
                print(f"ok process: {name} holds its lease; no HTTP API, {no_api}")
            else:
                checks["process"] = f"{no_api}: it starts, or is gone"
    good = True
    for check, result in checks.items():
        good = good and result == "ok"
        print(f"ok {check}" if result == "ok" else f"failed {check}: {result}")
    return 0 if good else 1


def _health_address(settings: Settings) -> str:
    host = _LOCAL_ADDRESS.get(settings.api.host, settings.api.host)
    return f"[{host}]:{settings.api.port}" if ":" in host else f"{host}:{settings.api.port}"


def _checks_of_api(settings: Settings) -> dict[str, str] | str:
    """Return the checks of /readyz, or the reason that there are none."""
    host = _LOCAL_ADDRESS.get(settings.api.host, settings.api.host)
    connection = http.client.HTTPConnection(host, settings.api.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz", headers={"Connection": "close"})
        response = connection.getresponse()
        checks = json.loads(response.read())["checks"]
        return {"process": "ok", **{str(name): str(text) for name, text in checks.items()}}
    except TimeoutError:
        return {"process": f"hung: no answer on {_health_address(settings)} within {TIMEOUT_S:g} s"}
    except ConnectionRefusedError:
        return f"nothing listens on {_health_address(settings)}"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return f"{_health_address(settings)} is not a campaignd: {type(error).__name__}"
    finally:
        connection.close()


async def _checks_of_database(settings: Settings, node: str) -> dict[str, str]:
    """Return the checks that the database allows."""
    try:
        dsn = settings.database_url or embedded_dsn(settings.state_dir)
    except EmbeddedError as error:
        return {"database": str(error) + (f" ({error.hint})" if error.hint else "")}
    database = Database(dsn, pool_size=1, pool_timeout=TIMEOUT_S)
    checks: dict[str, str] = {}
    try:
        async with asyncio.timeout(TIMEOUT_S), database.statement() as connection:
            await require_schema(connection)
            checks = {"database": "ok", "schema": "ok"}
            if await count_live_nodes(connection, node):
                checks["scheduler"] = "ok"
            else:
                checks["scheduler"] = f"no node called {node} has a lease (--node names another)"
    except SchemaOutOfDate as error:
        checks = {"database": "ok", "schema": f"{error} ({error.hint})"}
    except PrivilegeMissing as error:
        checks = {"database": error.detail}
    except (Unavailable, TimeoutError) as error:
        checks = {"database": f"cannot be reached: {getattr(error, 'detail', 'no answer')}"}
    finally:
        await database.close()
    return checks
