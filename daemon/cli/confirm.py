"""The question before a step that cannot be taken back."""

from __future__ import annotations

import sys

import typer


def confirm(question: str, *, yes: bool, required: bool = False) -> None:
    """Ask on a terminal; elsewhere, go on, or with `required` refuse.

    Args:
        question: the question, which is answered with y or n.
        yes: the option --yes, which answers it.
        required: whether a script must give --yes.

    Raises:
        typer.Abort: the answer is no.
        typer.BadParameter: there is no terminal to ask, and --yes is required.
    """
    if yes:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        typer.confirm(question, abort=True, err=True)
    elif required:
        raise typer.BadParameter("there is no terminal to ask: give --yes")
