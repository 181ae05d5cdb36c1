"""`campaignd runs [REF]`: runs, newest first."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

import typer

from daemon.cli.output import JsonOption, LimitOption, Listing, OptionalRef, parse_ref, print_pages
from daemon.cli.store import Store, with_store
from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.read_models import RunDetail, RunKey


def runs(
    context: typer.Context,
    ref: OptionalRef = None,
    status: Annotated[RunStatus | None, typer.Option(help="Only runs in this status.")] = None,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> int:
    """List runs, newest first."""
    wanted = None if ref is None else parse_ref(ref)

    async def list_runs(store: Store) -> None:
        def fetch_page(count: int, before: RunKey | None) -> Awaitable[list[RunDetail]]:
            return store.reads.runs(limit=count, ref=wanted, status=status, before=before)

        await print_pages(_LISTING, fetch_page, limit=limit, json=json)

    return with_store(context, list_runs)


def _run_row(listed: RunDetail) -> tuple[object, ...]:
    run = listed.run
    late = None if run.lateness_ms is None else f"{run.lateness_ms:.1f} ms"
    return (
        run.scheduled_for,
        run.campaign_id,
        listed.campaign_name,
        run.status,
        run.attempt,
        late,
        run.id,
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
    columns=("scheduled for", "campaign", "name", "status", "attempt", "late", "run", "error"),
    row=_run_row,
    as_json=run_json,
    key=lambda listed: listed.key,
    empty="no runs",
)
