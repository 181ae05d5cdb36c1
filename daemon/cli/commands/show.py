"""`campaignd show REF`: one campaign with its schedule, upcoming events and latest history."""

from __future__ import annotations

import json as json_module
from datetime import datetime

import typer

from daemon.cli.output import (
    JsonOption,
    RefArgument,
    instant_text,
    parse_ref,
    print_json,
    print_table,
)
from daemon.cli.store import Store, with_store
from daemon.domain.campaign.model import LoggedEvent
from daemon.domain.campaign.schedule_fields import next_run_fields, timezone_in_force
from daemon.domain.read_models import CampaignDetail, UpcomingEvent
from daemon.domain.schedule.schedule import EventKind
from storage.campaign_reads import armed_and_following_events

_NEXT = 5
_LAST_EVENTS = 10


def show(context: typer.Context, ref: RefArgument, json: JsonOption = False) -> int:
    """Show one campaign."""
    wanted = parse_ref(ref)

    async def show_campaign(store: Store) -> None:
        shown = await store.reads.campaign(wanted)
        upcoming = await store.reads.upcoming_of(shown.campaign.id, _NEXT)
        events = await store.reads.events(shown.campaign.id, limit=_LAST_EVENTS)
        if json:
            _print_campaign_json(shown)
        else:
            _print_campaign(shown, upcoming, events)

    return with_store(context, show_campaign)


def _print_campaign_json(shown: CampaignDetail) -> None:
    campaign, current = shown.campaign, shown.current
    schedule = None
    if current is not None:
        schedule = {
            "source": current.source,
            "body": current.body,
            "timezone": current.schedule.timezone,
            "anchor_at": current.schedule.anchor_at,
            "anchor_local": current.schedule.anchor_local,
            "ends_at": current.schedule.ends_at,
            "rrule": shown.rrule,
            "misfire_grace_time": current.schedule.misfire_grace_time,
            "coalesce": current.schedule.coalesce,
            "overlap": current.schedule.overlap,
            "saved_at": shown.saved_at,
        }
    print_json(
        {
            "id": campaign.id,
            "uuid": campaign.uuid,
            "name": campaign.name,
            "type": campaign.type,
            "status": campaign.status,
            "archived_from": campaign.archived_from,
            "timezone": campaign.timezone,
            "target": campaign.target,
            "payload": campaign.payload,
            "open_runs": campaign.open_runs,
            "queued_runs": campaign.queued_runs,
            "created_at": campaign.created_at,
            "updated_at": campaign.updated_at,
            "schedule": schedule,
            "next_event": shown.timer and shown.timer.kind,
            "next_event_at": shown.timer and shown.timer.at,
            **next_run_fields(_next_run_at(shown), timezone_in_force(shown.snapshot)),
        }
    )


def _next_run_at(shown: CampaignDetail) -> datetime | None:
    if shown.current is None or shown.timer is None:
        return None
    for event in armed_and_following_events(shown.current.schedule, shown.timer, shown.now, 2):
        if event.kind is EventKind.FIRE:
            return event.at
    return None


def _print_campaign(
    shown: CampaignDetail, upcoming: list[UpcomingEvent], events: list[LoggedEvent]
) -> None:
    campaign, current = shown.campaign, shown.current
    rows: dict[str, object] = {
        "id": campaign.id,
        "uuid": campaign.uuid,
        "name": campaign.name,
        "type": campaign.type,
        "status": campaign.status,
        "timezone": campaign.timezone,
        "target": campaign.target,
        "payload": json_module.dumps(campaign.payload, ensure_ascii=False),
        "open runs": campaign.open_runs,
    }
    if current is None:
        rows["schedule"] = "none"
    else:
        rows["schedule"] = json_module.dumps(current.body, ensure_ascii=False)
        rows["time zone"] = current.schedule.timezone
        rows["ends"] = instant_text(current.schedule.ends_at) or "never"
        if shown.rrule is not None:
            rows["rrule"] = " ".join(shown.rrule.split("\n"))
    print_table(("field", "value"), rows.items(), "")
    if upcoming:
        print("\nnext" if shown.timer is not None else "\nnext, once started")
        print_table(
            ("event", "local", "UTC"),
            [(event.kind, event.local, event.at) for event in upcoming],
            "",
        )
    print("\nlast events")
    print_table(
        ("at", "event", "from", "to", "cause", "by"),
        [_event_row(event) for event in events],
        "none",
    )


def _event_row(event: LoggedEvent) -> tuple[object, ...]:
    return (
        event.at,
        event.event,
        event.from_status,
        event.to_status,
        event.cause,
        event.actor,
    )
