"""`campaignd show REF`: one campaign with its schedule, upcoming events and latest history."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from typing import Any

import typer

from daemon.cli.client import Client
from daemon.cli.options import displays
from daemon.cli.output import print_fields, print_objects, print_table, shown_instant
from daemon.cli.refs import RefArgument
from daemon.cli.screen import Output, printing_to, screen
from daemon.cli.store import with_client
from daemon.cli.table import Column
from daemon.domain.campaign.model import Campaign, LoggedEvent
from daemon.domain.campaign.schedule_fields import next_run_at, next_run_fields, timezone_in_force
from daemon.domain.campaign.state_machine import Status
from daemon.domain.read_models import CampaignDetail, Pause, UpcomingEvent
from daemon.domain.schedule.schedule import EventKind
from daemon.domain.schedule.timezones import zone
from daemon.domain.schedule.words import schedule_in_words

_NEXT = 5
_LAST_EVENTS = 10


@displays
def show(context: typer.Context, ref: RefArgument) -> int:
    """Show one campaign."""

    async def show_campaign(client: Client) -> None:
        shown = await client.reads.campaign(await client.campaign_ref(ref))
        upcoming = await client.reads.upcoming_of(shown.campaign.id, _NEXT)
        events = await client.reads.events(shown.campaign.id, limit=_LAST_EVENTS)
        if screen().output is not Output.TABLE:
            print_objects([campaign_object(shown)])
            return
        with printing_to(screen().in_zone(zone(timezone_in_force(shown.snapshot)))):
            _print_campaign(shown, upcoming, events)

    return with_client(context, show_campaign)


def campaign_object(shown: CampaignDetail) -> dict[str, Any]:
    """Return a campaign with its schedule as a JSON object."""
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
            "summary": schedule_in_words(current.schedule),
            "misfire_grace_time": current.schedule.misfire_grace_time,
            "coalesce": current.schedule.coalesce,
            "overlap": current.schedule.overlap,
            "saved_at": shown.saved_at,
        }
    return {
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
        "paused": shown.pause and asdict(shown.pause),
        "created_at": campaign.created_at,
        "updated_at": campaign.updated_at,
        "schedule": schedule,
        "next_event": shown.timer and shown.timer.kind,
        "next_event_at": shown.timer and shown.timer.at,
        **next_run_fields(
            next_run_at(current.schedule if current else None, shown.timer, campaign.status),
            timezone_in_force(shown.snapshot),
        ),
    }


def _print_campaign(
    shown: CampaignDetail, upcoming: list[UpcomingEvent], events: list[LoggedEvent]
) -> None:
    campaign, current = shown.campaign, shown.current
    rows: dict[str, object] = {
        "id": campaign.id,
        "uuid": str(campaign.uuid),
        "name": campaign.name,
        "type": campaign.type,
        "status": campaign.status,
        "timezone": campaign.timezone,
        "target": campaign.target,
        "payload": json_module.dumps(campaign.payload, ensure_ascii=False),
        "open runs": campaign.open_runs,
    }
    if current is None:
        rows["schedule"] = f"none: `campaignd edit {campaign.id} --every day --at 09:00` saves one"
    else:
        rows["schedule"] = schedule_in_words(current.schedule, shown.now)
        rows["body"] = json_module.dumps(current.body, ensure_ascii=False)
        rows["schedule's zone"] = current.schedule.timezone
        rows["ends"] = current.schedule.ends_at or "never"
        if shown.rrule is not None:
            rows["rrule"] = " ".join(shown.rrule.split("\n"))
    if shown.pause is not None:
        rows["paused"] = _pause_text(shown.pause)
    print_fields(rows.items())
    print_upcoming(upcoming, shown.timer is not None, campaign)
    print("\nlast events")
    print_table(
        (
            *(Column("at"), Column("event"), Column("from"), Column("to", is_outcome=True)),
            *(Column("cause", is_second=True), Column("by", is_second=True)),
        ),
        [_event_row(event) for event in events],
        "none",
    )


def _pause_text(pause: Pause) -> str:
    since = "" if pause.since is None else f"since {shown_instant(pause.since)} by {pause.by}, "
    end = "for good" if pause.until is None else f"until {shown_instant(pause.until)}"
    return f"{since}{end}" + (f": {pause.note}" if pause.note else "")


def print_upcoming(upcoming: list[UpcomingEvent], armed: bool, campaign: Campaign) -> None:
    """Print the next events of a campaign, and what becomes of them if it stays as it is."""
    if not upcoming:
        print("\nnext: nothing")
        return
    note = ""
    if campaign.status is Status.PAUSED:
        note = f", missed unless `campaignd start {campaign.id}` comes first"
    elif not armed:
        note = f", once `campaignd start {campaign.id}` has started it"
    print(f"\nnext{note}")
    if screen().is_for_people:
        print_table(("event", "at"), [(event_word(each.kind), each.at) for each in upcoming], "")
        return
    rows = [(event_word(each.kind), each.local, each.at) for each in upcoming]
    print_table(("event", "local", "UTC"), rows, "")


def event_word(kind: EventKind) -> str:
    """Return the kind of an event in words: an operator calls a fire a run."""
    words = {
        EventKind.FIRE: "run",
        EventKind.OPEN: "window opens",
        EventKind.CLOSE: "window closes",
    }
    return words[kind]


def _event_row(event: LoggedEvent) -> tuple[object, ...]:
    return (
        event.at,
        event.event,
        event.from_status,
        event.to_status,
        event.cause or (event.details or {}).get("note"),
        event.actor,
    )
