"""The statements of `storage.campaign_reads`, one for each combination of filters."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.schedule.schedule import EventKind
from storage.prepared import Prepared
from storage.tables import campaign_events, campaigns, nodes, runs, schedule_definitions, timers

_bind = sa.bindparam
_definition, _timer = schedule_definitions.alias("d"), timers.alias("t")
_WITH_CAMPAIGN = (runs, campaigns.c.uuid.label("campaign_uuid"), campaigns.c.name.label("name"))


def _is_ref(by_uuid: bool) -> sa.ColumnElement[bool]:
    return (campaigns.c.uuid if by_uuid else campaigns.c.id) == _bind("ref")


@cache
def id_of(by_uuid: bool) -> Prepared:
    """Binds: ref."""
    return Prepared(lambda: sa.select(campaigns.c.id).where(_is_ref(by_uuid)))


@cache
def campaigns_page(before: bool, status: bool, type: bool) -> Prepared:
    """Without payloads, of which a page could be many megabytes. Binds: max_rows, filters."""

    def build() -> sa.Select[Any]:
        statement = (
            sa.select(
                *[column for column in campaigns.c if column.name != "payload"],
                sa.literal_column("'{}'::jsonb").label("payload"),
                _definition.c.ends_at,
                _definition.c.rrule,
                _timer.c.fire_at,
                _next_run_at(),
            )
            .outerjoin(_definition, _definition.c.campaign_id == campaigns.c.id)
            .outerjoin(_timer, _timer.c.campaign_id == campaigns.c.id)
            .order_by(campaigns.c.id.desc())
            .limit(_bind("max_rows", type_=sa.Integer))
        )
        if before:
            statement = statement.where(campaigns.c.id < _bind("before"))
        if status:
            statement = statement.where(campaigns.c.status == _bind("status"))
        if type:
            statement = statement.where(campaigns.c.type == _bind("type"))
        return statement

    return Prepared(build)


@cache
def campaign_in_full(by_uuid: bool) -> Prepared:
    """With its schedule's columns as ``d_...``, and its timer. Binds: ref."""
    return Prepared(
        lambda: (
            sa.select(
                campaigns,
                *[column.label(f"d_{column.name}") for column in _definition.c],
                _timer.c.fire_at,
                _timer.c.local,
                _timer.c.kind.label("event_kind"),
                sa.func.clock_timestamp().label("now"),
            )
            .outerjoin(_definition, _definition.c.campaign_id == campaigns.c.id)
            .outerjoin(_timer, _timer.c.campaign_id == campaigns.c.id)
            .where(_is_ref(by_uuid))
        )
    )


OLDEST_CLAIM = Prepared(lambda: sa.select(sa.func.min(nodes.c.oldest_claim_at).label("since")))
"""No run in the hands of a node was claimed before."""


@cache
def runs_page(of_campaign: bool, status: RunStatus | None, before: bool) -> Prepared:
    """Binds: max_rows, campaign_id, since, before_claimed_at/campaign_id/scheduled_for."""

    def build() -> sa.Select[Any]:
        statement = (
            sa.select(*_WITH_CAMPAIGN)
            .join(campaigns, campaigns.c.id == runs.c.campaign_id)
            .limit(_bind("max_rows", type_=sa.Integer))
        )
        if status is not None:
            statement = statement.where(_has_status(status, of_campaign))
        if of_campaign:
            statement = statement.where(runs.c.campaign_id == _bind("campaign_id")).order_by(
                runs.c.scheduled_for.desc()
            )
            if before:
                statement = statement.where(runs.c.scheduled_for < _bind("before_scheduled_for"))
            return statement
        key = (runs.c.claimed_at, runs.c.campaign_id, runs.c.scheduled_for)
        statement = statement.order_by(*(column.desc() for column in key))
        if before:
            bound = [_bind(f"before_{column.name}", type_=column.type) for column in key]
            # The first condition is implied; it is the one that the index understands.
            statement = statement.where(
                runs.c.claimed_at <= bound[0], sa.tuple_(*key) < sa.tuple_(*bound)
            )
        return statement

    return Prepared(build)


RUN = Prepared(
    lambda: (
        sa.select(*_WITH_CAMPAIGN)
        .join(campaigns, campaigns.c.id == runs.c.campaign_id)
        .where(runs.c.id == _bind("run_id"))
    )
)
"""Binds: run_id."""


@cache
def events_page(before: bool) -> Prepared:
    """Binds: campaign_id, max_rows, before."""

    def build() -> sa.Select[Any]:
        statement = (
            sa.select(campaign_events)
            .where(campaign_events.c.campaign_id == _bind("campaign_id"))
            .order_by(campaign_events.c.id.desc())
            .limit(_bind("max_rows", type_=sa.Integer))
        )
        if before:
            statement = statement.where(campaign_events.c.id < _bind("before"))
        return statement

    return Prepared(build)


@cache
def upcoming_page(after: bool) -> Prepared:
    """Binds: max_rows, after_at, after_id."""

    def build() -> sa.Select[Any]:
        key = (timers.c.fire_at, timers.c.campaign_id)
        statement = (
            sa.select(
                timers,
                campaigns.c.uuid,
                campaigns.c.name,
                campaigns.c.type,
                campaigns.c.status,
                schedule_definitions.c.timezone,
            )
            .join(campaigns, campaigns.c.id == timers.c.campaign_id)
            .join(schedule_definitions, schedule_definitions.c.campaign_id == timers.c.campaign_id)
            .where(campaigns.c.status != Status.PAUSED)
            .order_by(*key)
            .limit(_bind("max_rows", type_=sa.Integer))
        )
        if after:
            bound = [
                _bind(name, type_=column.type)
                for name, column in zip(("after_at", "after_id"), key, strict=True)
            ]
            statement = statement.where(
                timers.c.fire_at >= bound[0], sa.tuple_(*key) > sa.tuple_(*bound)
            )
        return statement

    return Prepared(build)


def _has_status(status: RunStatus, of_campaign: bool) -> sa.ColumnElement[bool]:
    """Said so that no walk through all the others is needed."""
    if of_campaign or status is RunStatus.COMPLETED:
        return runs.c.status == status
    if status is not RunStatus.EXECUTING:
        return runs.c.rare_status == status
    # In the hands of a node, or accepted to finish later.
    in_flight = runs.c.claimed_at >= _bind("since")
    return sa.and_(runs.c.status == status, sa.or_(in_flight, runs.c.lease_until.is_not(None)))


def _next_run_at() -> sa.ColumnElement[Any]:
    """The armed run: a FIRE, or the one that comes with its window's opening."""
    repeats = sa.func.num_nonnulls(_definition.c.frequency, _definition.c.every_seconds) > 0
    is_fire = _timer.c.kind == EventKind.FIRE
    opens_with_one = sa.and_(_timer.c.kind == EventKind.OPEN, repeats)
    return sa.case((sa.or_(is_fire, opens_with_one), _timer.c.fire_at)).label("next_run_at")
