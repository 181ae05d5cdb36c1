"""`campaignd runs [REF]`: runs, newest first, or each run as it comes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from daemon.cli.client import Client
from daemon.cli.options import displays
from daemon.cli.output import LimitOption, Listing, print_pages, print_rows, print_zone
from daemon.cli.refs import OptionalRef
from daemon.cli.store import with_client
from daemon.cli.table import Column
from daemon.cli.when import parse_since
from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.formatting import duration_text
from daemon.domain.read_models import RunDetail, RunKey

_FOLLOWED = 1000
"""Newest runs that are read again at each poll of --follow."""
_POLL_S = 1.0


@displays
def runs(
    context: typer.Context,
    ref: OptionalRef = None,
    status: Annotated[RunStatus | None, typer.Option(help="Only runs in this status.")] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only failed runs, as --status failed does.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only runs since then: a length of time such as 1h, 09:00, yesterday 09:00, a "
            "date, or an instant; a clock time in the zone of the list.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on, and print each run as its status changes."),
    ] = False,
    limit: LimitOption = 50,
) -> int:
    """List runs, newest first.

    With --follow, the list is oldest first and goes on until Ctrl-C.
    """
    if failed and status not in (None, RunStatus.FAILED):
        raise typer.BadParameter(f"--failed contradicts --status {status}")
    wanted_status = RunStatus.FAILED if failed else status
    earliest = None if since is None else parse_since(since)

    async def list_runs(client: Client) -> None:
        wanted = None if ref is None else await client.campaign_ref(ref)

        async def fetch_page(count: int, before: RunKey | None) -> list[RunDetail]:
            page = await client.reads.runs(
                limit=count, ref=wanted, status=wanted_status, before=before
            )
            if earliest is None:
                return page
            # Without REF the list is in the order of claims, else in that of the schedule.
            return [
                listed
                for listed in page
                if (listed.run.claimed_at if wanted is None else listed.run.scheduled_for)
                >= earliest
            ]

        if follow:
            await _follow(fetch_page, limit)
        await print_pages(_LISTING, fetch_page, limit=limit)
        print_zone()

    return with_client(context, list_runs)


async def _follow(fetch_page: Any, limit: int) -> None:
    """Print the newest runs, and then each new run and each change, until Ctrl-C."""
    seen: dict[Any, tuple[object, ...]] = {}
    count = min(limit, _FOLLOWED)
    while True:
        page: list[RunDetail] = await fetch_page(count, None)
        states = {listed.run.id: (listed.run.status, listed.run.attempt) for listed in page}
        new = [listed for listed in page if seen.get(listed.run.id) != states[listed.run.id]]
        print_rows(_LISTING, list(reversed(new)), with_heading=not seen)
        seen |= states
        count = _FOLLOWED
        await asyncio.sleep(_POLL_S)


def _run_row(listed: RunDetail) -> tuple[object, ...]:
    run = listed.run
    return (
        run.scheduled_for,
        run.id,
        listed.campaign_name,
        run.status,
        None if run.lateness_ms is None else duration_text(run.lateness_ms / 1000),
        run.campaign_id,
        listed.target,
        run.attempt,
        run.error,
    )


def run_json(listed: RunDetail) -> dict[str, Any]:
    """Return a listed run as a JSON object."""
    run = listed.run
    return {
        "id": run.id,
        "campaign_id": run.campaign_id,
        "campaign_uuid": listed.campaign_uuid,
        "campaign_name": listed.campaign_name,
        "target": listed.target,
        "scheduled_for": run.scheduled_for,
        "status": run.status,
        "attempt": run.attempt,
        "cause": run.cause,
        "node": run.node,
        "claimed_at": run.claimed_at,
        "started_at": run.started_at,
        "next_attempt_at": run.next_attempt_at,
        "finished_at": run.finished_at,
        "lateness_ms": run.lateness_ms,
        "error": run.error,
    }


_LISTING = Listing(
    columns=(
        *(Column("scheduled for"), Column("run"), Column("name", can_shrink=True)),
        *(Column("status", is_outcome=True), Column("late"), Column("campaign", is_second=True)),
        *(Column("target", is_second=True), Column("attempt", is_second=True)),
        Column("error", is_second=True),
    ),
    row=_run_row,
    as_json=run_json,
    key=lambda listed: listed.key,
    empty="no runs",
)
