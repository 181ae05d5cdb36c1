"""`campaignd explain REF`: due instants, what became of them and why, and upcoming events."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from daemon.cli.client import Client
from daemon.cli.commands.show import print_upcoming
from daemon.cli.options import displays
from daemon.cli.output import print_objects, print_table
from daemon.cli.refs import RefArgument
from daemon.cli.screen import Output, printing_to, screen
from daemon.cli.store import with_client
from daemon.cli.table import Column
from daemon.cli.when import parse_when
from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.schedule_fields import timezone_in_force
from daemon.domain.campaign.state_machine import Status
from daemon.domain.schedule.timezones import wall_clock, zone
from daemon.domain.schedule.words import schedule_in_words

_INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z")
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
    when = None if at is None else parse_when(at, "--at")

    async def explain_campaign(client: Client) -> None:
        shown = await client.reads.campaign(await client.campaign_ref(ref))
        campaign = shown.campaign
        found = await client.explain(shown, when)
        if screen().output is not Output.TABLE:
            print_objects([found])
            return
        name = timezone_in_force(shown.snapshot)
        following = await client.reads.upcoming_of(campaign.id, _NEXT)
        with printing_to(screen().in_zone(zone(name))):
            print(f"campaign {campaign.id} {campaign.name!r}: {campaign.status}, {campaign.type}")
            if shown.current is not None:
                print(schedule_in_words(shown.current.schedule, shown.now))
            for each in found["explained"]:
                _print_explanation(each, name, full=when is not None)
            if not found["explained"]:
                print(_no_run_text(campaign))
            print_upcoming(following, bool(found["armed"]), campaign)

    return with_client(context, explain_campaign)


def in_local_times(text: str) -> str:
    """Return a text with its instants as the screen shows them."""

    def shown(found: re.Match[str]) -> str:
        return screen().instant(datetime.fromisoformat(found[0]), relative=False)

    return _INSTANT.sub(shown, text)


def _no_run_text(campaign: Campaign) -> str:
    if campaign.status is Status.DRAFT:
        return f"no run yet: it is a draft; `campaignd start {campaign.id}` starts it"
    return "no run yet"


def _print_explanation(explained: dict[str, Any], timezone: str, *, full: bool) -> None:
    at: datetime = explained["at"]
    local = wall_clock(at.astimezone(UTC), zone(timezone))
    shown = screen().instant(at)
    if not screen().is_for_people:
        shown += f" ({local:%Y-%m-%d %H:%M:%S} {timezone})"
    print(f"\n{shown}: {in_local_times(explained['why'])}")
    if explained["run_id"] is not None:
        print(f"  run {explained['run_id']}, {explained['run_status']}")
    if full and explained["events"]:
        print_table(
            (Column("at"), Column("event"), Column("cause", is_second=True), Column("by")),
            [
                (event["at"], event["event"], event["cause"], event["actor"])
                for event in explained["events"]
            ],
            "",
        )
