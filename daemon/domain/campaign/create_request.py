"""The body that creates a campaign (docs/semantics.md#campaigns)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from daemon.domain.campaign.model import NAME_LIMIT, Campaign
from daemon.domain.campaign.payload import read_payload
from daemon.domain.campaign.state_machine import Status
from daemon.domain.requests.declaration import Body, declare_field
from daemon.domain.requests.fields import (
    BLANK,
    Faults,
    read_choice,
    require_object,
    shown_value,
)
from daemon.domain.requests.forms import ZONE, Form, enum_form, pattern_schema, unread_form
from daemon.domain.schedule.schedule import CampaignType

MESSAGE = "Invalid campaign values"
_UUID_PATTERN = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_is_uuid = re.compile(_UUID_PATTERN).fullmatch


def _read_name(faults: Faults, path: str, value: object) -> str | None:
    if value == "":
        faults.add_malformed(path, BLANK)
    elif not isinstance(value, str):
        faults.add_malformed(path, f"is {shown_value(value)}, must be text")
    elif len(value) > NAME_LIMIT:
        faults.add_unsupported(path, f"has {len(value)} characters, must have 1 to {NAME_LIMIT}")
    else:
        return value
    return None


def _read_uuid(faults: Faults, path: str, value: object) -> UUID | None:
    if isinstance(value, str) and _is_uuid(value):
        return UUID(value)
    faults.add_malformed(path, f"is {shown_value(value)}, must be a uuid")
    return None


NAME = Form(_read_name, {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT})
_UUID = Form(_read_uuid, pattern_schema(_UUID_PATTERN))
PAYLOAD = Form(read_payload, {"type": "object"})
TARGET = unread_form({"type": "string", "minLength": 1, "examples": ["log"]})


class NewCampaign(NamedTuple):
    """A campaign to create, as a draft."""

    name: str = declare_field(NAME, required=True)
    type: CampaignType = declare_field(enum_form(CampaignType), default=CampaignType.ONE_TIME)
    uuid: UUID | None = declare_field(_UUID, doc="Default: a random UUID.")
    timezone: str = declare_field(ZONE, default="UTC")
    target: object = declare_field(TARGET, doc="Name of a configured target. Default: log.")
    payload: dict[str, Any] | None = declare_field(
        PAYLOAD,
        doc="Handed to the target with every run; at most 64 KiB, with numbers written out. "
        "Default: {}.",
    )


NEW_CAMPAIGN = Body(NewCampaign)


def read_campaign(body: object, targets: Collection[str]) -> Campaign:
    """Read the draft that a body asks for; its id is 0 until it is stored.

    Args:
        body: The request body.
        targets: The names of the configured targets.

    Raises:
        InvalidInput: 400 with all faults.
    """
    faults = Faults()
    fields = NEW_CAMPAIGN.read_fields(faults, require_object(body, MESSAGE))
    target = read_choice(faults, "target", fields.target, sorted(targets))
    if faults:
        raise faults.to_error(MESSAGE)
    return Campaign(
        id=0,
        uuid=fields.uuid or uuid4(),
        name=fields.name,
        type=fields.type,
        status=Status.DRAFT,
        timezone=fields.timezone,
        target=target or "log",
        payload=fields.payload or {},
    )
