"""`campaignd held`, `release` and `drop`: the runs that wait for an operator's decision."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from daemon.cli.commands.runs import run_json
from daemon.cli.confirm import confirm
from daemon.cli.context import command_line_actor
from daemon.cli.notes import NoteOption, checked_note
from daemon.cli.options import YesOption, displays
from daemon.cli.output import LimitOption, Listing, print_pages, print_zone
from daemon.cli.screen import screen
from daemon.cli.store import Store, with_store
from daemon.cli.table import Column
from daemon.cli.when import parse_when, resolve_when
from daemon.domain.campaign.state_machine import Status
from daemon.domain.formatting import duration_text
from daemon.domain.read_models import RunDetail
from daemon.domain.run.held import (
    ConfirmationRequired,
    HeldReason,
    HeldSelector,
    ManyDecided,
    held_reason,
)
from daemon.domain.schedule.schedule import CampaignType
from storage.held_runs import HeldKey

OptionalRun = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="The run's id, or its first characters.", show_default=False
    ),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="All held runs, or those that the other options select.")
]
CampaignOption = Annotated[
    str | None, typer.Option("--campaign", metavar="REF", help="Only runs of this campaign.")
]
TargetOption = Annotated[str | None, typer.Option("--target", help="Only runs for this target.")]
TypeOption = Annotated[
    CampaignType | None, typer.Option("--type", help="Only runs of campaigns of this type.")
]
StatusOption = Annotated[
    Status | None, typer.Option("--status", help="Only runs of campaigns in this status.")
]
ReasonOption = Annotated[
    HeldReason | None, typer.Option("--reason", help="Only runs that are held for this reason.")
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Only runs scheduled since then.")
]
BeforeOption = Annotated[
    str | None, typer.Option("--before", metavar="TIME", help="Only runs scheduled before then.")
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="PATTERN",
        help="Only runs of campaigns of this name; * stands for any text.",
    ),
]


@displays
def held(
    context: typer.Context,
    campaign: CampaignOption = None,
    target: TargetOption = None,
    kind: TypeOption = None,
    status: StatusOption = None,
    reason: ReasonOption = None,
    since: FromOption = None,
    before: BeforeOption = None,
    name: NameOption = None,
    limit: LimitOption = 50,
) -> int:
    """List the runs that wait for an operator.

    The one that waits longest is the first.
    """
    where = _selector(target, kind, status, reason, since, before, name)

    async def list_held(store: Store) -> None:
        wanted = await _with_campaign(store, where, campaign)

        async def fetch_page(count: int, after: HeldKey | None) -> list[RunDetail]:
            return await store.held.page(wanted, limit=count, after=after)

        await print_pages(_LISTING, fetch_page, limit=limit)
        print_zone()

    return with_store(context, list_held)


def release(
    context: typer.Context,
    run: OptionalRun = None,
    fail: Annotated[
        bool, typer.Option("--fail", help="Fail the run instead of delivering it again.")
    ] = False,
    all_: AllOption = False,
    campaign: CampaignOption = None,
    target: TargetOption = None,
    kind: TypeOption = None,
    status: StatusOption = None,
    reason: ReasonOption = None,
    since: FromOption = None,
    before: BeforeOption = None,
    name: NameOption = None,
    note: NoteOption = None,
    yes: YesOption = False,
) -> int:
    """Release held runs, so that they start now, or fail one.

    Give a RUN, or --all with what selects runs. A repeated delivery has the same run id.
    """
    where = _selector(target, kind, status, reason, since, before, name)
    if fail and (run is None or all_):
        raise typer.BadParameter("--fail needs one RUN")
    if run is None:
        return _decide_many(context, "release", where, campaign, all_, note, yes)
    _require_one(where, campaign, all_)

    async def release_run(store: Store) -> None:
        run_id, actor = await store.run_id(run), command_line_actor()
        if fail:
            update = await store.service.fail_held(run_id, actor)
        else:
            update = await store.service.release(run_id, actor, checked_note(note))
        print(f"run {run_id} {update.status}, campaign {update.campaign_id}")

    return with_store(context, release_run)


def drop(
    context: typer.Context,
    run: OptionalRun = None,
    all_: AllOption = False,
    campaign: CampaignOption = None,
    target: TargetOption = None,
    kind: TypeOption = None,
    status: StatusOption = None,
    reason: ReasonOption = None,
    since: FromOption = None,
    before: BeforeOption = None,
    name: NameOption = None,
    note: NoteOption = None,
    yes: YesOption = False,
) -> int:
    """Drop runs that are held before their first attempt.

    Give a RUN, or --all with what selects runs. A dropped run is missed. A run that has attempts
    cannot be dropped: one may have taken effect.
    """
    where = _selector(target, kind, status, reason, since, before, name)
    if run is None:
        return _decide_many(context, "drop", where, campaign, all_, note, yes)
    _require_one(where, campaign, all_)

    async def drop_run(store: Store) -> None:
        run_id = await store.run_id(run)
        update = await store.service.drop(run_id, command_line_actor(), checked_note(note))
        print(f"run {run_id} {update.status}, campaign {update.campaign_id}")

    return with_store(context, drop_run)


def _decide_many(
    context: typer.Context,
    decision: Literal["release", "drop"],
    where: HeldSelector,
    campaign: str | None,
    all_: bool,
    note: str | None,
    yes: bool,
) -> int:
    if not all_:
        raise typer.BadParameter("give a RUN, or --all")

    async def decide(store: Store) -> None:
        wanted = await _with_campaign(store, where, campaign)
        count = await store.held.count(wanted, decision)
        if count and not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfirmationRequired(count, "runs", hint="or give --yes")
        if count:
            confirm(f"{decision} {count} runs?", yes=yes)
        decided = ManyDecided(wanted, count, checked_note(note))
        done = await store.service.decide_many(decision, decided, command_line_actor())
        print(f"{done} runs {'released' if decision == 'release' else 'dropped'}")

    return with_store(context, decide)


def _selector(
    target: str | None,
    kind: CampaignType | None,
    status: Status | None,
    reason: HeldReason | None,
    since: str | None,
    before: str | None,
    name: str | None,
) -> HeldSelector:
    return HeldSelector(
        campaign=None,
        target=target,
        type=kind,
        status=status,
        reason=reason,
        from_=_instant(since, "--from"),
        before=_instant(before, "--before"),
        name=name,
        all_=False,
    )


def _instant(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    when = parse_when(text, option)
    return resolve_when(when, screen().now, screen().zone, past=True, hint=option)


async def _with_campaign(store: Store, where: HeldSelector, campaign: str | None) -> HeldSelector:
    if campaign is not None:
        where = where._replace(campaign=await store.campaign_ref(campaign))
    return where._replace(all_=where.is_empty)


def _require_one(where: HeldSelector, campaign: str | None, all_: bool) -> None:
    if all_ or campaign is not None or not where.is_empty:
        raise typer.BadParameter("give either a RUN, or --all with what selects runs")


def _row(listed: RunDetail) -> tuple[object, ...]:
    run = listed.run
    waits = duration_text((screen().now - run.claimed_at).total_seconds())
    return (
        run.scheduled_for,
        run.id,
        listed.campaign_name,
        held_reason(run.error),
        waits,
        run.campaign_id,
        listed.target,
        run.attempt,
        run.error,
    )


def _json(listed: RunDetail) -> dict[str, Any]:
    return {**run_json(listed), "reason": held_reason(listed.run.error)}


_LISTING = Listing(
    columns=(
        *(Column("scheduled for"), Column("run"), Column("name", can_shrink=True)),
        *(Column("reason"), Column("age"), Column("campaign", is_second=True)),
        *(Column("target", is_second=True), Column("attempt", is_second=True)),
        Column("error", is_second=True, can_shrink=True),
    ),
    row=_row,
    as_json=_json,
    key=lambda listed: listed.key,
    empty="no held runs",
)
