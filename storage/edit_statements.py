"""The statements of `storage.campaign_editor` that nearly every command needs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from storage.prepared import Prepared
from storage.tables import (
    campaign_events,
    campaigns,
    revision_seq,
    schedule_definitions,
    timers,
)

CHANNEL = "campaignd"
"""NOTIFY channel; the payload is ``{"campaigns": [id, ...]}``."""

_MOVED = (
    "status",
    "type",
    "more_to_come",
    "has_due",
    "has_completed",
    "open_runs",
    "queued_runs",
    "archived_from",
    "updated_at",
)
NOTHING_LOGGED: dict[str, Any] = dict.fromkeys(
    column.name for column in campaign_events.c if column.name not in ("id", "campaign_id", "at")
)
"""The columns of an event, each null."""


def _binds(table: sa.Table, *names: str) -> dict[str, sa.BindParameter[Any]]:
    return {name: sa.bindparam(name, type_=table.c[name].type) for name in names}


def _upsert(table: sa.Table, values: dict[str, Any]) -> sa.ClauseElement:
    statement = insert(table).values(campaign_id=sa.bindparam("campaign_id"), **values)
    return statement.on_conflict_do_update(
        index_elements=["campaign_id"],
        set_={name: statement.excluded[name] for name in values},
    )


def _save_definition() -> sa.ClauseElement:
    names = {column.name for column in schedule_definitions.c} - {"campaign_id", "changed_in"}
    binds = _binds(schedule_definitions, *sorted(names))
    return _upsert(schedule_definitions, {**binds, "changed_in": sa.func.pg_current_xact_id()})


def _arm() -> sa.ClauseElement:
    binds = _binds(timers, "revision", "fire_at", "local", "kind")
    return _upsert(timers, {**binds, "backlog": sa.false()})


DRAW_REVISION = Prepared(lambda: sa.select(revision_seq.next_value().label("revision")))
SAVE_DEFINITION = Prepared(_save_definition)
"""Binds: its columns, without changed_in."""
REVISE_DEFINITION = Prepared(
    lambda: (
        sa.update(schedule_definitions)
        .where(schedule_definitions.c.campaign_id == sa.bindparam("of_campaign"))
        .values(**_binds(schedule_definitions, "revision"), changed_in=sa.func.pg_current_xact_id())
    )
)
"""Binds: of_campaign, revision."""
REVISE_TIMER = Prepared(
    lambda: (
        sa.update(timers)
        .where(timers.c.campaign_id == sa.bindparam("of_campaign"))
        .values(**_binds(timers, "revision"))
    )
)
"""Binds: of_campaign, revision."""
DROP_DEFINITION = Prepared(
    lambda: sa.delete(schedule_definitions).where(
        schedule_definitions.c.campaign_id == sa.bindparam("campaign_id")
    )
)
ARM = Prepared(_arm)
"""Binds: campaign_id, revision, fire_at, local, kind."""
DISARM = Prepared(
    lambda: sa.delete(timers).where(timers.c.campaign_id == sa.bindparam("campaign_id"))
)
MOVE_CAMPAIGN = Prepared(
    lambda: (
        sa.update(campaigns)
        .where(campaigns.c.id == sa.bindparam("of_campaign"))
        .values(**_binds(campaigns, *_MOVED))
    )
)
"""Binds: of_campaign, and what is written."""
LOG = Prepared(
    lambda: sa.insert(campaign_events).values(
        **_binds(campaign_events, "campaign_id", "at", *NOTHING_LOGGED)
    )
)
"""Binds: every column but the id."""
NOTIFY = Prepared(
    lambda: sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("notice", type_=sa.Text)))
)
