"""`campaignd explain REF`: due instants, what became of them and why, and upcoming events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

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
from daemon.domain.campaign.explain import Evidence, explain_instant
from daemon.domain.campaign.model import LoggedEvent
from daemon.domain.read_models import UpcomingEvent
from daemon.domain.requests.datetimes import parse_datetime, resolve_datetime
from daemon.domain.requests.fields import datetime_fault
from daemon.domain.schedule.timezones import wall_clock, zone
from storage.explain_reads import ExplainReads

_RUNS = 5
_NEXT = 3


def explain(
    context: typer.Context,
    ref: RefArgument,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="The instant, such as 2026-11-20T09:00; the campaign's time zone or an offset.",
        ),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Explain why a campaign ran at an instant, or did not.

    Without --at, the latest runs are explained.
    """
    wanted = parse_ref(ref)
    written = None if at is None else _parse_at_option(at)

    async def explain_campaign(store: Store) -> None:
        explain_reads = ExplainReads(store.database)
        shown = await store.reads.campaign(wanted)
        campaign = shown.campaign
        name = shown.current.schedule.timezone if shown.current is not None else campaign.timezone
        if written is not None:
            instants = [_resolve_instant(written, name)]
            within = _span_of_text(written)
        else:
            last = await store.reads.runs(limit=_RUNS, ref=campaign.id)
            instants = [listed.run.scheduled_for for listed in reversed(last)]
            within = timedelta(microseconds=1)
        records = [await explain_reads.read_evidence(campaign.id, at, within) for at in instants]
        following = await store.reads.upcoming_of(campaign.id, _NEXT)
        if json:
            print_json(
                {
                    "campaign_id": campaign.id,
                    "campaign_uuid": campaign.uuid,
                    "name": campaign.name,
                    "status": campaign.status,
                    "timezone": name,
                    "explained": [_evidence_json(record) for record in records],
                    "armed": shown.timer is not None,
                    "next": [{"event": event.kind, "at": event.at} for event in following],
                }
            )
            return
        print(f"campaign {campaign.id} {campaign.name!r}: {campaign.status}, {campaign.type}")
        for record in records:
            _print_explanation(record, name, full=written is not None)
        if not records:
            print("no run yet")
        _print_upcoming_events(
            following, armed=shown.timer is not None, status=str(campaign.status)
        )

    return with_store(context, explain_campaign)


def _parse_at_option(text: str) -> datetime:
    found = parse_datetime(text)
    if found is None:
        raise typer.BadParameter(datetime_fault(text), param_hint="--at")
    return found


def _span_of_text(written: datetime) -> timedelta:
    """Return the span that a text means: without seconds the whole minute, and so on."""
    if written.microsecond:
        return timedelta(microseconds=1)
    return timedelta(seconds=1) if written.second else timedelta(minutes=1)


def _resolve_instant(written: datetime, timezone: str) -> datetime:
    try:
        return resolve_datetime(written, zone(timezone))[0]
    except OverflowError:
        raise typer.BadParameter("out of the calendar's range", param_hint="--at") from None


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
    at = f"{instant_text(record.at)} ({local:%Y-%m-%d %H:%M:%S} {timezone})"
    print(f"\n{at}: {explain_instant(record)}")
    if record.run is not None:
        print(f"  run {record.run.id}, {record.run.status}")
    if full and record.run_events:
        print_table(
            ("at", "event", "cause", "by"),
            [_event_row(event) for event in record.run_events],
            "",
        )


def _event_row(event: LoggedEvent) -> tuple[object, ...]:
    return (event.at, event.event, event.cause, event.actor)


def _print_upcoming_events(following: list[UpcomingEvent], *, armed: bool, status: str) -> None:
    if not following:
        print("\nnext: nothing")
        return
    note = "" if armed else f" (the campaign is {status}: these events need a start)"
    print(f"\nnext{note}")
    print_table(
        ("event", "local", "UTC"), [(event.kind, event.local, event.at) for event in following], ""
    )
