"""The body that changes a campaign's own fields: a merge patch (RFC 7396).

An absent field stays, and so does an absent field of the payload. The status decides what may be
changed: a run that is open keeps its target, so that no second receiver gets what the first one may
have. Its next attempt carries the payload and the name of that time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from daemon.domain.campaign.create_request import MESSAGE, NAME, PAYLOAD, TARGET
from daemon.domain.campaign.model import Campaign, Snapshot
from daemon.domain.campaign.payload import read_payload
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import Refused
from daemon.domain.requests import CurrentSchedule
from daemon.domain.requests.declaration import Body, declare_field
from daemon.domain.requests.fields import BLANK, Faults, read_choice, read_object, require_object
from daemon.domain.requests.forms import ZONE

_REQUIRED = ("name", "timezone", "target")
_TAG_BYTES = 7


class CampaignPatch(NamedTuple):
    """The fields of a campaign to change; an absent field stays as it is."""

    name: str | None = declare_field(NAME)
    timezone: str | None = declare_field(
        ZONE,
        doc="Of schedules that are saved from now on. A schedule that the campaign has keeps its "
        "zone; if it names none itself, the zone is changed with the schedule.",
    )
    target: object = declare_field(
        TARGET, doc="Name of a configured target. Not while a run is open."
    )
    payload: dict[str, Any] | None = declare_field(
        PAYLOAD,
        doc="Merged into the payload: a field that is null is removed, an absent one stays; null "
        "instead of an object empties the payload.",
    )


CAMPAIGN_PATCH = Body(CampaignPatch, patch=True)


def read_campaign_patch(
    body: object, campaign: Campaign, targets: Collection[str], *, replace_payload: bool = False
) -> dict[str, Any]:
    """Return the new values of the fields that a patch changes, by their names.

    Args:
        body: the request body.
        campaign: the campaign as it is.
        targets: the names of the configured targets.
        replace_payload: whether a payload replaces the present one instead of being merged.

    Raises:
        InvalidInput: 400 with all faults.
    """
    faults = Faults()
    given = dict(require_object(body, MESSAGE))
    for name in _REQUIRED:
        if name in given and given[name] is None:
            faults.add_malformed(name, BLANK)
    payload = given.pop("payload", None) if "payload" in given else campaign.payload
    fields = CAMPAIGN_PATCH.read_fields(faults, given)
    target = read_choice(faults, "target", fields.target, sorted(targets))
    if payload is not campaign.payload and read_object(faults, "payload", payload) is not None:
        payload = payload if replace_payload else merge_patch(campaign.payload, payload)
        read_payload(faults, "payload", payload)
    if faults:
        raise faults.to_error(MESSAGE)
    values = {
        "name": fields.name or campaign.name,
        "timezone": fields.timezone or campaign.timezone,
        "target": target or campaign.target,
        "payload": payload or {},
    }
    # Compared as text, because Python takes 1 and true for equal.
    return {
        name: value
        for name, value in values.items()
        if _json_text(value) != _json_text(getattr(campaign, name))
    }


def require_editable(snapshot: Snapshot, values: Mapping[str, Any]) -> None:
    """Refuse new values that the campaign's status or its schedule forbids. Raises Refused."""
    campaign, current = snapshot.campaign, snapshot.current
    if not values:
        return
    if campaign.status is Status.ARCHIVED:
        raise Refused("cannot change an archived campaign; unarchive it first")
    if "target" in values and campaign.open_runs:
        raise Refused(
            f"target: a run for {campaign.target} is open; change the target when it has ended, "
            "or stop the campaign first",
            errors={"target": ["cannot change while a run is open"]},
        )
    if "timezone" in values and current is not None and not names_its_zone(current):
        zone = current.schedule.timezone
        raise Refused(
            f"timezone: the schedule takes its zone, {zone}, from the campaign; save the schedule "
            "with the zone that it should have first",
            errors={"timezone": [f"the schedule takes its zone, {zone}, from the campaign"]},
        )


def edit_notes(snapshot: Snapshot, values: Mapping[str, Any]) -> list[str]:
    """Return the effects of new values that the client may not expect, as sentences."""
    campaign, current = snapshot.campaign, snapshot.current
    notes = []
    if "timezone" in values and current is not None:
        notes.append(
            f"The schedule stays in {current.schedule.timezone}; save it again to move it."
        )
    if "payload" in values and campaign.open_runs:
        notes.append(
            "A run is open: an attempt under way carries the former payload, the next one this."
        )
    return notes


def names_its_zone(current: CurrentSchedule) -> bool:
    """Return whether the body of a schedule names the zone that it is read in."""
    config = current.body.get("recurring_config")
    return "timezone" in current.body or (isinstance(config, dict) and "time_zone" in config)


def merge_patch(value: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with a merge patch applied, as RFC 7396 defines it."""
    merged = dict(value)
    for name, new in patch.items():
        if new is None:
            merged.pop(name, None)
        elif isinstance(new, dict):
            old = merged.get(name)
            merged[name] = merge_patch(old if isinstance(old, dict) else {}, new)
        else:
            merged[name] = new
    return merged


def content_tag(campaign: Campaign) -> int:
    """Return a number that differs when any field differs that a patch can change."""
    fields = [campaign.name, campaign.timezone, campaign.target, campaign.payload]
    return int.from_bytes(hashlib.sha256(_json_text(fields).encode()).digest()[:_TAG_BYTES], "big")


def _json_text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
