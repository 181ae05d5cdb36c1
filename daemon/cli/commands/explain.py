"""`campaignd explain REF`: due instants, what became of them and why, and upcoming events."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from daemon.cli.commands.show import print_upcoming
from daemon.cli.options import displays
from daemon.cli.output import print_objects, print_table
from daemon.cli.refs import RefArgument
from daemon.cli.screen import Output, printing_to, screen
from daemon.cli.store import Store, with_store
from daemon.cli.table import Column
from daemon.cli.when import parse_when, resolve_when
from daemon.domain.campaign.explain import Evidence, explain_instant
from daemon.domain.campaign.model import Campaign, LoggedEvent
from daemon.domain.campaign.state_machine import Status
from daemon.domain.schedule.timezones import wall_clock, zone
from daemon.domain.schedule.words import schedule_in_words
from storage.explain_reads import ExplainReads

_INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z")
_RUNS = 5
_NEXT = 3


@displays
def explain(
    context: typer.Context,
    ref: RefArgument,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="The instant, such as 09:00, yesterday 09:00 or 2026-11-20 09:00, in the "
            "campaign's time zone; or with an offset.",
        ),
    ] = None,
) -> int:
    """Explain why a campaign ran at an instant, or did not.

    Without --at, the latest runs are explained.
    """
    written = None if at is None else parse_when(at, "--at")

    async def explain_campaign(store: Store) -> None:
        explain_reads = ExplainReads(store.database)
        shown = await store.reads.campaign(await store.campaign_ref(ref))
        campaign = shown.campaign
        name = shown.current.schedule.timezone if shown.current is not None else campaign.timezone
        if written is not None:
            instants = [resolve_when(written, shown.now, zone(name), past=True, hint="--at")]
            within = written.span
        else:
            last = await store.reads.runs(limit=_RUNS, ref=campaign.id)
            instants = [listed.run.scheduled_for for listed in reversed(last)]
            within = timedelta(microseconds=1)
        records = [await explain_reads.read_evidence(campaign.id, at, within) for at in instants]
        following = await store.reads.upcoming_of(campaign.id, _NEXT)
        if screen().output is not Output.TABLE:
            explained = {
                "campaign_id": campaign.id,
                "campaign_uuid": campaign.uuid,
                "name": campaign.name,
                "status": campaign.status,
                "timezone": name,
                "explained": [_evidence_json(record) for record in records],
                "armed": shown.timer is not None,
                "next": [{"event": event.kind, "at": event.at} for event in following],
            }
            print_objects([explained])
            return
        with printing_to(screen().in_zone(zone(name))):
            print(f"campaign {campaign.id} {campaign.name!r}: {campaign.status}, {campaign.type}")
            if shown.current is not None:
                print(schedule_in_words(shown.current.schedule, shown.now))
            for record in records:
                _print_explanation(record, name, full=written is not None)
            if not records:
                print(_no_run_text(campaign))
            print_upcoming(following, shown.timer is not None, campaign)

    return with_store(context, explain_campaign)


def in_local_times(text: str) -> str:
    """Return a text with its instants as the screen shows them."""

    def shown(found: re.Match[str]) -> str:
        return screen().instant(datetime.fromisoformat(found[0]), relative=False)

    return _INSTANT.sub(shown, text)


def _no_run_text(campaign: Campaign) -> str:
    if campaign.status is Status.DRAFT:
        return f"no run yet: it is a draft; `campaignd start {campaign.id}` starts it"
    return "no run yet"


def _evidence_json(record: Evidence) -> dict[str, Any]:
    run = record.run
    return {
        "at": record.at,
        "why": explain_instant(record),
        "run_id": run and run.id,
        "run_status": run and run.status,
        "lateness_ms": run and run.lateness_ms,
        "error": run and run.error,
        "events": [
            {"at": event.at, "event": event.event, "cause": event.cause, "actor": event.actor}
            for event in record.run_events
        ],
    }


def _print_explanation(record: Evidence, timezone: str, *, full: bool) -> None:
    local = wall_clock(record.at.astimezone(UTC), zone(timezone))
    at = screen().instant(record.at)
    if not screen().is_for_people:
        at += f" ({local:%Y-%m-%d %H:%M:%S} {timezone})"
    print(f"\n{at}: {in_local_times(explain_instant(record))}")
    if record.run is not None:
        print(f"  run {record.run.id}, {record.run.status}")
    if full and record.run_events:
        print_table(
            (Column("at"), Column("event"), Column("cause", is_second=True), Column("by")),
            [_event_row(event) for event in record.run_events],
            "",
        )


def _event_row(event: LoggedEvent) -> tuple[object, ...]:
    return (event.at, event.event, event.cause, event.actor)
