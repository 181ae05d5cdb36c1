"""What to do with a campaign that does not run by itself, in one sentence."""

from __future__ import annotations

from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import Status


def next_step(campaign: Campaign, *, has_schedule: bool) -> str | None:
    """Return what a person does next; None when nothing is to be done."""
    if campaign.status is Status.PAUSED:
        return "It is paused: start it to resume it."
    if campaign.status is not Status.DRAFT:
        return None
    if has_schedule:
        return "It is a draft: start it, and it runs by its schedule."
    if campaign.type.is_window:
        return "It is a draft: save a schedule, then start it."
    return "It is a draft: save a schedule, or start it to run it once now."
