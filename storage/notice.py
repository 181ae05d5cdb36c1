"""The notification that tells every node to look for changes; it is a hint, never the guarantee."""

from __future__ import annotations

import json

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

CHANNEL = "campaignd"
"""NOTIFY channel; the payload is ``{"campaigns": [id, ...]}``."""

_NOTIFY = sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("notice", type_=sa.Text)))


async def notify_nodes(connection: AsyncConnection, *campaign_ids: int) -> None:
    """Let the nodes look for changes of these campaigns, or, without any, of what all share."""
    await connection.execute(_NOTIFY, {"notice": json.dumps({"campaigns": campaign_ids})})
