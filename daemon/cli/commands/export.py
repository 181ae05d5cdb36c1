"""`campaignd export [FILE]`: every campaign as JSON lines, which `import` loads again."""

from __future__ import annotations

import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, TextIO

import typer

from daemon.cli.store import Store, with_store
from storage.bulk.exporter import export_lines


def export(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; - is standard output.")
    ] = Path("-"),
) -> int:
    """Write every campaign as a JSON line for `import`.

    Campaigns are in order of their ids. A file appears under its name once it is complete.
    """

    async def write_campaigns(store: Store) -> None:
        if str(file) == "-":
            sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
            await _write_campaign_lines(store, sys.stdout)
            return
        partial = file.with_name(file.name + ".partial")
        with partial.open("w", encoding="utf-8", newline="\n") as out:
            count = await _write_campaign_lines(store, out)
        os.replace(partial, file)
        print(f"{count} campaigns exported", file=sys.stderr)

    return with_store(context, write_campaigns)


async def _write_campaign_lines(store: Store, out: TextIO) -> int:
    count = 0
    async with aclosing(export_lines(store.database)) as lines:
        async for line in lines:
            out.write(line + "\n")
            count += 1
    return count
