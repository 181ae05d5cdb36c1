"""`campaignd preview [FILE]`: the options; the work is `daemon.cli.commands.preview`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.commands.preview import preview_file


def preview(
    file: Annotated[Path, typer.Argument(help="The cases; - is standard input.")] = Path("-"),
    table: Annotated[bool, typer.Option("--table", help="A table for people.")] = False,
) -> int:
    """Answer each case; an error in one is an answer too."""
    return preview_file(file, table)
