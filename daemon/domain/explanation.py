"""What `campaignd explain` and its call over HTTP tell about a campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.domain.campaign.explain import Evidence
from daemon.domain.read_models import CampaignDetail, UpcomingEvent


@dataclass(frozen=True, slots=True)
class Explanation:
    """The evidence on some occurrences of a campaign, and its next events."""

    detail: CampaignDetail
    timezone: str
    """The zone of the schedule; without a schedule that of the campaign."""
    records: Sequence[Evidence]
    following: Sequence[UpcomingEvent]
