"""A payload as an option: a JSON object, or the file that holds one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

PayloadOption = Annotated[
    str | None,
    typer.Option(
        metavar="JSON",
        help="The JSON object that the target receives with every run, or @FILE.",
    ),
]


def read_payload_option(text: str | None) -> dict[str, Any] | None:
    """Return the JSON object of --payload; None when it was not given.

    Raises:
        typer.BadParameter: the text is not a JSON object.
        OSError: the file cannot be read.
    """
    if text is None:
        return None
    source = text
    if text.startswith("@"):
        source = Path(text[1:]).read_text(encoding="utf-8-sig")
    try:
        value = json.loads(source, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"is not JSON: {error}", param_hint="--payload") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("must be a JSON object, {...}", param_hint="--payload")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")
