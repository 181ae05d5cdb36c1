"""`campaignd demo`: a database, a daemon and campaigns of every type, in half a minute."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from config.load import load_settings
from daemon.cli.commands.demo.cases import (
    CONTINUOUS_INTERVAL,
    DemoCampaign,
    create_campaign,
    demo_campaigns,
)
from daemon.cli.commands.demo.process import DemoDaemon, demo_daemon
from daemon.cli.commands.open_ import create_login_link
from daemon.cli.output import print_table
from daemon.cli.store import Store, open_store
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.formatting import duration_text, utc_text
from daemon.domain.read_models import CampaignSummary, RunDetail
from daemon.runtime.clock import SystemClock
from storage import migrate
from storage.embedded import embedded_postgres

_POLL_S = 0.1
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class CampaignProgress:
    """A campaign of the demo as it was read, with its runs, oldest first."""

    case: DemoCampaign
    listed: CampaignSummary
    runs: list[RunDetail]

    @property
    def is_as_expected(self) -> bool:
        """Whether the campaign has its final status, and all its runs are completed."""
        return (
            self.listed.campaign.status is self.case.status
            and len(self.runs) == self.case.runs
            and all(listed.run.status is RunStatus.COMPLETED for listed in self.runs)
        )


Show = Callable[[list[CampaignProgress]], None]


def demo(
    state_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="The directory of the database; default: a temporary one.",
        ),
    ] = None,
    keep_open: Annotated[
        bool,
        typer.Option("--open", help="Print a link that opens the console, and go on until Ctrl-C."),
    ] = False,
) -> int:
    """Run a campaign of every type on a database of its own.

    Starts a database and a daemon, shows the campaigns while they run, and stops both. Exit code 1
    if a campaign did not reach its expected status.
    """
    with _demo_directory(state_dir) as directory:
        print("starting the embedded PostgreSQL ...", flush=True)
        with embedded_postgres(directory) as dsn:
            migrate.upgrade(dsn)
            return asyncio.run(_run_demo(directory, dsn, keep_open=keep_open))


@contextmanager
def _demo_directory(state_dir: Path | None) -> Iterator[Path]:
    if state_dir is not None:
        state_dir.mkdir(parents=True, exist_ok=True)
        yield state_dir.absolute()
        return
    directory = Path(tempfile.mkdtemp(prefix="campaignd-demo-"))
    try:
        if os.geteuid() == 0:
            directory.chmod(0o711)  # the server does not run as root
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _SignalNote:
    """Notes a signal that ends the demo, which ends between two of its steps.

    As an exception or a cancellation in the middle of a step, the signal could leave a database
    connection open, or be swallowed by a library that waits (Python 3.11).
    """

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._note_signal, number)

    def raise_if_signalled(self) -> None:
        """Raise KeyboardInterrupt or SystemExit if a signal has arrived."""
        if self._signal is signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal is not None:
            raise SystemExit(128 + self._signal)

    async def wait(self, seconds: float | None) -> None:
        """Wait for a signal, at most for some seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), seconds)

    def _note_signal(self, number: signal.Signals) -> None:
        self._signal = number
        self._arrived.set()


async def _run_demo(directory: Path, dsn: str, *, keep_open: bool) -> int:
    interrupt = _SignalNote()
    print("starting campaignd run ...", flush=True)
    async with demo_daemon(directory) as daemon:
        await daemon.wait_until_ready(interrupt.raise_if_signalled)
        flags = {"database_url": dsn, "scheduler.continuous_interval": CONTINUOUS_INTERVAL}
        settings = load_settings(directory / "demo.toml", flags)
        async with open_store(settings, dsn, settings.scheduler.startup_timeout) as store:
            now = SystemClock().now()
            made = {
                await create_campaign(store.service, case): case for case in demo_campaigns(now)
            }
            print(f"{len(made)} campaigns created at {utc_text(now)}; they run now\n", flush=True)
            with _progress_display() as show:
                progress = await _watch_campaigns(store, made, daemon, show, interrupt)
            if keep_open and not daemon.has_ended:
                listening = await daemon.wait_for("api_listening", interrupt.raise_if_signalled)
                link = await create_login_link(store, port=listening["port"])
                settings_file = shlex.quote(str(directory / "demo.toml"))
                print(f"\nin another terminal: campaignd --config {settings_file} list")
                print(f"the console, until Ctrl-C: {link}", flush=True)
                await interrupt.wait(None)
        code = await daemon.stop()
        _print_summary(progress)
        wrong = [campaign.case.name for campaign in progress if not campaign.is_as_expected]
        if code != 0:
            print(f"campaignd run ended with {code}: {daemon.last_log_line()}", file=sys.stderr)
        if wrong:
            print(f"not as expected: {', '.join(wrong)}", file=sys.stderr)
        if wrong or code != 0:
            return 1
        print(f"\nall {len(progress)} campaigns reached their expected status")
        print("next: campaignd run, and the console at http://127.0.0.1:8080/")
        return 0


