"""`campaignd audit-log`: who changed what, newest first."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from daemon.cli.options import displays
from daemon.cli.output import LimitOption, Listing, print_pages
from daemon.cli.store import Store, with_store
from daemon.cli.table import Column
from daemon.domain.audit import Action, AuditRecord
from daemon.domain.requests.datetimes import parse_date_or_instant
from daemon.domain.requests.fields import datetime_fault
from storage.audit_log import AuditLog


def _parse_since(text: str) -> datetime:
    at = parse_date_or_instant(text)
    if at is None:
        form = "a date, or an instant such as 2031-07-01T09:00:00Z"
        raise typer.BadParameter(datetime_fault(text, form))
    return at


@displays
def audit_log(
    context: typer.Context,
    actor: Annotated[
        str | None,
        typer.Option(
            metavar="ACTOR", help="Only this actor, such as api:NAME, web:NAME or cli:USER."
        ),
    ] = None,
    action: Annotated[
        Action | None,
        typer.Option(metavar="ACTION", help="Only this action, such as campaign.deleted."),
    ] = None,
    object_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only the campaign, run or key with this id."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            parser=_parse_since,
            help="Only from this date (00:00 UTC) or instant on.",
        ),
    ] = None,
    limit: LimitOption = 50,
) -> int:
    """List who changed what, newest first.

    The log has every change by a command, a request or the page, and what was refused.
    """

    async def list_rows(store: Store) -> None:
        def fetch_page(count: int, before: int | None) -> Awaitable[list[AuditRecord]]:
            return AuditLog(store.database).page(
                limit=count,
                before=before,
                actor=actor,
                action=action,
                object_id=object_id,
                since=since,
            )

        await print_pages(_LISTING, fetch_page, limit=limit)

    return with_store(context, list_rows)


def _audit_row(row: AuditRecord) -> tuple[object, ...]:
    changed = " ".join(each for each in (row.object, row.object_id, row.object_name) if each)
    return (
        *(row.at, row.actor, row.action, changed, row.outcome),
        *(row.command or row.address, row.note),
    )


_LISTING = Listing(
    columns=(
        *(Column("at"), Column("actor"), Column("action"), Column("object", can_shrink=True)),
        *(Column("outcome", is_outcome=True), Column("from", is_second=True)),
        Column("note", is_second=True),
    ),
    row=_audit_row,
    as_json=asdict,
    key=lambda row: row.id,
    empty="no rows",
)
