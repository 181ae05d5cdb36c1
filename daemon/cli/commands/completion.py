"""`campaignd completion SHELL`: Typer's completion script, to be sourced by a shell."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]


class Shell(StrEnum):
    """The shells that Typer completes in on POSIX systems."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print a shell completion script.

    Source it, or save it where the shell looks for completions. The script asks `campaignd` for the
    words at each completion.
    """
    print(
        get_completion_script(
            prog_name="campaignd", complete_var="_CAMPAIGND_COMPLETE", shell=shell.value
        )
    )
