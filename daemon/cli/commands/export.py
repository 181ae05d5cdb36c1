"""`campaignd export [FILE]`: dump every campaign; what is written loads again with `import`."""

from __future__ import annotations

import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, TextIO

import typer

from daemon.cli.opening import Store, with_store
from storage.bulk.exporter import export_lines


def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to; - is standard output.")] = Path("-"),
) -> int:
    """Write every campaign as one JSON object a line, in order of id."""

    async def work(store: Store) -> None:
        if str(file) == "-":
            sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
            await _write(store, sys.stdout)
            return
        # Under another name until it is whole.
        partial = file.with_name(file.name + ".partial")
        with partial.open("w", encoding="utf-8", newline="\n") as out:
            count = await _write(store, out)
        os.replace(partial, file)
        print(f"{count} campaigns exported", file=sys.stderr)

    return with_store(context, work)


async def _write(store: Store, out: TextIO) -> int:
    count = 0
    async with aclosing(export_lines(store.database)) as lines:
        async for line in lines:
            out.write(line + "\n")
            count += 1
    return count
