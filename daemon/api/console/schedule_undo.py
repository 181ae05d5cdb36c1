"""The former schedule, kept for some seconds in a cookie, so that a change can be undone."""

from __future__ import annotations

import base64
import binascii
import json

from starlette.requests import Request
from starlette.responses import Response

from daemon.campaign_service import CampaignService
from daemon.domain.errors import CampaigndError
from daemon.domain.read_models import CampaignDetail
from daemon.domain.requests import CurrentSchedule
from daemon.domain.schedule.schedule import ScheduleSource

COOKIE = "campaignd_undo"
LIFE_S = 15
"""Seconds for which the cookie lives; the button disappears after ten."""
_LONGEST = 3000
"""Characters of a body above which a change cannot be undone; a cookie has at most 4,096."""
_COMPARED = 20
"""Occurrences that the former body must give again, so that undoing it is what it says."""
_CLEARED = {"enddate": None}
"""Fields of an `update_schedule` body that would stay if the body did not name them."""


def offer_undo(
    response: Response, service: CampaignService, former: CurrentSchedule, now_saved: CampaignDetail
) -> None:
    """Keep the former body in a cookie, if saving it again gives the former occurrences."""
    body = former.body
    if former.source is ScheduleSource.UPDATE_SCHEDULE:
        body = {**_CLEARED, **body}
    text = json.dumps(body, ensure_ascii=False)
    if len(text) > _LONGEST:
        return
    try:
        again = service.parse_schedule(now_saved.snapshot, body).schedule
    except CampaigndError:  # such as a start that is over
        return
    now = now_saved.now
    before = former.schedule.occurrences(now, _COMPARED)
    if again is None or again.occurrences(now, _COMPARED) != before:
        return
    response.set_cookie(
        COOKIE,
        base64.urlsafe_b64encode(text.encode()).decode("ascii"),
        max_age=LIFE_S,
        path=f"/campaigns/{now_saved.campaign.id}",
        httponly=True,
        samesite="strict",
    )


def former_body(request: Request) -> str | None:
    """Return the JSON of the former body; None when there is nothing to undo."""
    try:
        return base64.urlsafe_b64decode(request.cookies.get(COOKIE, "")).decode() or None
    except (ValueError, binascii.Error):
        return None
