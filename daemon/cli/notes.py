"""The note of a command, which is kept in the history."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.domain.campaign.command_request import NOTE_LIMIT

NoteOption = Annotated[
    str | None, typer.Option("--note", metavar="TEXT", help="The reason, kept in the history.")
]


def checked_note(text: str | None) -> str | None:
    """Return the note. Raises typer.BadParameter."""
    if text is not None and not 1 <= len(text) <= NOTE_LIMIT:
        raise typer.BadParameter(f"must be 1 to {NOTE_LIMIT} characters", param_hint="--note")
    return text