async def _watch_campaigns(
    store: Store,
    made: dict[UUID, DemoCampaign],
    daemon: DemoDaemon,
    show: Show,
    interrupt: _SignalNote,
) -> list[CampaignProgress]:
    """Show the campaigns until all are as expected, the daemon has ended, or time is up."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        interrupt.raise_if_signalled()
        progress = await _read_progress(store, made)
        show(progress)
        if all(campaign.is_as_expected for campaign in progress) or daemon.has_ended:
            return progress
        if time.monotonic() > deadline:
            return progress
        await interrupt.wait(_POLL_S)


async def _read_progress(store: Store, made: dict[UUID, DemoCampaign]) -> list[CampaignProgress]:
    listed = {
        campaign.campaign.uuid: campaign
        for campaign in await store.reads.campaigns(limit=len(made) + 100)
    }
    runs: dict[UUID, list[RunDetail]] = {uuid: [] for uuid in made}
    for run in await store.reads.runs(limit=200):
        if run.campaign_uuid in runs:
            runs[run.campaign_uuid].insert(0, run)
    return [CampaignProgress(case, listed[uuid], runs[uuid]) for uuid, case in made.items()]


@contextmanager
def _progress_display() -> Iterator[Show]:
    """Provide the display: a live table on a terminal, a line for each change elsewhere."""
    if not sys.stdout.isatty():
        printed: dict[UUID, str] = {}

        def print_changes(progress: list[CampaignProgress]) -> None:
            for campaign in progress:
                name, kind, *rest = _progress_row(campaign)
                line = f"{name:22}{kind:19}{rest[0]:11}{rest[1]:15}{rest[2]}"
                if printed.get(campaign.listed.campaign.uuid) != line:
                    printed[campaign.listed.campaign.uuid] = line
                    print(line, flush=True)

        yield print_changes
        return
    # Only for a terminal: rich takes 50 ms to import, which a pipe does not need.
    from rich.box import SIMPLE_HEAD
    from rich.live import Live
    from rich.table import Table

    colours = {
        Status.SCHEDULED: "cyan",
        Status.LAUNCHED: "blue",
        Status.EXECUTING: "yellow",
        Status.COMPLETED: "green",
        Status.FAILED: "red",
    }
    with Live(refresh_per_second=10) as live:

        def draw_table(progress: list[CampaignProgress]) -> None:
            table = Table("campaign", "type", "status", "next", "runs", box=SIMPLE_HEAD)
            for campaign in progress:
                colour = colours.get(campaign.listed.campaign.status)
                name, kind, status, *rest = _progress_row(campaign)
                shown = f"[{colour}]{status}[/]" if colour else status
                table.add_row(name, kind, shown, *rest)
            live.update(table)

        yield draw_table


def _progress_row(progress: CampaignProgress) -> tuple[str, ...]:
    campaign = progress.listed.campaign
    return (
        progress.case.name,
        campaign.type.value,
        campaign.status.value,
        _next_event_text(progress.listed.next_event_at),
        f"{len(progress.runs)} of {progress.case.runs} runs",
    )


def _next_event_text(instant: datetime | None) -> str:
    return "-" if instant is None else f"next {instant.astimezone(UTC):%H:%M:%S}"


def _print_summary(progress: list[CampaignProgress]) -> None:
    print("\nruns")
    print_table(
        ("campaign", "scheduled for", "status", "late"),
        [
            (campaign.case.name, run.run.scheduled_for, run.run.status, _lateness_text(run))
            for campaign in progress
            for run in campaign.runs
        ],
        "none",
    )
    print("\ncampaigns")
    print_table(
        ("campaign", "type", "runs", "status", "expected", ""),
        [
            (
                campaign.case.name,
                campaign.listed.campaign.type,
                f"{len(campaign.runs)} of {campaign.case.runs}",
                campaign.listed.campaign.status,
                campaign.case.status,
                "ok" if campaign.is_as_expected else "WRONG",
            )
            for campaign in progress
        ],
        "none",
    )


def _lateness_text(listed: RunDetail) -> str:
    late = listed.run.lateness_ms
    return "never started" if late is None else duration_text(late / 1000)
