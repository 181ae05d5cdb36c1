"""REF and RUN: the texts by which an operator names a campaign or a run."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

import typer

from daemon.cli.client import ClientReads
from daemon.cli.completing import complete_refs, complete_runs
from daemon.cli.table import SHORT_ID
from daemon.domain.errors import NotFound
from daemon.domain.read_models import Ref

_REF_HELP = "The campaign's id, uuid, or name if it is unique."
RefArgument = Annotated[
    str,
    typer.Argument(metavar="REF", help=_REF_HELP, show_default=False, autocompletion=complete_refs),
]
RefsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="REF",
        help=f"{_REF_HELP} Several may be given.",
        show_default=False,
        autocompletion=complete_refs,
    ),
]
OptionalRef = Annotated[
    str | None,
    typer.Argument(
        metavar="REF",
        help="Only this campaign, by its id, uuid, or name if it is unique.",
        show_default=False,
        autocompletion=complete_refs,
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The run's id, or its first characters, as `campaignd runs` shows them.",
        show_default=False,
        autocompletion=complete_runs,
    ),
]

_MAX_ID = 2**63 - 1
_UUID_LENGTH = 36
_SHORTEST_ID = 4
_SHOWN = 5
_is_start_of_uuid = re.compile(r"[0-9a-fA-F-]+").fullmatch


async def find_campaign(reads: ClientReads, text: str) -> Ref:
    """Return the id or uuid of the campaign that a REF names.

    A number is an id, and a uuid a uuid, whether or not there is such a campaign.

    Raises:
        NotFound: no campaign has this name.
        typer.BadParameter: several campaigns have it.
    """
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _MAX_ID:
        return int(text)
    try:
        if len(text) == _UUID_LENGTH:
            return UUID(text)
    except ValueError:
        pass
    found = await reads.ids_of_name(text, _SHOWN + 1)
    if not found:
        raise NotFound(f"no campaign has the id, uuid or name {text!r}")
    if len(found) > 1:
        ids = ", ".join(map(str, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
        raise typer.BadParameter(
            f"several campaigns are called {text!r}: name one by its id: {ids}"
        )
    return found[0]


async def find_run(reads: ClientReads, text: str) -> UUID:
    """Return the id of the run that a RUN names: its id, or its first characters.

    Raises:
        NotFound: no run has an id that begins so.
        typer.BadParameter: several runs have one, or the text is no part of an id.
    """
    digits = text.replace("-", "")
    if not _is_start_of_uuid(text) or not _SHORTEST_ID <= len(digits) <= 32:
        raise typer.BadParameter(
            f"{text!r} is neither a run's id nor its first {_SHORTEST_ID} characters or more"
        )
    if len(digits) == 32:
        return UUID(digits)
    first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    found = await reads.run_ids_between(first, last, 2)
    if not found:
        raise NotFound(f"no run has an id that begins with {text}", message="Run not found")
    if len(found) > 1:
        raise typer.BadParameter(
            f"several runs have an id that begins with {text}; give more than {SHORT_ID} characters"
        )
    return found[0]
