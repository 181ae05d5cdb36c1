"""`campaignd explain REF`: what was due, what happened, why, and what comes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from daemon.cli.opening import Store, with_store
from daemon.cli.output import JsonOption, RefArgument, instant, parse_ref, print_json, print_table
from daemon.domain.campaign.explain import Evidence, LoggedEvent, why
from daemon.domain.requests.datetimes import parse_datetime, settle
from daemon.domain.schedule.timezones import wall_clock, zone
from storage.campaign_reads import Upcoming
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
            help="The instant: 2026-11-20T09:00, in the campaign's zone unless it has an offset.",
        ),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Say why a campaign ran at an instant, or did not; without one, of its last runs."""
    wanted = parse_ref(ref)
    written = None if at is None else _written(at)

    async def work(store: Store) -> None:
        explaining = ExplainReads(store.database)
        shown = await store.history.campaign(wanted)
        campaign = shown.campaign
        name = shown.current.schedule.timezone if shown.current is not None else campaign.timezone
        if written is not None:
            instants = [_instant(written, name)]
            within = _meant(written)
        else:
            last = await store.history.runs(limit=_RUNS, ref=campaign.id)
            instants = [each.run.scheduled_for for each in reversed(last)]
            within = timedelta(microseconds=1)
        records = [await explaining.record(campaign.id, each, within) for each in instants]
        following = await store.history.upcoming_of(campaign.id, _NEXT)
        if json:
            print_json(
                {
                    "campaign_id": campaign.id,
                    "campaign_uuid": campaign.uuid,
                    "name": campaign.name,
                    "status": campaign.status,
                    "timezone": name,
                    "explained": [_as_json(record) for record in records],
                    "armed": shown.timer is not None,
                    "next": [{"event": each.kind, "at": each.at} for each in following],
                }
            )
            return
        print(f"campaign {campaign.id} {campaign.name!r}: {campaign.status}, {campaign.type}")
        for record in records:
            _print(record, name, full=written is not None)
        if not records:
            print("no run yet")
        _print_next(following, armed=shown.timer is not None, status=str(campaign.status))

    return with_store(context, work)


def _written(text: str) -> datetime:
    found = parse_datetime(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no datetime", param_hint="--at")
    return found


def _meant(written: datetime) -> timedelta:
    """A minute without its seconds means all of it, and so does a second without its fraction."""
    if written.microsecond:
        return timedelta(microseconds=1)
    return timedelta(seconds=1) if written.second else timedelta(minutes=1)


def _instant(written: datetime, timezone: str) -> datetime:
    try:
        return settle(written, zone(timezone))[0]
    except OverflowError:
        raise typer.BadParameter("out of the calendar's range", param_hint="--at") from None


def _as_json(record: Evidence) -> dict[str, Any]:
    run = record.run
    return {
        "at": record.at,
        "why": why(record),
        "run_id": run and run.id,
        "run_status": run and run.status,
        "lateness_ms": run and run.lateness_ms,
        "error": run and run.error,
        "events": [
            {"at": told.at, "event": told.event, "cause": told.cause, "actor": told.actor}
            for told in record.run_events
        ],
    }


def _print(record: Evidence, timezone: str, *, full: bool) -> None:
    local = wall_clock(record.at.astimezone(UTC), zone(timezone))
    print(f"\n{instant(record.at)} ({local:%Y-%m-%d %H:%M:%S} {timezone}): {why(record)}")
    if record.run is not None:
        print(f"  run {record.run.id}, {record.run.status}")
    if full and record.run_events:
        print_table(
            ("at", "event", "cause", "by"),
            [_row(told) for told in record.run_events],
            "",
        )


def _row(told: LoggedEvent) -> tuple[object, ...]:
    return (told.at, told.event, told.cause, told.actor)


def _print_next(following: list[Upcoming], *, armed: bool, status: str) -> None:
    if not following:
        print("\nnext: nothing")
        return
    note = "" if armed else f" (the campaign is {status}: only once it is started)"
    print(f"\nnext{note}")
    print_table(("event", "local", "UTC"), [(e.kind, e.local, e.at) for e in following], "")
