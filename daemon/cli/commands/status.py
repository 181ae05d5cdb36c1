"""`campaignd status`: nodes, lag, open runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from daemon.cli.client import Client
from daemon.cli.options import displays
from daemon.cli.output import print_fields, print_objects, print_table, shown_instant
from daemon.cli.screen import Output, screen
from daemon.cli.store import with_client
from daemon.cli.table import Column
from daemon.domain.formatting import duration_text
from daemon.domain.read_models import NodeState, Overview, StatusCounts
from daemon.domain.schedule.zone_data import describe, in_use, tzdata_origin, tzdata_version
from storage.schema import describe_schema


@displays
def status(
    context: typer.Context,
    counts: Annotated[
        bool,
        typer.Option("--counts", help="Count campaigns and runs by status; reads every one."),
    ] = False,
) -> int:
    """Show nodes, lag and open runs."""

    async def show_status(client: Client) -> None:
        found = await client.overview()
        totals = await client.counts() if counts else None
        if screen().output is Output.TABLE:
            _print_status(found, totals)
        else:
            print_objects(_status_objects(found, totals))

    return with_client(context, show_status)


_NODE_COLUMNS = (
    *(Column("node"), Column("state", is_outcome=True), Column("heartbeat"), Column("lease left")),
    *(Column("shards"), Column("id", is_second=True), Column("skew", is_second=True)),
    *(Column("version", is_second=True), Column("schema", is_second=True)),
    Column("tzdata", is_second=True),
)
_NESTED = ("nodes", "schema", "frozen")


def _status_objects(found: Overview, totals: StatusCounts | None) -> Iterator[dict[str, Any]]:
    for node in found.nodes:
        yield {"kind": "node", **asdict(node)}
    for brake in found.frozen:
        yield {
            "kind": "freeze",
            "scope": brake.scope,
            "frozen_at": brake.frozen_at,
            "by": brake.frozen_by,
            "note": brake.note,
            "until": brake.thaw_at,
        }
    summary = {name: value for name, value in asdict(found).items() if name not in _NESTED}
    schema = {
        "schema_version": found.schema.version,
        "schema_compatible_since": found.schema.compatible_since,
    }
    source, directory = tzdata_origin()
    here = {"tzdata": tzdata_version(), "tzdata_source": source, "tzdata_path": directory}
    yield {"kind": "summary", **summary, **schema, **here, "lag": found.lag}
    if totals is not None:
        yield {"kind": "counts", **asdict(totals)}


def _print_status(found: Overview, totals: StatusCounts | None) -> None:
    for brake in found.frozen:
        print(f"FROZEN: {brake.describe()}")
    print_table(
        _NODE_COLUMNS,
        [_node_row(node) for node in found.nodes],
        "no nodes: campaignd run is not running",
    )
    print()
    behind = f", the oldest by {duration_text(found.lag)}" if found.overdue else ""
    rows: dict[str, object] = {
        "overdue": f"{found.overdue}{behind}",
        "behind their run": found.backlog,
        "next event": shown_instant(found.next_event_at) or "none",
        "runs executing": found.executing,
        "runs queued": found.queued,
        "runs retrying": found.retrying,
        "runs held": found.held,
        "runs failed, 24 h": found.failed,
        "runs missed, 24 h": found.missed,
        "PostgreSQL": found.server_version,
        "schema": describe_schema(found.schema),
        "time-zone data here": describe(in_use()),
    }
    print_fields(rows.items())
    if totals is not None:
        print()
        counted = [("campaigns", *count) for count in totals.campaigns.items()]
        counted += [("runs", *count) for count in totals.runs.items()]
        print_table(("what", "status", "count"), counted, "no campaigns, no runs")


def _node_row(node: NodeState) -> tuple[object, ...]:
    state = "draining" if node.draining and node.live else "live" if node.live else "lost"
    return (
        node.name,
        state,
        duration_text(node.heartbeat_age) + " ago",
        duration_text(max(node.lease_left, 0)),
        node.shards,
        node.id,
        f"{node.skew_ms} ms",
        node.version,
        node.schema_version,
        node.tzdata,
    )
