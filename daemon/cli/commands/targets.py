"""`campaignd targets` and `campaignd target test NAME`: the configured targets."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import uuid4

import typer

from config.settings import Settings
from daemon.cli.completing import complete_targets
from daemon.cli.confirm import confirm
from daemon.cli.context import context_of
from daemon.cli.options import YesOption, displays
from daemon.cli.output import print_objects, print_table
from daemon.cli.payloads import PayloadOption, read_payload_option
from daemon.cli.screen import Output, screen
from daemon.cli.suggestions import closest
from daemon.domain.formatting import duration_text
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Accepted, Delivered, Outcome
from daemon.runtime.clock import SystemClock
from daemon.targets.registry import LOG_CONCURRENCY, build_all

target = typer.Typer(help="Try a target.", no_args_is_help=True)


@displays
def targets(context: typer.Context) -> int:
    """List the configured targets.

    Addresses, commands and secrets are never shown.
    """
    found = [
        {
            "name": name,
            "type": settings.type,
            "concurrency": getattr(settings, "concurrency", LOG_CONCURRENCY),
            "max_attempts": getattr(settings, "max_attempts", 1),
            "on_lost": getattr(settings, "on_lost", None),
        }
        for name, settings in _settings_of(context).targets.items()
    ]
    if screen().output is Output.TABLE:
        columns = ("name", "type", "at once", "attempts", "when an outcome is unknown")
        print_table(columns, [tuple(each.values()) for each in found], "no targets")
    else:
        print_objects(found)
    return 0


@target.command("test")
def try_target(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The target's name.",
            show_default=False,
            autocompletion=complete_targets,
        ),
    ],
    payload: PayloadOption = None,
    yes: YesOption = False,
) -> int:
    """Deliver a test run to a target, and print the outcome.

    The run belongs to no campaign: its campaign has the id 0 and the name `campaignd target test`.
    Nothing is stored. A terminal is asked first, because the target really receives it.
    """
    settings = _settings_of(context)
    if name not in settings.targets:
        near = closest(name, settings.targets)
        hint = f"; did you mean {near}?" if near else f"; there are {', '.join(settings.targets)}"
        raise typer.BadParameter(f"there is no target {name!r}{hint}")
    given = read_payload_option(payload)
    confirm(f"Deliver a test run to {name}?", yes=yes)
    clock = SystemClock()
    began = clock.monotonic()
    outcome = asyncio.run(_deliver(settings, name, {"test": True} if given is None else given))
    took = duration_text(clock.monotonic() - began)
    if isinstance(outcome, Delivered | Accepted):
        later = ", to be completed later" if isinstance(outcome, Accepted) else ""
        print(f"ok target {name}: it took the run in {took}{later}")
        return 0
    reason = getattr(outcome, "reason", type(outcome).__name__)
    print(f"failed target {name}: {reason} (after {took})")
    return 1


async def _deliver(settings: Settings, name: str, payload: dict[str, Any]) -> Outcome:
    now = SystemClock().now()
    ((built, _, _),) = build_all({name: settings.targets[name]}, _emit_nothing).values()
    try:
        return await built.deliver(
            Attempt(
                campaign_id=0,
                campaign_uuid=uuid4(),
                campaign_name="campaignd target test",
                run_id=uuid4(),
                scheduled_for=now,
                number=1,
                target=name,
                payload=payload,
                claimed_at=now,
                start_before=now,
            )
        )
    finally:
        await built.close()


def _settings_of(context: typer.Context) -> Settings:
    return context_of(context).read_settings()


def _emit_nothing(event: str, /, **fields: object) -> None:
    """Log nothing."""
