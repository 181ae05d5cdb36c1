"""`campaignd pause REF ...` and the other lifecycle commands; one line reports each new status."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence

import typer

from daemon.campaign_service import CampaignService, CommandResult
from daemon.cli.confirm import confirm
from daemon.cli.context import command_line_actor
from daemon.cli.options import YesOption
from daemon.cli.output import instant_text
from daemon.cli.refs import RefsArgument
from daemon.cli.store import Store, with_store
from daemon.domain.errors import CampaigndError
from daemon.domain.read_models import Ref

Command = Callable[[CampaignService, Ref, str], Awaitable[CommandResult]]


def pause(context: typer.Context, refs: RefsArgument) -> int:
    """Pause campaigns, so that they start no new run.

    Attempts in flight end by themselves. `campaignd start` resumes a campaign.
    """
    return run_for_each(context, refs, CampaignService.pause)


def start(context: typer.Context, refs: RefsArgument) -> int:
    """Start draft campaigns, or resume paused ones.

    The line names the instant of the next run.
    """
    return run_for_each(context, refs, CampaignService.start, with_next_run=True)


def stop(context: typer.Context, refs: RefsArgument, yes: YesOption = False) -> int:
    """Cancel campaigns and their open runs.

    A terminal is asked first.
    """
    confirm(f"Cancel {count_text(refs)}, and their open runs?", yes=yes)
    return run_for_each(context, refs, CampaignService.stop)


def rerun(context: typer.Context, refs: RefsArgument) -> int:
    """Run ended campaigns again, now."""
    return run_for_each(context, refs, CampaignService.rerun, with_next_run=True)


def archive(context: typer.Context, refs: RefsArgument) -> int:
    """Archive campaigns."""
    return run_for_each(context, refs, CampaignService.archive)


def unarchive(context: typer.Context, refs: RefsArgument) -> int:
    """Restore archived campaigns."""
    return run_for_each(context, refs, CampaignService.unarchive)


def run_for_each(
    context: typer.Context,
    refs: Sequence[str],
    command: Command,
    *,
    with_next_run: bool = False,
    result_line: Callable[[CommandResult], str] | None = None,
) -> int:
    """Run a command on each campaign, and print a line for each.

    With several campaigns, one that refuses does not keep the others from it: its error is a line
    on standard error, and the exit code is 1.
    """

    def default_line(result: CommandResult) -> str:
        return command_result_line(result, with_next_run=with_next_run)

    line = result_line or default_line

    async def run_and_print(store: Store) -> int:
        code = 0
        for ref in refs:
            try:
                wanted = await store.campaign_ref(ref)
                print(line(await command(store.service, wanted, command_line_actor())))
            except (CampaigndError, typer.BadParameter) as error:
                if len(refs) == 1 or getattr(error, "retryable", False):
                    raise
                print(f"campaignd: error: {ref}: {error}", file=sys.stderr)
                code = 1
        return code

    return with_store(context, run_and_print)


def command_result_line(result: CommandResult, *, with_next_run: bool) -> str:
    """Return the result of a command as one line."""
    already = "" if result.changed else " already"
    line = f"campaign {result.campaign_id} {result.to_status}{already}"
    if not with_next_run:
        return line
    if result.next_run_at is None:
        return f"{line}, no run is due by itself"
    if result.next_run_at <= result.now:
        return f"{line}, runs now"
    return f"{line}, next run at {instant_text(result.next_run_at)}"


def count_text(refs: Sequence[str]) -> str:
    """Return the campaigns of a question."""
    return f"campaign {refs[0]}" if len(refs) == 1 else f"{len(refs)} campaigns"
