"""An operator who edits campaigns during the whole episode, and records requests and answers.

Most edits go through a node's HTTP interface, the others directly to the database.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.campaign_service import CampaignService
from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import CampaigndError, Unavailable
from daemon.domain.schedule.schedule import CampaignType
from storage.campaigns import Campaigns
from storage.engine import Database
from tests.support.chaos.edit_client import EditClient, key_name_of
from tests.support.chaos.workload import (
    DailyOracle,
    EveryOracle,
    NeverOracle,
    OnceOracle,
    Oracle,
    PlannedCampaign,
    daily_body,
    scheduled_body,
)

ANSWER_S = 20.0
SHARE_BY_HTTP = 0.7
"""Share of the edits that go through a node."""


@dataclass
class Edit:
    """One edit: its campaign, its command and its result; the history names its actor."""

    number: int
    made: PlannedCampaign
    name: str
    actor: str = ""
    body: dict[str, Any] | None = None
    oracle: Oracle | None = None
    outcome: str = "unknown"
    error: str = ""


class Editor:
    """A thread that edits the campaigns at random moments."""

    def __init__(
        self,
        url: str,
        seed: int,
        campaigns: list[PlannedCampaign],
        until: datetime,
        apis: Sequence[str] = (),
        keys: Sequence[str] = (),
    ) -> None:
        self.edits: list[Edit] = []
        self._apis = apis
        self._keys = keys
        self._url = url
        self._chance = random.Random(f"{seed} editor")
        self._campaigns = campaigns
        self._until = until
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._edit_until_stopped, daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start to edit."""
        self._thread.start()

    def stop(self) -> None:
        """Stop editing; return once the last edit is answered."""
        self._stop.set()
        self._thread.join(ANSWER_S + 10)
        assert not self._thread.is_alive(), "the editor hangs"

    def _edit_until_stopped(self) -> None:
        try:
            asyncio.run(self._make_random_edit())
        except BaseException as error:
            self.failure = error

    async def _make_random_edit(self) -> None:
        database = Database(self._url, pool_size=2, application_name="editor")
        client = EditClient(self._apis, self._keys)
        edited = [made for made in self._campaigns if made.is_edited]
        chance = self._chance
        try:
            while not self._stop.is_set() and datetime.now(UTC) < self._until:
                made = chance.choice(edited)
                name = self._draw_command(made)
                edit = Edit(len(self.edits), made, name)
                act = self._command_of(edit)
                self.edits.append(edit)
                node = chance.randrange(1000)
                # The interval of continuous windows is a setting of the node.
                may = client.has_key(edit.number) and not (
                    made.is_continuous and edit.name == "update"
                )
                if chance.random() < SHARE_BY_HTTP and may:
                    edit.actor = f"api:{key_name_of(edit.number)}"
                    answer = await client.send_edit(
                        edit.number, node, made.uuid, edit.name, edit.body
                    )
                    edit.outcome, edit.error = answer
                else:
                    edit.actor = key_name_of(edit.number)
                    control = CampaignService(
                        Campaigns(database), continuous_interval=made.interval
                    )
                    await _record_result(edit, act(control))
                await asyncio.sleep(chance.uniform(0.01, 0.25))  # The rhythm is part of the seed.
        finally:
            await client.close()
            await database.close()

    def _draw_command(self, made: PlannedCampaign) -> str:
        if made.starts_as_draft:
            return self._chance.choice(["start", "rerun", "save", "pause", "stop", "clear"])
        if made.is_continuous or made.type in ("event_triggered", "live_content"):
            return self._chance.choice(["pause", "start", "start", "update", "update", "stop"])
        names = ["save", "save", "pause", "start", "start", "stop", "rerun", "clear", "pause"]
        return self._chance.choice(names)

    def _command_of(self, edit: Edit) -> Callable[[CampaignService], Awaitable[object]]:
        made, chance = edit.made, self._chance
        if edit.name == "save" and made.type in ("one_time", "recurring"):
            latest = max(0.5, (self._until - datetime.now(UTC)).total_seconds())
            at = datetime.now(UTC) + timedelta(seconds=chance.uniform(0.05, min(9.0, latest)))
            if made.type == "recurring" or chance.random() < 0.2:
                edit.oracle = DailyOracle(at, made.zone)
                body = daily_body(at, made.zone, made.extras)
            else:
                edit.oracle = OnceOracle(at)
                body = scheduled_body(at, made.extras)
            edit.body = body
            return lambda control: control.save_schedule(made.uuid, body, edit.actor)
        if edit.name == "update" and made.body is not None:
            edit.body = new = self._update_body(edit)
            return lambda control: control.update_schedule(made.uuid, new, edit.actor)
        if edit.name == "clear":
            edit.oracle = NeverOracle()
            return lambda control: control.clear_schedule(made.uuid, edit.actor)
        name = edit.name = edit.name if edit.name in ("pause", "stop", "rerun") else "start"
        return lambda control: getattr(control, name)(made.uuid, edit.actor)

    def _update_body(self, edit: Edit) -> dict[str, Any]:
        """Return a body that ends the window at another moment."""
        made = edit.made
        assert made.body is not None
        end = min(self._until, datetime.now(UTC) + timedelta(seconds=self._chance.uniform(0.5, 20)))
        body = {"startdate": made.body["startdate"], "enddate": end.isoformat()}
        if isinstance(made.oracle, EveryOracle):
            edit.oracle = EveryOracle(made.oracle.start, end, made.oracle.seconds)
        elif isinstance(made.oracle, DailyOracle):
            edit.oracle = DailyOracle(made.oracle.anchor, "UTC", end)
        else:
            edit.oracle = NeverOracle()
        return body


async def _record_result(edit: Edit, asked: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(ANSWER_S):
            await asked
    except (Unavailable, TimeoutError) as error:
        edit.error = str(error)  # The edit may have been carried out or not.
    except CampaigndError as error:
        edit.outcome, edit.error = "refused", f"{type(error).__name__}: {error}"
    else:
        edit.outcome = "done"


async def _for_each_campaign(
    url: str,
    campaigns: list[PlannedCampaign],
    act: Callable[[CampaignService, PlannedCampaign], Awaitable[None]],
) -> None:
    """Call ``act`` for each campaign, eight at a time."""
    database = Database(url, pool_size=8)
    limit = asyncio.Semaphore(8)

    async def act_on_one(made: PlannedCampaign) -> None:
        async with limit:
            control = CampaignService(Campaigns(database), continuous_interval=made.interval)
            await act(control, made)

    try:
        await asyncio.gather(*(act_on_one(made) for made in campaigns))
    finally:
        await database.close()


async def create_drafts(url: str, campaigns: list[PlannedCampaign]) -> None:
    """Create the campaigns as drafts, without schedules."""

    async def create_draft(control: CampaignService, made: PlannedCampaign) -> None:
        draft = Campaign(
            id=0,
            uuid=made.uuid,
            name=made.name,
            type=CampaignType(made.type),
            status=Status.DRAFT,
            target=made.target,
            payload=made.payload,
        )
        await control.create(draft, "maker")

    await _for_each_campaign(url, campaigns, create_draft)


async def save_schedules(url: str, campaigns: list[PlannedCampaign]) -> None:
    """Save each campaign's schedule."""

    async def save_schedule(control: CampaignService, made: PlannedCampaign) -> None:
        if made.body is None:
            return
        if "schedule_type" in made.body:
            await control.save_schedule(made.uuid, made.body, "maker")
        else:
            await control.update_schedule(made.uuid, made.body, "maker")
            await control.start(made.uuid, "maker")

    await _for_each_campaign(url, campaigns, save_schedule)
