"""Exports every campaign as one line of JSON, which ``storage.bulk.importer`` loads again.

A server-side cursor reads one snapshot, so that the memory does not grow with the campaigns.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from daemon.domain.formatting import utc_text
from storage.engine import Database
from storage.queries import query

_FETCH_SIZE = 1000
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


async def export_lines(database: Database) -> AsyncGenerator[str]:
    """Yield lines without line feeds, in order of id; a caller that stops early closes it."""
    async with database.transaction() as connection:
        rows = await connection.stream(
            query("export_campaigns"), execution_options={"yield_per": _FETCH_SIZE}
        )
        async for row in rows:
            yield export_line(row)


def export_line(row: Any) -> str:
    """Return one campaign as a line that ``storage.bulk.line_parser`` reads."""
    campaign: dict[str, Any] = {
        "id": row.id,
        "uuid": str(row.uuid),
        "name": row.name,
        "type": row.type,
        "status": row.status,
    }
    if row.archived_from is not None:
        campaign["archived_from"] = row.archived_from
    campaign["timezone"] = row.timezone
    campaign["target"] = row.target
    campaign["history"] = {"due": row.has_due, "completed": row.has_completed}
    campaign["created_at"] = utc_text(row.created_at)
    rest: dict[str, Any] = {"schedule": row.body}
    if row.body is not None:
        rest["anchor"] = row.anchor_local.isoformat()
        defaults = {}
        if row.every_seconds is not None:
            defaults["continuous_interval"] = row.every_seconds
        if "misfire_grace_time" not in row.body:
            defaults["misfire_grace_time"] = row.misfire_grace_time
        rest["defaults"] = defaults
        rest["next_run_at"] = None if row.next_run_at is None else utc_text(row.next_run_at)
    text = _encode(campaign)[:-1]
    return f'{{"campaign": {text}, "payload": {row.payload}}}, {_encode(rest)[1:]}'
